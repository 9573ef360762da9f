//! The text of a token. Two forms: 16 hexadecimal digits, which every client knows, and `id.secret#ca-sha256`, which tells the
//! joiner whom to trust before it says anything (NC sections 2 and 8).

use std::fmt::{self, Write as _};

use ring::rand::{SecureRandom as _, SystemRandom};

/// The node token of the server's own entry, in the original's spelling.
pub const RESERVED: &str = "reserverd";

/// The start of a UUID.
const LEGACY_BYTES: usize = 8;
const LEGACY_DIGITS: usize = 2 * LEGACY_BYTES;
/// Tells tokens apart in lists; says nothing about the secret.
const ID_BYTES: usize = 4;
/// 128 bits cannot be guessed.
const SECRET_BYTES: usize = 16;
/// What our form has before its pin: id, dot, secret.
const OURS: usize = 2 * ID_BYTES + 1 + 2 * SECRET_BYTES;
/// The pin is a SHA-256.
const PIN_DIGITS: usize = 64;

/// The machine gives no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the machine gives no random numbers")]
pub struct NoRandomness;

/// A token's text. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new token of 16 digits: the start of a UUID of version 4, whose 13th digit is therefore 4.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn legacy() -> Result<Self, NoRandomness> {
        let mut bytes = random::<LEGACY_BYTES>()?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        Ok(Self(hex(&bytes)))
    }

    /// A new token of our form for the token called `id`, without its pin: what is hashed.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn ours(id: &str) -> Result<Self, NoRandomness> {
        Ok(Self(format!("{id}.{}", hex(&random::<SECRET_BYTES>()?))))
    }

    /// A new name for a token.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn id() -> Result<String, NoRandomness> {
        Ok(hex(&random::<ID_BYTES>()?))
    }

    /// The text, for the one who asked for it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What of a shown token is its secret, if it has the form of one: everything before the pin. Lengths are checked before anything
/// is hashed.
pub fn presented(text: &str) -> Option<&str> {
    let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if text.len() == LEGACY_DIGITS {
        return is_hex(text).then_some(text);
    }
    let secret = match text.split_once('#') {
        Some((secret, pin)) => (pin.len() == PIN_DIGITS && is_hex(pin)).then_some(secret)?,
        None => text,
    };
    let (id, rest) = secret.split_once('.')?;
    (secret.len() == OURS && id.len() == 2 * ID_BYTES && is_hex(id) && is_hex(rest)).then_some(secret)
}

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_the_start_of_a_uuid_and_is_taken_back() {
        for _ in 0..100 {
            let token = Secret::legacy().unwrap();
            assert_eq!((token.expose().len(), &token.expose()[12..13]), (16, "4"));
            assert_eq!(presented(token.expose()), Some(token.expose()));
        }
    }

    #[test]
    fn our_form_is_taken_with_its_pin_and_without() {
        let token = Secret::ours(&Secret::id().unwrap()).unwrap();
        let pinned = format!("{}#{}", token.expose(), "a".repeat(64));
        assert_eq!(presented(&pinned), Some(token.expose()));
        assert_eq!(presented(token.expose()), Some(token.expose()));
    }

    #[test]
    fn what_has_no_form_of_a_token_is_not_even_hashed() {
        let long = "a".repeat(1 << 20);
        let bad = [
            "",
            " ",
            "deac5f329feb472",
            "deac5f329feb47291",
            "DEAC5F329FEB4729",
            "deac5f329feb472g",
            "deac5f329feb4729@10.0.0.1:6439",
            "reserverd",
            "12345678.",
            "12345678.0123456789abcdef0123456789abcde",
            "1234567.80123456789abcdef0123456789abcdef0",
            "12345678.0123456789abcdef0123456789abcdef#",
            "12345678.0123456789abcdef0123456789abcdef#xyz",
            "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
            &long,
        ];
        for text in bad {
            assert_eq!(presented(text), None, "{text:.80}");
        }
    }

    #[test]
    fn a_token_does_not_print_itself() {
        let token = Secret::legacy().unwrap();
        assert_eq!(format!("{token:?}"), "Secret(..)");
    }
}
