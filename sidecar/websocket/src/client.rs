//! The handshake of a client (RFC 6455 section 4.1): the request, and the head of its answer.

use std::fmt::Write as _;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::handshake::{MOST_OF_HEAD, Refused, accept_key};

/// Headers of an answer: a proxy on the way adds a few.
const MOST_HEADERS: usize = 64;
/// Of the text behind a refusal no more is shown.
const MOST_OF_REASON: usize = 200;

/// A request to become a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    request: Vec<u8>,
    accept: String,
}

/// The answer that made it one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switched {
    /// All headers, in their order, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// How many bytes the head had; what comes behind it are frames.
    pub size: usize,
}

impl Ask {
    /// A request for `path` of `host`, with these headers beside its own. `nonce`: bytes that nobody could foresee. None of the
    /// texts has a line's end in it.
    #[must_use]
    pub fn new(host: &str, path: &str, headers: &[(&str, &str)], nonce: [u8; 16]) -> Self {
        let key = STANDARD.encode(nonce);
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        );
        for (name, value) in headers {
            let _ = write!(request, "{name}: {value}\r\n");
        }
        request += "\r\n";
        Self { request: request.into_bytes(), accept: accept_key(&key) }
    }

    /// What is sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.request
    }

    /// Reads the head of the answer; `None` where more bytes are needed.
    ///
    /// # Errors
    /// The status that it was refused with, and of the text behind it what came with the head; 0: what answered speaks no
    /// WebSocket.
    pub fn read(&self, bytes: &[u8]) -> Result<Option<Switched>, Refused> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let none = |reason: &str| Err(Refused::new(0, reason));
        let size = match response.parse(bytes) {
            Ok(httparse::Status::Complete(size)) if size <= MOST_OF_HEAD => size,
            Ok(httparse::Status::Partial) if bytes.len() < MOST_OF_HEAD => return Ok(None),
            Ok(_) => return none("the head of the answer is too long"),
            Err(_) => return none("the answer is no HTTP"),
        };
        let status = response.code.unwrap_or_default();
        if status != 101 {
            let text = String::from_utf8_lossy(bytes.get(size..).unwrap_or_default());
            let reason: String = text.trim().chars().filter(|c| !c.is_control()).take(MOST_OF_REASON).collect();
            return Err(Refused::new(status, reason));
        }
        let headers: Vec<(String, String)> = response
            .headers
            .iter()
            .map(|header| (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).trim().to_owned()))
            .collect();
        if !headers.iter().any(|(name, value)| name == "sec-websocket-accept" && *value == self.accept) {
            return none("the answer does not prove that it was understood");
        }
        Ok(Some(Switched { headers, size }))
    }
}

impl Switched {
    /// The first header of a name, which is given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Agreed, Offer};

    fn ask() -> Ask {
        Ask::new("203.0.113.7:6441", "/ws", &[("Node-Token", "b52f93d3f0ec4be7")], [7; 16])
    }

    #[test]
    fn our_server_understands_what_our_client_asks_and_is_understood() {
        let ask = ask();
        let (offer, size) = Offer::read(ask.bytes()).unwrap().expect("a whole head");
        assert_eq!(
            (size, offer.path(), offer.header("node-token")),
            (ask.bytes().len(), "/ws", Some("b52f93d3f0ec4be7"))
        );
        let response = offer.response(&Agreed::default());
        for cut in 0..response.len() {
            assert_eq!(ask.read(&response[..cut]), Ok(None), "cut at {cut}");
        }
        let whole = [&response[..], b"frames"].concat();
        let switched = ask.read(&whole).unwrap().unwrap();
        assert_eq!((switched.size, switched.header("upgrade")), (response.len(), Some("websocket")));
    }

    #[test]
    fn a_refusal_is_told_with_its_status_and_what_is_no_answer_with_none() {
        let refused = ask().read(&Refused::new(503, "come\nagain").response()).unwrap_err();
        assert_eq!((refused.status, refused.reason.as_str()), (503, "comeagain"));
        let other = Ask::new("a", "/", &[], [8; 16]);
        let (offer, _) = Offer::read(other.bytes()).unwrap().unwrap();
        let table = [
            offer.response(&Agreed::default()),
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec(),
            b"SSH-2.0-OpenSSH\r\n".to_vec(),
            vec![b'H'; 3],
            [&b"HTTP/1.1 101 X\r\nA: "[..], &[b'a'; MOST_OF_HEAD]].concat(),
        ];
        for bytes in table {
            match ask().read(&bytes) {
                Err(refused) => assert_eq!(refused.status, 0, "{refused:?}"),
                waits => assert_eq!((waits, bytes.as_slice()), (Ok(None), &b"HHH"[..])),
            }
        }
    }
}
