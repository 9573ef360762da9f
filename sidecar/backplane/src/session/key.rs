//! By which name a session goes within NATS: the hash of its id. Ids are any text, and names there are few letters; nobody can
//! choose two ids of one hash.

use std::fmt::{self, Write as _};

use ring::digest::{SHA256, digest};

/// A session within NATS.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// Of the session with this id, which may be empty.
    pub(crate) fn of(session: &str) -> Self {
        let mut bytes = [0; 32];
        // A hash of SHA-256 has 32 bytes.
        bytes.copy_from_slice(digest(&SHA256, session.as_bytes()).as_ref());
        Self(bytes)
    }

    /// Of a log that is no session's: what it is the hash of is no text, so no id has it.
    pub(crate) fn of_estate(number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, &[0xff, high, low]).as_ref());
        Self(bytes)
    }

    /// What [`fmt::Display`] wrote.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(64);
        self.0.iter().try_for_each(|byte| write!(text, "{byte:02x}"))?;
        f.write_str(&text)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_a_name_of_its_own_which_is_read_back() {
        let empty = Key::of("");
        assert_eq!(empty.to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(Key::read(&empty.to_string()), Some(empty.clone()));
        assert_ne!(Key::of("s1"), Key::of("s10"));
        assert_ne!(Key::of_estate(1), Key::of_estate(256));
        assert!(String::from_utf8(vec![0xff, 0, 1]).is_err(), "no session has the name of an estate");
        for other in ["", "e3", &"é".repeat(32), &"g".repeat(64), &"+0".repeat(32)] {
            assert_eq!(Key::read(other), None, "{other}");
        }
    }
}
