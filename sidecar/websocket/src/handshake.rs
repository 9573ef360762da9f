//! The request that becomes a WebSocket (RFC 6455 section 4.2), read from a client's first bytes, and what is answered.
//!
//! Which paths and origins there are is for the listener to say; what is no handshake at all is refused here.

use std::fmt::Write as _;

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::digest;

/// Headers of a handshake. Browsers send some twenty.
const MOST_HEADERS: usize = 64;
/// Bytes of a head: a token and a few cookies.
pub const MOST_OF_HEAD: usize = 16 * 1024;
/// What is put behind the key (RFC 6455 section 1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request to become a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The request target as it was sent.
    pub uri: String,
    /// All headers, in their order, with names in lower case.
    pub headers: Vec<(String, String)>,
    key: String,
}

/// What a handshake agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// One of the client's subprotocols.
    pub protocol: Option<String>,
    /// Whether messages may be compressed.
    pub deflates: bool,
}

/// A request that becomes no WebSocket, and how it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// For people.
    pub reason: String,
}

impl Refused {
    /// A refusal.
    pub fn new(status: u16, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    /// The whole answer; the connection ends with it.
    #[must_use]
    pub fn response(&self) -> Vec<u8> {
        let phrase = match self.status {
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            426 => "Upgrade Required",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            _ => "Bad Request",
        };
        let extra = match self.status {
            405 => "allow: GET\r\n",
            426 => "upgrade: websocket\r\nsec-websocket-version: 13\r\n",
            503 => "retry-after: 1\r\n",
            _ => "",
        };
        format!(
            "HTTP/1.1 {} {phrase}\r\nconnection: close\r\n{extra}content-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\r\n{}",
            self.status,
            self.reason.len(),
            self.reason,
        )
        .into_bytes()
    }
}

/// What a server proves that it understood by (RFC 6455 section 4.2.2).
#[must_use]
pub fn accept_key(key: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(MAGIC);
    STANDARD.encode(context.finish())
}

/// What is agreed on about compression.
const DEFLATE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const DEFLATE_IN_FULL: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";

impl Offer {
    /// Reads a head; `None` where more bytes are needed. Answers the offer and how many bytes it had.
    ///
    /// # Errors
    /// What is no handshake.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Refused> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let size = match request.parse(bytes) {
            Ok(httparse::Status::Complete(size)) if size <= MOST_OF_HEAD => size,
            Ok(httparse::Status::Partial) if bytes.len() < MOST_OF_HEAD => return Ok(None),
            Ok(_) => return Err(Refused::new(431, format!("a head is at most {MOST_OF_HEAD} bytes"))),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Refused::new(431, format!("a handshake has at most {MOST_HEADERS} headers")));
            }
            Err(e) => return Err(Refused::new(400, format!("this is no HTTP request: {e}"))),
        };
        if request.method != Some("GET") {
            return Err(Refused::new(405, "a handshake is a GET"));
        }
        if request.version != Some(1) {
            return Err(Refused::new(400, "a handshake is HTTP/1.1"));
        }
        let headers = request.headers.iter().map(|header| {
            let value = std::str::from_utf8(header.value);
            let value = value.map_err(|_| Refused::new(400, format!("header {} is no text", header.name)))?;
            Ok((header.name.to_ascii_lowercase(), value.to_owned()))
        });
        let headers = headers.collect::<Result<Vec<_>, Refused>>()?;
        let offer = Self { uri: request.path.unwrap_or_default().to_owned(), headers, key: String::new() };
        offer.checked().map(|offer| Some((offer, size)))
    }

    fn checked(mut self) -> Result<Self, Refused> {
        let bad = |reason: &str| Err(Refused::new(400, reason));
        if !self.has_token("upgrade", "websocket") || !self.has_token("connection", "upgrade") {
            return Err(Refused::new(426, "WebSocket is spoken here, and nothing else"));
        }
        if self.all("host").count() != 1 {
            return bad("a request names one host");
        }
        if self.all("sec-websocket-version").ne(["13"]) {
            return Err(Refused::new(426, "version 13 of WebSocket is spoken here"));
        }
        if self.all("transfer-encoding").next().is_some() || self.all("content-length").any(|length| length != "0") {
            return bad("a handshake has no body");
        }
        let keys: Vec<&str> = self.all("sec-websocket-key").collect();
        let key = match keys[..] {
            [key] if STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16) => key.to_owned(),
            _ => return bad("sec-websocket-key is there once, and 16 bytes in base64"),
        };
        if !self.uri.starts_with('/') {
            return bad("the target of a handshake is a path");
        }
        self.key = key;
        Ok(self)
    }

    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.split_once('?').map_or(&*self.uri, |(path, _)| path)
    }

    /// The query, without its question mark; empty where there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.uri.split_once('?').map_or("", |(_, query)| query)
    }

    /// The first header of a name, which is given in lower case.
    #[must_use]
    pub fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.trim())
    }

    /// The members of a list that may stand in several headers.
    fn listed<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(|value| value.split(',')).map(str::trim).filter(|item| !item.is_empty())
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.listed(name).any(|item| item.eq_ignore_ascii_case(token))
    }

    /// The subprotocols that the client speaks, the best first.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        self.listed("sec-websocket-protocol")
    }

    /// Whether it offers permessage-deflate in a form that is served here: with a full window.
    #[must_use]
    pub fn deflates(&self) -> bool {
        self.deflate().is_some()
    }

    /// How the first such offer is answered. That neither side keeps a window between messages is for the server to ask, whatever
    /// the offer says (RFC 7692 section 7.1.1); that the window is full is said where it was asked for (section 7.1.2.1).
    fn deflate(&self) -> Option<&'static str> {
        self.listed("sec-websocket-extensions").find_map(|extension| {
            let mut parts = extension.split(';').map(str::trim);
            let (mut names, mut is_full_wanted) = (Vec::new(), false);
            if parts.next() != Some("permessage-deflate") {
                return None;
            }
            for parameter in parts {
                let (name, bits) = parameter
                    .split_once('=')
                    .map_or((parameter, None), |(name, value)| (name.trim(), Some(value.trim().trim_matches('"'))));
                let is_served = match (name, bits) {
                    ("client_max_window_bits" | "server_no_context_takeover" | "client_no_context_takeover", None) => {
                        true
                    }
                    ("client_max_window_bits", Some(bits)) => {
                        matches!(bits, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")
                    }
                    ("server_max_window_bits", Some("15")) => {
                        is_full_wanted = true;
                        true
                    }
                    _ => false,
                };
                // What is said twice is declined (section 7.1).
                if !is_served || names.contains(&name) {
                    return None;
                }
                names.push(name);
            }
            Some(if is_full_wanted { DEFLATE_IN_FULL } else { DEFLATE })
        })
    }

    /// The answer that makes it a WebSocket.
    #[must_use]
    pub fn response(&self, agreed: &Agreed) -> Vec<u8> {
        self.response_with(agreed, &[])
    }

    /// The same with these headers beside its own; none of the texts has a line's end in it.
    #[must_use]
    pub fn response_with(&self, agreed: &Agreed, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {}\r\n",
            accept_key(&self.key)
        );
        if let Some(protocol) = &agreed.protocol {
            let _ = write!(response, "sec-websocket-protocol: {protocol}\r\n");
        }
        if let Some(deflate) = self.deflate().filter(|_| agreed.deflates) {
            let _ = write!(response, "sec-websocket-extensions: {deflate}\r\n");
        }
        for (name, value) in headers {
            let _ = write!(response, "{name}: {value}\r\n");
        }
        response += "\r\n";
        response.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "GET /chat?room=7 HTTP/1.1\r\nHost: grid:6790\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://grid:6790\r\n\
        Sec-WebSocket-Protocol: chat.v2, chat.v1\r\n\r\n";

    fn read(text: &str) -> Result<Offer, Refused> {
        Offer::read(text.as_bytes()).map(|offer| offer.expect("a whole head").0)
    }

    #[test]
    fn the_example_of_the_rfc_is_answered_as_there() {
        let offered = GOOD.replace("Origin:", "Sec-WebSocket-Extensions: permessage-deflate\r\nOrigin:");
        let (offer, size) = Offer::read(format!("{offered}more").as_bytes()).unwrap().unwrap();
        assert_eq!(
            (size, offer.path(), offer.query(), offer.header("origin")),
            (offered.len(), "/chat", "room=7", Some("http://grid:6790"))
        );
        assert!(offer.protocols().eq(["chat.v2", "chat.v1"]));
        let agreed = Agreed { protocol: Some("chat.v1".into()), deflates: true };
        let response = String::from_utf8(offer.response(&agreed)).unwrap();
        for line in [
            "HTTP/1.1 101 Switching Protocols",
            "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "sec-websocket-protocol: chat.v1",
            "sec-websocket-extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ] {
            assert!(response.contains(&format!("{line}\r\n")), "{line}: {response}");
        }
        for cut in 0..GOOD.len() {
            assert_eq!(Offer::read(&GOOD.as_bytes()[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_handshake_is_refused_with_its_status() {
        let table = [
            ("GET /chat", "POST /chat", 405),
            ("HTTP/1.1", "HTTP/1.0", 400),
            ("Upgrade: WebSocket\r\n", "", 426),
            ("Connection: keep-alive, Upgrade", "Connection: close", 426),
            ("Host: grid:6790\r\n", "", 400),
            ("Host: grid:6790\r\n", "Host: a\r\nHost: b\r\n", 400),
            ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400),
            ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", 400),
            (
                "dGhlIHNhbXBsZSBub25jZQ==",
                "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                400,
            ),
            ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 426),
            ("Sec-WebSocket-Version: 13\r\n", "", 426),
            ("Origin:", "Content-Length: 5\r\nOrigin:", 400),
            ("Origin:", "Transfer-Encoding: chunked\r\nOrigin:", 400),
            ("/chat?room=7", "http://other/chat", 400),
            ("Origin: http", "Origin: \u{1}", 400),
        ];
        for (from, to, status) in table {
            let refused = read(&GOOD.replace(from, to)).unwrap_err();
            assert_eq!(refused.status, status, "{from} -> {to}: {}", refused.reason);
            let response = String::from_utf8(refused.response()).unwrap();
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")) && response.ends_with(&refused.reason));
        }
        let long = GOOD.replace("Origin:", &format!("Cookie: {}\r\nOrigin:", "c".repeat(MOST_OF_HEAD)));
        assert_eq!(read(&long).unwrap_err().status, 431);
        let many = GOOD.replace("Origin:", &format!("{}Origin:", "A: b\r\n".repeat(MOST_HEADERS)));
        assert_eq!(read(&many).unwrap_err().status, 431);
    }

    #[test]
    fn compression_is_agreed_on_only_with_a_full_window() {
        let table = [
            ("permessage-deflate", Some(DEFLATE)),
            ("permessage-deflate; client_max_window_bits", Some(DEFLATE)),
            ("permessage-deflate; server_no_context_takeover; client_max_window_bits=12", Some(DEFLATE)),
            // Clients that ask for a window end the connection where the answer does not name it.
            ("permessage-deflate; server_max_window_bits=15", Some(DEFLATE_IN_FULL)),
            ("permessage-deflate; server_max_window_bits=\"15\"; client_max_window_bits", Some(DEFLATE_IN_FULL)),
            ("permessage-deflate; server_max_window_bits=10", None),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", Some(DEFLATE)),
            ("permessage-deflate; client_max_window_bits=16", None),
            ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
            ("permessage-deflate; unknown", None),
            ("x-webkit-deflate-frame", None),
        ];
        for (offered, answered) in table {
            let offer =
                read(&GOOD.replace("Origin:", &format!("Sec-WebSocket-Extensions: {offered}\r\nOrigin:"))).unwrap();
            assert_eq!(offer.deflate(), answered, "{offered}");
            let response = offer.response(&Agreed { protocol: None, deflates: offer.deflates() });
            let response = String::from_utf8(response).unwrap();
            let line = response.lines().find_map(|line| line.strip_prefix("sec-websocket-extensions: "));
            assert_eq!(line, answered, "{offered}");
        }
        assert!(!read(GOOD).unwrap().deflates());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0..GOOD.len()) {
            let _ = Offer::read(&bytes);
            let mut near = GOOD.as_bytes().to_vec();
            near.splice(at..at, bytes);
            let _ = Offer::read(&near);
        }
    }
}
