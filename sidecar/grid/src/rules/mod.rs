//! A listener's rules, compiled: which message goes to which topic, and what a client may ask for by itself (Grid section 5, G-12).
//!
//! ```text
//! matches.rs    what a message must be like
//! commands.rs   subscriptions that clients ask for, and the channels they may
//! pattern.rs    channel patterns: * and {key}
//! content.rs    a message's JSON, read once for all rules
//! ```
//! Pure. What is compiled here is never changed: a new configuration compiles new rules, which new connections get.

mod commands;
mod content;
mod matches;
mod pattern;

use crds::{HoldUntil, Listener, Overflow};

use self::matches::Matches;
pub use self::{
    commands::{Command, Commands},
    content::Content,
    pattern::Pattern,
};
use crate::{
    GridError, Topic,
    wire::{Opcode, Part, Reading},
};

/// A listener's rules.
#[derive(Debug)]
pub struct Rules {
    /// What the configuration says of the listener.
    pub listener: Listener,
    /// How messages are read; what was agreed on in the handshake decides on compression.
    pub reading: Reading,
    /// What clients may ask for.
    pub commands: Option<Commands>,
    /// The topic of connections that come.
    pub handshakes: Option<Topic>,
    /// The topic of connections that go.
    pub closes: Option<Topic>,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    matches: Option<Matches>,
    topic: Topic,
    before_hold: bool,
}

/// What a rule may ask of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// The path of the handshake.
    pub path: &'a str,
    /// The subprotocol that was agreed on; empty: none.
    pub subprotocol: &'a str,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The topic.
    pub topic: &'a Topic,
    /// Whether it goes there although messages are held back (G-20).
    pub before_hold: bool,
}

impl Rules {
    /// Compiles a listener's rules.
    ///
    /// # Errors
    /// A regular expression or a pattern that cannot be compiled.
    pub fn compile(listener: &Listener) -> Result<Self, GridError> {
        let topic = |name: &str| Topic::new(name).map_err(GridError::from);
        let optional = |name: &str| if name.is_empty() { Ok(None) } else { topic(name).map(Some) };
        let mut rules = listener
            .rules
            .iter()
            .map(|rule| {
                let matches = rule.matches.as_ref().map(Matches::compile).transpose()?;
                Ok(Rule { matches, topic: topic(&rule.topic)?, before_hold: rule.before_hold })
            })
            .collect::<Result<Vec<_>, GridError>>()?;
        if listener.rules.is_empty() {
            rules.push(Rule { matches: None, topic: topic("default")?, before_hold: false });
        }
        let commands = listener.client_commands.as_ref().map(Commands::compile).transpose()?;
        let looks_inside = rules.iter().any(|rule| rule.matches.as_ref().is_some_and(Matches::looks_inside));
        let refreshes =
            listener.auth.as_ref().and_then(|auth| auth.jwt.as_ref()).is_some_and(|jwt| jwt.refresh.is_some());
        let message_bytes = usize::try_from(listener.limits.message_bytes.bytes()).unwrap_or(usize::MAX);
        let assembles = listener.assemble || looks_inside || commands.is_some() || refreshes;
        let reading = Reading { assembles, ..Reading::messages(message_bytes) };
        Ok(Self {
            reading,
            commands,
            handshakes: optional(&listener.events.handshake)?,
            closes: optional(&listener.events.close)?,
            rules,
            listener: listener.clone(),
        })
    }

    /// Where a message goes: the first rule that matches. `None`: nowhere.
    #[must_use]
    pub fn place(&self, part: &Part, content: &Content<'_>, peer: Peer<'_>) -> Option<Place<'_>> {
        let rule = self.rules.iter().find(|rule| match &rule.matches {
            Some(matches) => matches.holds(part.opcode, content, peer),
            None => !part.opcode.is_control(),
        })?;
        Some(Place { topic: &rule.topic, before_hold: rule.before_hold })
    }

    /// Where a control frame goes: only a rule that asks for its type takes it.
    #[must_use]
    pub fn place_of_control(&self, opcode: Opcode, peer: Peer<'_>) -> Option<Place<'_>> {
        let asks = |rule: &&Rule| {
            rule.matches
                .as_ref()
                .is_some_and(|matches| matches.names(opcode) && matches.holds(opcode, &Content::none(), peer))
        };
        self.rules.iter().find(asks).map(|rule| Place { topic: &rule.topic, before_hold: rule.before_hold })
    }

    /// The subprotocol for a client: the first it offers that a rule names; where none names any, the first it offers, for
    /// browsers take no answer without one.
    #[must_use]
    pub fn subprotocol<'a>(&self, mut offered: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let named: Vec<&str> = self.rules.iter().filter_map(|rule| rule.matches.as_ref()?.subprotocol()).collect();
        offered.find(|protocol| named.is_empty() || named.contains(protocol))
    }

    /// What messages wait for.
    #[must_use]
    pub fn hold(&self) -> Option<&HoldUntil> {
        self.listener.hold_until.as_ref()
    }

    /// What happens to a message whose topic is full, where the listener says so.
    #[must_use]
    pub fn overflow(&self) -> Option<Overflow> {
        self.listener.overflow
    }
}

#[cfg(test)]
mod tests;
