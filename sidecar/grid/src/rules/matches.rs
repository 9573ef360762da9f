//! What a message must be like, so that a rule takes it: everything that is given must hold.

use crds::{FrameType, MOST_OF_REGEX, MessageMatch};
use regex::{Regex, RegexBuilder};

use super::{Content, Peer};
use crate::{GridError, wire::Opcode};

#[derive(Debug)]
pub(super) struct Matches {
    given: MessageMatch,
    regex: Option<Regex>,
}

impl Matches {
    pub(super) fn compile(given: &MessageMatch) -> Result<Self, GridError> {
        let compile = |text: &String| RegexBuilder::new(text).size_limit(MOST_OF_REGEX).build();
        let regex = Some(&given.regex).filter(|text| !text.is_empty()).map(compile).transpose();
        let regex = regex.map_err(|e| GridError::invalid(format!("regex {}: {e}", given.regex)))?;
        Ok(Self { given: given.clone(), regex })
    }

    pub(super) fn looks_inside(&self) -> bool {
        self.regex.is_some() || !self.given.json_pointer.is_empty()
    }

    pub(super) fn subprotocol(&self) -> Option<&str> {
        Some(&*self.given.subprotocol).filter(|protocol| !protocol.is_empty())
    }

    /// Whether it asks for frames of that type by name.
    pub(super) fn names(&self, opcode: Opcode) -> bool {
        self.given.frames.iter().any(|frame| opcode_of(*frame) == opcode)
    }

    pub(super) fn holds(&self, opcode: Opcode, content: &Content<'_>, peer: Peer<'_>) -> bool {
        let given = &self.given;
        let is_type = if given.frames.is_empty() { !opcode.is_control() } else { self.names(opcode) };
        is_type
            && (given.path.is_empty() || given.path == peer.path)
            && (given.subprotocol.is_empty() || given.subprotocol == peer.subprotocol)
            && self.regex.as_ref().is_none_or(|regex| content.text().is_some_and(|text| regex.is_match(text)))
            && (given.json_pointer.is_empty() || self.holds_at_pointer(content))
    }

    fn holds_at_pointer(&self, content: &Content<'_>) -> bool {
        if self.given.equals.is_empty() {
            return content.at(&self.given.json_pointer).is_some();
        }
        content.scalar_at(&self.given.json_pointer).is_some_and(|text| text == self.given.equals)
    }
}

fn opcode_of(frame: FrameType) -> Opcode {
    match frame {
        FrameType::Text => Opcode::Text,
        FrameType::Binary => Opcode::Binary,
        FrameType::Ping => Opcode::Ping,
        FrameType::Pong => Opcode::Pong,
        FrameType::Close => Opcode::Close,
    }
}
