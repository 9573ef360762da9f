//! What every message has in front: the version, and what a caller says of the answer or signs itself.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{Message, fields::Fields};
use crate::{
    entry::{Entry, Signed},
    error::{Code, DirectoryError},
    lenient::{Leniency, Used},
    names,
};

/// The version that is spoken, as the seed writes it.
const VERSION: &str = "datanet 1.0";

/// An entry that the caller signed itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// What was signed.
    pub entry: Entry,
    /// By which key, and the signature.
    pub signed: Signed,
    /// The same of the new key, where one is replaced.
    pub replacement: Option<Signed>,
}

/// An entry by which a central system that has a token, and no key yet, takes one: the new key signed it, and the directory signs in the
/// place of the old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// What was signed.
    pub entry: Entry,
    /// By the new key.
    pub new: Signed,
}

/// A header, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Which message it is, where there is one path for all.
    pub operation: Option<Message>,
    /// The caller's own entry.
    pub own: Option<Own>,
    /// The entry by which the caller takes its first key.
    pub adoption: Option<Adoption>,
    /// Whether a write is answered with its receipt.
    pub receipt: bool,
    /// Whether a retrieval is answered with a proof.
    pub proof: bool,
    /// Milliseconds by which an answer may be old (D-8).
    pub max_staleness: Option<u64>,
    /// A revision that the answer must not be older than (D-8).
    pub revision: Option<u64>,
}

impl Header {
    /// Reads the header of a message, and what that took.
    pub(super) fn read(header: Option<&Value>) -> Result<(Self, Used), DirectoryError> {
        let Some(header) = header else { return Ok((Self::default(), Used::from([Leniency::Version]))) };
        let mut fields = Fields::new(header, "header", Code::BadRequest)?;
        version(&mut fields)?;
        let operation = fields.text(&[("operation", None)])?;
        let known = |text: &str| {
            Message::of_operation(text)
                .ok_or_else(|| DirectoryError::malformed(format!("{text:?} is no operation of the directory")))
        };
        let (own, adoption) = own(&mut fields)?;
        let read = Self {
            operation: operation.map(known).transpose()?,
            own,
            adoption,
            receipt: fields.flag("receipt")?,
            proof: fields.flag("proof")?,
            max_staleness: fields.whole("maxStaleness")?,
            revision: fields.whole("revision")?,
        };
        Ok((read, fields.end()))
    }
}

/// Leniency 2.
fn version(fields: &mut Fields<'_>) -> Result<(), DirectoryError> {
    match fields.text(&[("version", None)])? {
        Some(VERSION) => {}
        Some(other) if names::fold_version(other) != names::fold_version(VERSION) => {
            let shown: String = other.chars().take(VERSION.len() * 2).collect();
            return Err(DirectoryError::malformed(format!("version {shown:?} is not spoken here, {VERSION:?} is")));
        }
        Some(_) | None => fields.uses(Leniency::Version),
    }
    Ok(())
}

/// Entry, key and signature come together; where a key is replaced, those of the new one beside them, and where there was none, those of
/// the new one alone.
fn own(fields: &mut Fields<'_>) -> Result<(Option<Own>, Option<Adoption>), DirectoryError> {
    let entry = fields.any("entry");
    let signed = signed(fields, "keyId", "signature")?;
    let replacement = self::signed(fields, "newKeyId", "newSignature")?;
    let read = |entry| Entry::read(entry).ok_or_else(|| fields.wrong("entry is not an entry of this log's format"));
    match (entry, signed, replacement) {
        (None, None, None) => Ok((None, None)),
        (Some(entry), Some(signed), replacement) => Ok((Some(Own { entry: read(entry)?, signed, replacement }), None)),
        (Some(entry), None, Some(new)) => Ok((None, Some(Adoption { entry: read(entry)?, new }))),
        _ => Err(fields.wrong("entry, keyId and signature come together or not at all")),
    }
}

fn signed(
    fields: &mut Fields<'_>,
    key: &'static str,
    signature: &'static str,
) -> Result<Option<Signed>, DirectoryError> {
    let texts = (fields.text(&[(key, None)])?, fields.text(&[(signature, None)])?);
    let (key, signature) = match texts {
        (None, None) => return Ok(None),
        (Some(key), Some(signature)) => (key, signature),
        _ => return Err(fields.wrong(format!("{key} and {signature} come together or not at all"))),
    };
    let key = key.parse().map_err(|_| fields.wrong("a key id is ed25519: and a public key in base64"))?;
    let signature = BASE64_STANDARD.decode(signature).map_err(|_| fields.wrong("a signature is not base64"))?;
    Ok(Some(Signed { key, signature }))
}
