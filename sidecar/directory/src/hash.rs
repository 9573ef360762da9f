//! A SHA-256 hash, how it is made and how it is written.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Bytes of a hash.
const BYTES: usize = 32;

/// A SHA-256 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; BYTES]);

/// A hash that is being made.
#[derive(Clone)]
pub struct Hasher(digest::Context);

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

impl Hasher {
    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The hash of all pieces, one behind the other.
    #[must_use]
    pub fn finish(self) -> Hash {
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Hash(bytes)
    }
}

impl Hash {
    /// What stands for an empty subtree of the state (contract 5.3).
    pub const ZERO: Self = Self([0; BYTES]);

    /// The hash of the parts, one behind the other. Who hashes more than one part of variable length says their lengths.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Self::hasher();
        parts.iter().for_each(|part| hasher.update(part));
        hasher.finish()
    }

    /// What hashes pieces as they come, none of which is kept.
    #[must_use]
    pub fn hasher() -> Hasher {
        Hasher(digest::Context::new(&digest::SHA256))
    }

    /// A hash that came as bytes.
    #[must_use]
    pub const fn new(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }

    /// A hash that came as so many bytes; `None` when these are not 32.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// In standard base64, as checkpoints and proofs have it.
    #[must_use]
    pub fn base64(&self) -> String {
        BASE64_STANDARD.encode(self.0)
    }

    /// From standard base64, with its padding and no other spelling.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        BASE64_STANDARD.decode(text).ok().and_then(|bytes| Self::read(&bytes))
    }

    /// From 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 2 * BYTES {
            return None;
        }
        let mut bytes = [0; BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().try_fold(0, |high, digit| Some(high << 4 | nibble(*digit)?))?;
        }
        Some(Self(bytes))
    }

    /// The bit at `depth`, the most significant of the first byte being the first.
    #[must_use]
    pub fn bit(&self, depth: u8) -> bool {
        self.0[usize::from(depth / 8)] >> (7 - depth % 8) & 1 == 1
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Lower-case hexadecimal digits.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |n: u8| char::from(if n < 10 { b'0' + n } else { b'a' - 10 + n });
        // One text: each piece of a formatter's costs as much as all digits.
        let digits: String = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        f.write_str(&digits)
    }
}

/// As it is displayed.
impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| D::Error::custom("not 64 lower-case hexadecimal digits"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4, the examples of SHA-256.
    #[test]
    fn it_is_sha_256() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Hash::of(&[b"abc"]).to_string(), known);
        assert_eq!(Hash::of(&[b"a", b"", b"bc"]).to_string(), known);
        assert_eq!(Hash::of(&[]), Hash::from_base64("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=").unwrap());
    }

    #[test]
    fn it_is_read_in_one_spelling_only() {
        let hash = Hash::of(&[b"abc"]);
        assert_eq!(Hash::from_hex(&hash.to_string()), Some(hash));
        assert_eq!(Hash::from_base64(&hash.base64()), Some(hash));
        for wrong in ["", "ba", &hash.to_string().to_uppercase(), &hash.to_string().replace('b', "g"), &"é".repeat(32)]
        {
            assert_eq!(Hash::from_hex(wrong), None, "{wrong}");
        }
        for wrong in ["", "AAAA", hash.base64().trim_end_matches('='), &hash.base64().replace('=', "_")] {
            assert_eq!(Hash::from_base64(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bits_are_counted_from_the_first() {
        let mut bytes = [0; BYTES];
        (bytes[0], bytes[31]) = (0b0100_0000, 1);
        let hash = Hash::new(bytes);
        let set: Vec<u8> = (0..=u8::MAX).filter(|depth| hash.bit(*depth)).collect();
        assert_eq!(set, [1, 255]);
    }
}
