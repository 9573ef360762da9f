//! The private keys of a directory and the name of its log, as they are kept in one file beside the store.
//!
//! Who reads the file can sign as the directory: whoever opens it sees to it that nobody else can.

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    hkdf::{HKDF_SHA256, Salt},
    rand::SecureRandom,
};
use serde::{Deserialize, Serialize};

use crate::{
    Hash,
    entry::EntryKey,
    log::{KeyName, Kind, NoSigner, Seed, Signer, new_seed},
};

/// What the key of a witness is made for.
const WITNESS: &[u8] = b"datanet witness";

/// What one store has and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreId([u8; 16]);

impl StoreId {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn make(random: &dyn SecureRandom) -> Result<Self, NoSigner> {
        let mut bytes = [0; 16];
        random.fill(&mut bytes).map_err(|_| NoSigner)?;
        Ok(Self(bytes))
    }

    /// The one of a text that [`StoreId::text`] wrote.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (id, _) = text.split_once(' ')?;
        let id = Self(BASE64_STANDARD.decode(id).ok()?.try_into().ok()?);
        (id.text() == text).then_some(id)
    }

    /// As it is kept: with its hash, as another id would be another witness.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {}", BASE64_STANDARD.encode(self.0), Hash::of(&[&self.0]).base64())
    }

    const fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The keys, from which all others are made.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    origin: KeyName,
    log: Seed,
    custodian: Seed,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    origin: String,
    log: String,
    directory: String,
}

/// The text is no file of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no keys of a directory: restore the file from a backup; without it nobody can sign for this log")]
pub struct NoKeys;

impl Keys {
    /// New keys for the log `origin`.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn make(origin: KeyName, random: &dyn SecureRandom) -> Result<Self, NoSigner> {
        Ok(Self { origin, log: new_seed(random)?, custodian: new_seed(random)? })
    }

    /// The keys of a text that [`Keys::text`] wrote.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(text: &str) -> Result<Self, NoKeys> {
        let kept: Kept = serde_json::from_str(text).map_err(|_| NoKeys)?;
        let seed = |text: &str| {
            let bytes = BASE64_STANDARD.decode(text).ok();
            bytes.and_then(|bytes| Seed::try_from(bytes).ok()).ok_or(NoKeys)
        };
        let origin = KeyName::new(&kept.origin).ok_or(NoKeys)?;
        Ok(Self { origin, log: seed(&kept.log)?, custodian: seed(&kept.directory)? })
    }

    /// The keys as they are kept. It is the secret itself.
    #[must_use]
    pub fn text(&self) -> String {
        let seed = |seed: &Seed| BASE64_STANDARD.encode(seed);
        let kept = Kept { origin: self.origin.to_string(), log: seed(&self.log), directory: seed(&self.custodian) };
        // Texts are always written.
        serde_json::to_string(&kept).unwrap_or_default() + "\n"
    }

    /// The same keys for a log of another name. For a log without entries alone: a log keeps its name for ever.
    #[must_use]
    pub fn of(self, origin: KeyName) -> Self {
        Self { origin, ..self }
    }

    /// Whether these sign as those do, whatever their logs are called.
    #[must_use]
    pub fn sign_as(&self, other: &Self) -> bool {
        self.log == other.log && self.custodian == other.custodian
    }

    /// The name of the log.
    #[must_use]
    pub const fn origin(&self) -> &KeyName {
        &self.origin
    }

    /// Signs checkpoints.
    ///
    /// # Errors
    /// When the seed is refused.
    pub fn signer(&self) -> Result<Signer, NoSigner> {
        Signer::from_seed(self.origin.clone(), Kind::Log, &self.log)
    }

    /// Signs the checkpoints of others. Its key is made from the log's by HKDF (RFC 5869): no file has to be given another form, and
    /// neither key says anything of the other. It is that of one store, which knows what was signed: with another, which does not, the
    /// witness is another one too, and nobody is told that it never signed two histories. A store of earlier versions has no id.
    ///
    /// # Errors
    /// When the seed is refused.
    pub fn witness(&self, store: Option<&StoreId>) -> Result<Signer, NoSigner> {
        let mut seed = Seed::default();
        let secret = Salt::new(HKDF_SHA256, &[]).extract(&self.log);
        let info = [WITNESS, store.map_or(&[][..], StoreId::bytes)];
        let filled = secret.expand(&info, HKDF_SHA256).and_then(|made| made.fill(&mut seed));
        filled.map_err(|_| NoSigner)?;
        Signer::from_seed(self.origin.clone(), Kind::Witness, &seed)
    }

    /// Signs entries for those who have a token and no key.
    ///
    /// # Errors
    /// When the seed is refused.
    pub fn custodian(&self) -> Result<EntryKey, NoSigner> {
        EntryKey::from_seed(&self.custodian)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("origin", &self.origin).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written_and_show_themselves_to_nobody() {
        let origin = KeyName::new("log.example/datanet").unwrap();
        let keys = Keys::make(origin.clone(), &SystemRandom::new()).unwrap();
        assert_eq!(Keys::read(&keys.text()), Ok(keys.clone()));
        assert!(keys.clone().of(KeyName::new("other").unwrap()).sign_as(&keys));
        assert!(!Keys::make(origin, &SystemRandom::new()).unwrap().sign_as(&keys));
        assert_ne!(keys.log, keys.custodian);
        let of = |keys: &Keys, store: Option<StoreId>| keys.witness(store.as_ref()).unwrap().verifier().to_string();
        let witness = of(&keys, None);
        assert_eq!(witness, of(&Keys::read(&keys.text()).unwrap(), None));
        let store = StoreId::make(&SystemRandom::new()).unwrap();
        assert_eq!(StoreId::read(&store.text()), Some(store));
        for byte in 0..store.text().len() {
            let mut altered = store.text().into_bytes();
            altered[byte] ^= 1;
            assert_eq!(StoreId::read(&String::from_utf8(altered).unwrap()), None, "it would be another witness");
        }
        let again = StoreId::read(&store.text()).unwrap();
        assert_eq!(of(&keys, Some(store)), of(&keys, Some(again)));
        assert_ne!(of(&keys, Some(store)), of(&keys, None));
        assert_ne!(of(&keys, Some(store)), of(&keys, Some(StoreId::make(&SystemRandom::new()).unwrap())));
        assert!(
            witness.starts_with("log.example/datanet+") && witness != keys.signer().unwrap().verifier().to_string()
        );
        assert_eq!(format!("{keys:?}"), "Keys { origin: KeyName(\"log.example/datanet\"), .. }");
    }

    #[test]
    fn what_is_damaged_is_no_key() {
        let origin = KeyName::new("log.example/datanet").unwrap();
        let text = Keys::make(origin, &SystemRandom::new()).unwrap().text();
        for wrong in
            ["", "{}", &text[1..], &text.replace("log.example", "log example"), &text.replace("\":\"", "\":\"A")]
        {
            assert_eq!(Keys::read(wrong), Err(NoKeys));
        }
    }
}
