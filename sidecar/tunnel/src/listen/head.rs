//! The head of a request on port 6441: a handshake on `/ws` with a token, or an answer in plain HTTP (NC section 4, open).

use mesh_websocket::{Close, CloseCode, Offer, Refused};

use crate::{addresses::Network, ledger::MOST_ROUTES};

/// The only path.
const PATH: &str = "/ws";
/// The credential.
const TOKEN: &str = "node-token";
/// Which protocol is spoken: absent, or anything but 2, is the legacy one (NC section 8).
pub(crate) const PROTOCOL: &str = "x-nc-proto";
/// What a session is called, in the answer; and in a later request, of one that is over.
pub(crate) const SESSION: &str = "x-nc-session";
pub(crate) const RESUMES: &str = "x-nc-resume";
/// The largest packet, in the answer.
pub(crate) const MTU: &str = "x-nc-mtu";
/// The networks that a node says are behind it; in the answer, what became of each.
pub(crate) const ROUTES: &str = "x-nc-routes";
/// The only protocol that has a number.
pub(crate) const SECOND: &str = "2";

/// A handshake that is one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) offer: Offer,
    /// `None`: none, or more than one.
    pub(super) token: Option<String>,
    /// Whether it speaks protocol 2.
    pub(super) is_second: bool,
    /// Which session it goes on with.
    pub(super) resumes: Option<String>,
    /// Which networks it says are behind it.
    pub(super) announces: Vec<Network>,
    /// How many bytes of what came the head was.
    pub(super) size: usize,
}

/// Reads a head; `None` where more bytes are needed.
///
/// # Errors
/// How a request is answered that becomes no WebSocket.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Asked>, Refused> {
    let (offer, size) = match Offer::read(bytes) {
        Ok(Some(offer)) => offer,
        Ok(None) => return Ok(None),
        // Whoever asks for something else asks in the wrong place, whatever else is wrong.
        Err(refused) if matches!(refused.status, 400 | 426) && other_path(bytes) => return Err(not_found()),
        Err(refused) => return Err(refused),
    };
    if offer.path() != PATH {
        return Err(not_found());
    }
    if let Some(origin) = offer.header("origin")
        && !is_same(origin, offer.header("host").unwrap_or_default())
    {
        return Err(Refused::new(403, "a page of another origin opens no tunnel"));
    }
    let mut tokens = offer.headers.iter().filter(|(name, _)| name == TOKEN).map(|(_, value)| value.trim().to_owned());
    let token = tokens.next().filter(|_| tokens.next().is_none());
    let is_second = offer.header(PROTOCOL).is_some_and(|version| version.trim() == SECOND);
    let resumes = offer.header(RESUMES).filter(|_| is_second).map(|session| session.trim().to_owned());
    let announces = offer.header(ROUTES).filter(|_| is_second).map_or_else(|| Ok(Vec::new()), announced)?;
    Ok(Some(Asked { offer, token, is_second, resumes, announces, size }))
}

/// Networks, with commas between them.
fn announced(text: &str) -> Result<Vec<Network>, Refused> {
    let networks: Result<Vec<Network>, _> = text.split(',').map(|network| network.trim().parse()).collect();
    let mut networks = networks.map_err(|e| Refused::new(400, format!("{ROUTES}: {e}")))?;
    networks.sort_unstable();
    networks.dedup();
    if networks.len() > MOST_ROUTES {
        return Err(Refused::new(400, format!("{ROUTES}: at most {MOST_ROUTES} networks")));
    }
    Ok(networks)
}

/// How a node is refused for ever: after the 101, since a legacy client repeats everything else twice a second (NC section 4).
pub(super) fn invalid(token: &str) -> Close {
    Close::new(CloseCode::NORMAL, format!("invalid token {token}"))
}

/// The same for a node that has a live session.
pub(super) fn already_connected(token: &str) -> Close {
    Close::new(CloseCode::NORMAL, format!("token {token} already connected"))
}

/// How a node is told to come again.
pub(super) fn later(why: &str) -> Refused {
    Refused::new(503, why)
}

fn not_found() -> Refused {
    Refused::new(404, "the tunnel is at /ws")
}

/// Whether the request line names another path. The bytes are no handshake, so they may be anything.
fn other_path(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    path.starts_with(b"/") && path != PATH.as_bytes()
}

/// Whether an origin is the host that was asked, as a browser writes both.
fn is_same(origin: &str, host: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "GET /ws HTTP/1.1\r\nHost: 203.0.113.7:6441\r\nUser-Agent: Go-http-client/1.1\r\nConnection: Upgrade\r\n\
        Node-Token: 0123456789ab4def\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Upgrade: websocket\r\n\r\n";

    fn status(from: &str, to: &str) -> u16 {
        read(GOOD.replace(from, to).as_bytes()).map_or_else(|refused| refused.status, |_| 101)
    }

    fn token(to: &str) -> Option<String> {
        let line = "Node-Token: 0123456789ab4def\r\n";
        assert!(GOOD.contains(line));
        read(GOOD.replace(line, to).as_bytes()).unwrap().unwrap().token
    }

    #[test]
    fn a_legacy_client_is_understood() {
        let asked = read(GOOD.as_bytes()).unwrap().unwrap();
        assert_eq!((asked.token.as_deref(), asked.size), (Some("0123456789ab4def"), GOOD.len()));
        assert_eq!(read(&GOOD.as_bytes()[..50]), Ok(None));
    }

    #[test]
    fn what_is_no_handshake_on_ws_has_its_status() {
        let table = [
            ("/ws", "/", 404),
            ("/ws", "/wss", 404),
            ("/ws", "/ws?x=1", 101),
            ("GET /ws", "POST /ws", 405),
            ("Upgrade: websocket\r\n", "", 426),
            ("/ws HTTP/1.1\r\nHost: 203.0.113.7:6441\r\n", "/metrics HTTP/1.1\r\nHost: a\r\nX: y\r\nTe: ", 404),
            ("Node-Token:", "Origin: https://203.0.113.7:6441\r\nNode-Token:", 101),
            ("Node-Token:", "Origin: https://evil.example\r\nNode-Token:", 403),
            ("Node-Token:", "Origin: null\r\nNode-Token:", 403),
        ];
        for (from, to, expected) in table {
            assert_eq!(status(from, to), expected, "{from} -> {to}");
        }
        assert_eq!(read(b"GET /x HTTP/1.1\r\n\r\n").unwrap_err().status, 404);
        assert_eq!(read(b"\x16\x03\x01 /x \r\n\r\n").unwrap_err().status, 404);
        assert_eq!(read(b"nonsense\r\n\r\n").unwrap_err().status, 400);
    }

    #[test]
    fn protocol_2_is_asked_for_by_its_number_alone() {
        let asked = |lines: &str| {
            let head = GOOD.replace("Node-Token:", &format!("{lines}Node-Token:"));
            let asked = read(head.as_bytes()).unwrap().unwrap();
            (asked.is_second, asked.resumes)
        };
        assert_eq!(asked(""), (false, None));
        assert_eq!(asked("X-NC-Proto: 2\r\n"), (true, None));
        assert_eq!(asked("x-nc-proto: 2\r\nX-NC-Resume: ab\r\n"), (true, Some("ab".into())));
        assert_eq!(asked("X-NC-Proto: 3\r\nX-NC-Resume: ab\r\n"), (false, None));
    }

    #[test]
    fn networks_are_announced_in_protocol_2_alone_and_broken_ones_are_refused() {
        let asked = |lines: &str| {
            let head = GOOD.replace("Node-Token:", &format!("{lines}Node-Token:"));
            read(head.as_bytes())
                .map(|asked| asked.unwrap().announces.iter().map(Network::to_string).collect::<Vec<_>>())
        };
        let second = |networks: &str| asked(&format!("X-NC-Proto: 2\r\nX-NC-Routes: {networks}\r\n"));
        assert_eq!(
            second("192.168.7.0/24,10.42.0.0/16, 192.168.7.0/24"),
            Ok(vec!["10.42.0.0/16".into(), "192.168.7.0/24".into()])
        );
        assert_eq!(asked("X-NC-Routes: 192.168.7.0/24\r\n"), Ok(vec![]));
        for broken in ["", "192.168.7.1/24", "0.0.0.0/0", "10.0.0.0/8,", "10.0.0.0/8 172.16.0.0/12"] {
            assert_eq!(second(broken).unwrap_err().status, 400, "{broken}");
        }
        let many = |count| (0..count).map(|n| format!("10.{n}.0.0/16")).collect::<Vec<_>>().join(",");
        assert_eq!(second(&many(MOST_ROUTES)).unwrap().len(), MOST_ROUTES);
        assert_eq!(second(&many(MOST_ROUTES + 1)).unwrap_err().status, 400);
    }

    #[test]
    fn a_token_is_there_once() {
        assert_eq!(token("node-token:  abc \r\n").as_deref(), Some("abc"));
        assert_eq!(token("Node-Token: \r\n").as_deref(), Some(""));
        assert_eq!(token(""), None);
        assert_eq!(token("Node-Token: a\r\nnode-token: a\r\n"), None);
    }

    #[test]
    fn refusals_name_the_token_and_fit_a_frame() {
        assert_eq!(invalid("abc").reason, "invalid token abc");
        assert_eq!(already_connected("abc").reason, "token abc already connected");
        let long = invalid(&"长".repeat(100));
        assert!(long.reason.len() <= 123 && long.reason.ends_with('长'));
    }
}
