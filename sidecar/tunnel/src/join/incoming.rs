//! What a server sends to a node: packets, one in each text or several in a batch, and pings between them. Bytes in, packets out; no
//! socket, no clock.

use bytes::Bytes;
use mesh_websocket::{Close, CloseCode, Data, Opcode, Part, Read, Reader, Reading, Sender, Texts};

use super::link::Ended;
use crate::{hub::Form, packet::batch};

/// The largest message (NC section 4).
pub(super) const MESSAGE: usize = 1024 * 1024;
/// Packets come as text, which is no UTF-8.
const READING: Reading = Reading { texts: Texts::Bytes, sender: Sender::Server, ..Reading::messages(MESSAGE) };
/// What a server says to a token that it does not know (NC section 4, refusal).
const INVALID: &str = "invalid token";
/// What a server of ours says to a node that is unregistered while it is connected.
const UNREGISTERED: &str = "unregistered";

/// Something of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Come {
    /// A packet, or what stands in a packet's place.
    Packet(Bytes),
    /// To be answered with the same.
    Ping(Bytes),
}

/// What has come and is not taken yet.
pub(super) struct Incoming {
    reader: Reader,
    form: Form,
    /// What is left of a batch.
    batch: Bytes,
}

impl Incoming {
    pub(super) fn new(form: Form) -> Self {
        Self { reader: Reader::default(), form, batch: Bytes::new() }
    }

    /// More bytes came.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.reader.extend(bytes);
    }

    /// The next of what came; `None`: more has to come first.
    pub(super) fn next(&mut self) -> Result<Option<Come>, Ended> {
        loop {
            if let Some(packet) = batch::next(&mut self.batch) {
                return Ok(Some(Come::Packet(packet)));
            }
            match self.reader.next(READING) {
                Ok(Some(Read::Part(Part { opcode: Opcode::Binary, data: Data::Binary(packets), .. })))
                    if self.form == Form::Batches =>
                {
                    self.batch = packets;
                }
                Ok(Some(Read::Part(Part { opcode: Opcode::Text, data: Data::Binary(packet), .. }))) => {
                    return Ok(Some(Come::Packet(packet)));
                }
                Ok(Some(Read::Ping(payload))) => return Ok(Some(Come::Ping(payload))),
                Ok(Some(Read::Close(close))) => return Err(closed(&close)),
                Ok(Some(Read::Part(_) | Read::Pong(_))) => {}
                Ok(None) => return Ok(None),
                Err(close) => {
                    return Err(Ended::Later(format!("the server breaks the protocol: {}", close.reason)));
                }
            }
        }
    }
}

/// The server does not know the node any more.
pub(super) fn unknown() -> Ended {
    Ended::Refused("the server does not know this node any more: join anew, with another token and folder".into())
}

fn closed(close: &Close) -> Ended {
    let is_unknown = close.reason.starts_with(INVALID) || close.reason == UNREGISTERED;
    if close.code == Some(CloseCode::NORMAL) && is_unknown {
        // The reason repeats the token.
        return unknown();
    }
    match close.code {
        Some(CloseCode::NORMAL) if close.reason.ends_with("already connected") => {
            Ended::Later("another machine is connected with this node's token".into())
        }
        Some(code) => Ended::Later(format!("the server closed the tunnel ({})", code.get())),
        None => Ended::Later("the server closed the tunnel".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_token_is_for_ever_and_everything_else_for_later_and_no_token_is_shown() {
        let normal = |reason: &'static str| closed(&Close::new(CloseCode::NORMAL, reason));
        assert!(matches!(normal("invalid token b52f93d3f0ec4be7"), Ended::Refused(why) if !why.contains("b52f")));
        assert!(matches!(normal(UNREGISTERED), Ended::Refused(_)));
        let busy = normal("token b52f93d3f0ec4be7 already connected");
        assert_eq!(busy, Ended::Later("another machine is connected with this node's token".into()));
        for close in [
            Close::default(),
            Close::new(CloseCode::NORMAL, ""),
            Close::new(CloseCode::RESTART, "come again later"),
            Close::new(CloseCode::PROTOCOL, "invalid token"),
        ] {
            assert!(matches!(closed(&close), Ended::Later(_)), "{close:?}");
        }
    }
}
