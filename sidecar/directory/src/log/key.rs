//! Keys of those who sign notes: the log itself, and witnesses (`c2sp.org/signed-note`, `c2sp.org/tlog-cosignature`).

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    rand::SecureRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};

use super::note::Signature;
use crate::Hash;

/// Bytes of an Ed25519 public key.
pub const PUBLIC: usize = 32;

/// Bytes of an Ed25519 signature.
const SIGNATURE: usize = 64;

/// The longest name: a host and a path.
const LONGEST_NAME: usize = 255;

/// The name of a signer, for a log its origin: by the specification no space and no plus.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// A name; `None` when it cannot be one.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
        let fits = !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(allowed);
        fits.then(|| Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which of a signer's keys: the first bytes of a hash over name, kind and public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 4]);

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The text as it is.
    Log,
    /// The text with the time at which a witness saw it: a cosignature.
    Witness,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Witness => 0x04,
        }
    }
}

/// When a signature says it was made, in seconds since 1970; only cosignatures do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Option<u64>);

/// A public key, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    name: KeyName,
    kind: Kind,
    public: [u8; PUBLIC],
}

impl Verifier {
    /// The key of `name`.
    #[must_use]
    pub const fn new(name: KeyName, kind: Kind, public: [u8; PUBLIC]) -> Self {
        Self { name, kind, public }
    }

    /// The same, from a key in base64.
    #[must_use]
    pub fn of_public(name: KeyName, kind: Kind, public: &str) -> Option<Self> {
        let public = BASE64_STANDARD.decode(public).ok()?.try_into().ok()?;
        Some(Self::new(name, kind, public))
    }

    /// The key alone, in base64: what a configuration has beside the name.
    #[must_use]
    pub fn public(&self) -> String {
        BASE64_STANDARD.encode(self.public)
    }

    /// Whose it is.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Which of the signer's keys it is.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let hash = Hash::of(&[self.name.0.as_bytes(), b"\n", &[self.kind.byte()], &self.public]);
        let [a, b, c, d, ..] = *hash.bytes();
        KeyId([a, b, c, d])
    }

    /// Whether `signature` is this key's over `text`; `None` when not.
    #[must_use]
    pub fn verify(&self, text: &str, signature: &[u8]) -> Option<Time> {
        match self.kind {
            Kind::Log => self.holds(text.as_bytes(), signature).then_some(Time(None)),
            Kind::Witness => {
                let (time, signature) = signature.split_first_chunk()?;
                let time = u64::from_be_bytes(*time);
                self.holds(cosigned(text, time).as_bytes(), signature).then_some(Time(Some(time)))
            }
        }
    }

    fn holds(&self, message: &[u8], signature: &[u8]) -> bool {
        signature.len() == SIGNATURE && UnparsedPublicKey::new(&ED25519, self.public).verify(message, signature).is_ok()
    }
}

/// What a witness signs.
fn cosigned(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// The form in which verifiers are handed on: name, key id in hexadecimal digits, kind and key in base64, with `+` between.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = BASE64_STANDARD.encode([&[self.kind.byte()][..], &self.public].concat());
        write!(f, "{}+{:08x}+{key}", self.name, u32::from_be_bytes(self.id().0))
    }
}

/// The text is no key of a kind that is known, or its id is another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no verifier key: it has the form NAME+ID+KEY, and the id belongs to name and key")]
pub struct NoKey;

impl FromStr for Verifier {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let (name, rest) = text.split_once('+').ok_or(NoKey)?;
        // Base64 has a plus of its own.
        let (_, key) = rest.split_once('+').ok_or(NoKey)?;
        let key = BASE64_STANDARD.decode(key).map_err(|_| NoKey)?;
        let (kind, public) = key.split_first().ok_or(NoKey)?;
        let kind = [Kind::Log, Kind::Witness].into_iter().find(|known| known.byte() == *kind).ok_or(NoKey)?;
        let public = public.try_into().map_err(|_| NoKey)?;
        let verifier = Self::new(KeyName::new(name).ok_or(NoKey)?, kind, public);
        if verifier.to_string() == text { Ok(verifier) } else { Err(NoKey) }
    }
}

/// A private key. It shows itself to nobody.
pub struct Signer {
    verifier: Verifier,
    pair: Ed25519KeyPair,
}

/// The system gave no random bytes, or these are no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key could be made")]
pub struct NoSigner;

/// Bytes that a private key is made from. They are the secret itself.
pub type Seed = [u8; 32];

/// A new seed.
///
/// # Errors
/// When the system has no random bytes.
pub fn new_seed(random: &dyn SecureRandom) -> Result<Seed, NoSigner> {
    let mut seed = Seed::default();
    random.fill(&mut seed).map_err(|_| NoSigner)?;
    Ok(seed)
}

impl Signer {
    /// The key that is made from `seed`.
    ///
    /// # Errors
    /// When it is refused.
    pub fn from_seed(name: KeyName, kind: Kind, seed: &Seed) -> Result<Self, NoSigner> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoSigner)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| NoSigner)?;
        Ok(Self { verifier: Verifier::new(name, kind, public), pair })
    }

    /// Its public half.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Signs a note's text. `time` (seconds since 1970) goes into a cosignature; a log's signature has none.
    #[must_use]
    pub fn sign(&self, text: &str, time: u64) -> Signature {
        let bytes = match self.verifier.kind {
            Kind::Log => self.pair.sign(text.as_bytes()).as_ref().to_vec(),
            Kind::Witness => {
                let signature = self.pair.sign(cosigned(text, time).as_bytes());
                [&time.to_be_bytes(), signature.as_ref()].concat()
            }
        };
        Signature { name: self.verifier.name.clone(), id: self.verifier.id(), bytes }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(kind: Kind) -> Signer {
        Signer::from_seed(KeyName::new("log.example/datanet").unwrap(), kind, &[7; 32]).unwrap()
    }

    #[test]
    fn a_name_has_no_space_no_plus_and_an_end() {
        for name in ["a", "example.com/log42", "日志", &"a".repeat(255)] {
            assert_eq!(KeyName::new(name).map(|known| known.to_string()).as_deref(), Some(name));
        }
        for name in ["", "a b", "a+b", "a\n", "a\u{2003}b", "a\u{7f}", &"a".repeat(256)] {
            assert_eq!(KeyName::new(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_verifier_is_handed_on_as_text() {
        for kind in [Kind::Log, Kind::Witness] {
            let verifier = signer(kind).verifier().clone();
            let text = verifier.to_string();
            assert_eq!(text.parse(), Ok(verifier));
            for wrong in [
                text.replace("datanet", "datanot"),
                text.replacen('+', "-", 1),
                text[..text.len() - 4].to_owned(),
                format!("{text}="),
                text.to_uppercase(),
                String::new(),
            ] {
                assert_eq!(wrong.parse::<Verifier>(), Err(NoKey), "{wrong}");
            }
        }
    }

    #[test]
    fn a_cosignature_holds_for_its_time_alone() {
        let witness = signer(Kind::Witness);
        let signature = witness.sign("text\n", 1_700_000_000);
        let verify = |bytes: &[u8]| witness.verifier().verify("text\n", bytes);
        assert_eq!(verify(&signature.bytes), Some(Time(Some(1_700_000_000))));
        assert_eq!(signature.bytes.len(), 72);
        let mut later = signature.bytes.clone();
        later[7] ^= 1;
        for wrong in [&later[..], &signature.bytes[8..], &signature.bytes[..71], &[], &[0; 7]] {
            assert_eq!(verify(wrong), None);
        }
        // The log's signature over the same text is none of the witness'.
        assert_eq!(verify(&signer(Kind::Log).sign("text\n", 0).bytes), None);
    }

    #[test]
    fn a_private_key_does_not_show_itself() {
        let shown = format!("{:?}", signer(Kind::Log));
        assert!(shown.starts_with("Signer { verifier: ") && shown.ends_with(".. }"), "{shown}");
    }
}
