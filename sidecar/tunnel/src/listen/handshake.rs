//! The JSON by which a node asks for its address and gets it (NC section 4, handshake). It goes over the wire once each way; all
//! that follows is packets.

use std::net::Ipv4Addr;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

/// The type of both messages.
const ADDRESS: i64 = 2;
/// A question has 36 bytes; a little room for other spellings.
const MOST: usize = 1024;

/// What a first message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// It asks for the address.
    Asks,
    /// JSON of another type: it is ignored.
    Other,
    /// No such JSON: the peer speaks something else.
    Broken,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "connectionState")]
    state: Option<i64>,
}

/// Reads a message that came before the address was given.
pub(super) fn read(text: &[u8]) -> First {
    // An array of the same values would be taken for an object too.
    if text.len() > MOST || text.trim_ascii_start().first() != Some(&b'{') {
        return First::Broken;
    }
    match serde_json::from_slice::<Message>(text) {
        Ok(Message { state: Some(ADDRESS) }) => First::Asks,
        Ok(_) => First::Other,
        Err(_) => First::Broken,
    }
}

/// The reply: the address, and how long the network's prefix is.
pub(super) fn reply(cidr: &str) -> String {
    format!("{{\"connectionState\":{ADDRESS},\"payload\":\"{}\"}}", STANDARD.encode(cidr))
}

/// The question, as a node of ours asks it.
pub(crate) const QUESTION: &[u8] = br#"{"connectionState":2,"payload":null}"#;

#[derive(Deserialize)]
struct Reply {
    #[serde(rename = "connectionState")]
    state: i64,
    payload: String,
}

/// What a reply gives: the address, and how long the network's prefix is. `None`: it is none.
pub(crate) fn address(text: &[u8]) -> Option<(Ipv4Addr, u8)> {
    let reply: Reply = serde_json::from_slice(text).ok()?;
    let cidr = STANDARD.decode(reply.payload).ok().filter(|_| reply.state == ADDRESS)?;
    let (address, prefix) = std::str::from_utf8(&cidr).ok()?.split_once('/')?;
    let (address, prefix): (Ipv4Addr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    let is_nobodys = address.is_unspecified() || address.is_multicast() || address.is_broadcast();
    (prefix <= 32 && !is_nobodys).then_some((address, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_are_those_of_the_contract() {
        assert_eq!((QUESTION.len(), read(QUESTION)), (36, First::Asks));
        assert_eq!(address(reply("10.1.1.3/24").as_bytes()), Some(([10, 1, 1, 3].into(), 24)));
        let others =
            ["10.1.1.3", "10.1.1.3/33", "10.1.1/24", "::1/24", "", "0.0.0.0/24", "224.0.0.1/4", "255.255.255.255/8"]
                .map(reply);
        for other in others.iter().map(String::as_bytes).chain([QUESTION, b"", b"E\0\0\x14"]) {
            assert_eq!(address(other), None, "{}", other.escape_ascii());
        }
        assert_eq!(reply("10.1.1.3/24"), r#"{"connectionState":2,"payload":"MTAuMS4xLjMvMjQ="}"#);
        assert_eq!(read(reply("10.1.1.3/24").as_bytes()), First::Asks);
    }

    #[test]
    fn other_types_are_ignored_and_what_is_no_such_json_is_broken() {
        let long = format!(r#"{{"connectionState":2,"payload":"{}"}}"#, "x".repeat(MOST));
        let table: [(&[u8], First); 9] = [
            (br#"{"connectionState":3,"payload":null}"#, First::Other),
            (br#"{"connectionState":-1}"#, First::Other),
            (b"{}", First::Other),
            (br#"{"connectionState":"2"}"#, First::Broken),
            (br#"{"connectionState":2.5}"#, First::Broken),
            (b"[2]", First::Broken),
            (b"", First::Broken),
            (b"\x45\x00\x00\x14", First::Broken),
            (long.as_bytes(), First::Broken),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), expected, "{}", text.escape_ascii());
        }
    }
}
