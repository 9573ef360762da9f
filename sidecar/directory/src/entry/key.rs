//! Keys that sign entries: Ed25519, written `ed25519:` and the public key in base64.

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::log::{NoKey, NoSigner, PUBLIC, Seed};

/// What a key begins with.
const SCHEME: &str = "ed25519:";

/// A public key, which is its own id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; PUBLIC]);

impl PublicKey {
    /// A key that came as bytes.
    #[must_use]
    pub const fn new(bytes: [u8; PUBLIC]) -> Self {
        Self(bytes)
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let key = text.strip_prefix(SCHEME).and_then(|key| BASE64_STANDARD.decode(key).ok());
        key.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(NoKey)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A private key. It shows itself to nobody.
pub struct EntryKey(Ed25519KeyPair);

impl EntryKey {
    /// The key that is made from `seed`.
    ///
    /// # Errors
    /// When it is refused.
    pub fn from_seed(seed: &Seed) -> Result<Self, NoSigner> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| NoSigner)
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; PUBLIC];
        let public = self.0.public_key().as_ref();
        bytes.iter_mut().zip(public).for_each(|(to, from)| *to = *from);
        PublicKey(bytes)
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EntryKey").field(&self.public()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, tests 1 and 2.
    #[test]
    fn it_is_the_ed25519_of_the_rfc() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = EntryKey::from_seed(&seed.try_into().unwrap()).unwrap();
        let public = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        assert_eq!(key.public(), PublicKey::new(public.try_into().unwrap()));
        let signature = hex(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        assert_eq!(key.sign(&[0x72]), signature);
        assert!(key.public().verify(&[0x72], &signature));
        assert!(!key.public().verify(&[0x73], &signature) && !key.public().verify(&[0x72], &signature[1..]));
    }

    #[test]
    fn a_public_key_has_one_spelling() {
        let key = PublicKey::new([5; 32]);
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        for wrong in
            ["", "ed25519:", &text[8..], &text.replace("ed", "ED"), &text.replace('=', ""), &format!("{text} ")]
        {
            assert_eq!(wrong.parse::<PublicKey>(), Err(NoKey), "{wrong}");
        }
    }

    #[test]
    fn a_private_key_does_not_show_itself() {
        let key = EntryKey::from_seed(&[9; 32]).unwrap();
        assert_eq!(format!("{key:?}"), format!("EntryKey({})", key.public()));
    }
}
