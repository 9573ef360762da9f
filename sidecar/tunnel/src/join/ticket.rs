//! What a person was given to join with: `TOKEN@HOST:PORT`, as `mesh tunnel token create` and `ncadm` print it.
//!
//! A token of our form carries the SHA-256 of the authority of the server that made it, so that nobody else is told it. One of 16
//! digits does not: whoever answers at the address is believed, as legacy clients do.

use std::{fmt, str::FromStr};

use crate::tokens::presented;

/// Where a machine joins that was told no port (NC, the table of ports).
const BOOTSTRAP_PORT: u16 = 6439;

/// A token, and where it is good.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// What is sent.
    pub(super) secret: String,
    /// The SHA-256 of the authority's certificate, lower-case hex.
    pub(super) pin: Option<String>,
    /// Host and port of the bootstrap service.
    pub(super) at: Option<(String, u16)>,
}

/// Why a text is no ticket. It does not show the text, which holds a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATicket {
    /// The token.
    #[error("this is no join token: it is 16 hexadecimal digits, or id.secret#sha256, with @HOST:PORT behind it")]
    Token,
    /// Where it is good.
    #[error("behind the token's @ stands HOST or HOST:PORT of the server's bootstrap port")]
    Place,
}

impl Ticket {
    /// The same for a server that somebody named beside it: `HOST` or `HOST:PORT`.
    ///
    /// # Errors
    /// [`NotATicket::Place`].
    pub fn at(self, place: &str) -> Result<Self, NotATicket> {
        Ok(Self { at: Some(read_place(place)?), ..self })
    }
}

impl FromStr for Ticket {
    type Err = NotATicket;

    fn from_str(text: &str) -> Result<Self, NotATicket> {
        let (token, place) = match text.trim().split_once('@') {
            Some((token, place)) => (token, Some(place)),
            None => (text.trim(), None),
        };
        let secret = presented(token).ok_or(NotATicket::Token)?.to_owned();
        let pin = token.split_once('#').map(|(_, pin)| pin.to_owned());
        Ok(Self { secret, pin, at: place.map(read_place).transpose()? })
    }
}

fn read_place(place: &str) -> Result<(String, u16), NotATicket> {
    let (host, port) = match place.rsplit_once(':') {
        // An IPv6 address stands in brackets.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().map_err(|_| NotATicket::Place)?)
        }
        _ => (place, BOOTSTRAP_PORT),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:".contains(&b));
    if is_host && port != 0 { Ok((host.to_owned(), port)) } else { Err(NotATicket::Place) }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({:?})", self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "12345678.0123456789abcdef0123456789abcdef";

    fn read(text: &str) -> Ticket {
        text.parse().unwrap()
    }

    #[test]
    fn both_forms_are_read_with_their_pin_and_place() {
        let legacy = read("deac5f329feb4729@203.0.113.7:6439");
        assert_eq!((legacy.secret.as_str(), &legacy.pin), ("deac5f329feb4729", &None));
        assert_eq!(legacy.at, Some(("203.0.113.7".into(), 6439)));
        let pin = "a".repeat(64);
        let ours = read(&format!("{OURS}#{pin}@mesh.bank-a.example"));
        assert_eq!((ours.secret.as_str(), ours.pin.as_deref()), (OURS, Some(pin.as_str())));
        assert_eq!(ours.at, Some(("mesh.bank-a.example".into(), 6439)));
        assert_eq!(read(OURS).at("[::1]:7000").unwrap().at, Some(("::1".into(), 7000)));
        assert_eq!(format!("{ours:?}"), r#"Ticket(Some(("mesh.bank-a.example", 6439)))"#);
    }

    #[test]
    fn what_is_no_ticket_is_refused_without_being_shown() {
        for text in ["", "@203.0.113.7:6439", "DEAC5F329FEB4729", "reserverd", "deac5f329feb4729#x"] {
            assert_eq!(text.parse::<Ticket>(), Err(NotATicket::Token), "{text}");
        }
        for place in ["", ":6439", "host:", "host:0", "host:65536", "ho st", "a@b", "http://host"] {
            assert_eq!(read(OURS).at(place), Err(NotATicket::Place), "{place}");
        }
    }
}
