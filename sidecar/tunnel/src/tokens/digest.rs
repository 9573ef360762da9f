//! What is kept of a token: its HMAC under a key of this installation.
//!
//! A thief of the ledger without the key cannot try out tokens. And a look-up by this hash tells nothing by how long it takes:
//! whoever sends guesses does not know what they hash to, so that a near miss is as far away as any other.

use std::fmt;

use ring::{
    hmac::{self, HMAC_SHA256, Key},
    rand::{SecureRandom as _, SystemRandom},
};

use super::{
    NoRandomness,
    text::{self, presented},
};

/// As long as the hash (RFC 2104 section 3).
const KEY_BYTES: usize = 32;

/// A token's keyed hash, in lower-case hex.
pub type Digest = String;

/// The key of all hashes of an installation.
pub struct HashKey {
    hex: String,
    key: Key,
}

impl HashKey {
    /// A new key.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self::from_hex(text::hex(&bytes)))
    }

    /// The key that [`hex`](Self::hex) wrote.
    pub fn from_hex(hex: String) -> Self {
        let key = Key::new(HMAC_SHA256, hex.as_bytes());
        Self { hex, key }
    }

    /// As it is kept, beside what it guards: in a file of the owner's.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The hash of a shown token; `None` if it has no form of a token.
    pub fn digest(&self, shown: &str) -> Option<Digest> {
        presented(shown).map(|secret| text::hex(hmac::sign(&self.key, secret.as_bytes()).as_ref()))
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_same_with_and_without_the_pin_and_another_under_another_key() {
        let (key, other) = (HashKey::generate().unwrap(), HashKey::generate().unwrap());
        let token = "12345678.0123456789abcdef0123456789abcdef";
        let pinned = format!("{token}#{}", "0".repeat(64));
        assert_eq!(key.digest(token), key.digest(&pinned));
        assert_eq!(key.digest(token), HashKey::from_hex(key.hex().to_owned()).digest(token));
        assert_ne!(key.digest(token), other.digest(token));
        assert_eq!(key.digest("no token"), None);
        assert_eq!(format!("{key:?}"), "HashKey(..)");
    }
}
