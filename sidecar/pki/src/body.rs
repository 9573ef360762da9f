//! One certificate, written and signed (RFC 5280 section 4.1).

use std::time::SystemTime;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::der::{INTEGER, PRINTABLE_STRING, UTF8_STRING, bit_string, date, explicit, oid, sequence, set, tlv};
use crate::error::PkiError;
use crate::extensions::{self, AltNames, Purpose};
use crate::identity::Identity;
use crate::key::SigningKey;
use crate::plane::PlaneSubject;

const COUNTRY: &[u8] = &[0x55, 0x04, 0x06];
const LOCALITY: &[u8] = &[0x55, 0x04, 0x07];
const PROVINCE: &[u8] = &[0x55, 0x04, 0x08];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
const UNIT: &[u8] = &[0x55, 0x04, 0x0b];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// X.520's upper bound of a common name; stricter verifiers refuse a longer one.
const COMMON_NAME_MAX: usize = 64;

/// The value of X.509 version 3.
const VERSION_3: &[u8] = &[0x02, 0x01, 0x02];

/// Everything that a certificate says about its holder.
pub(crate) struct Body<'a> {
    pub(crate) purpose: Purpose,
    /// The holder's name, DER.
    pub(crate) subject: &'a [u8],
    /// The holder's public key, DER.
    pub(crate) public_key_info: &'a [u8],
    pub(crate) key_id: &'a [u8],
    pub(crate) is_rsa: bool,
    pub(crate) alt_names: Option<AltNames>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

/// Who signs it.
pub(crate) struct Signer<'a> {
    pub(crate) key: &'a SigningKey,
    /// The signer's name, DER, byte for byte as in its own certificate.
    pub(crate) subject: &'a [u8],
    pub(crate) key_id: Option<&'a [u8]>,
}

impl Body<'_> {
    /// The whole certificate, DER.
    pub(crate) fn signed_by(&self, signer: &Signer<'_>) -> Result<Vec<u8>, PkiError> {
        let algorithm = signer.key.signature_algorithm();
        let to_be_signed = sequence(&[
            &explicit(0, VERSION_3),
            &serial()?,
            &algorithm,
            signer.subject,
            &sequence(&[&date(self.not_before)?, &date(self.not_after)?]),
            self.subject,
            self.public_key_info,
            &explicit(3, &sequence(&[&self.extensions(signer)])),
        ]);
        let signature = signer.key.sign(&to_be_signed)?;
        Ok(sequence(&[&to_be_signed, &algorithm, &bit_string(&signature)]))
    }

    fn extensions(&self, signer: &Signer<'_>) -> Vec<u8> {
        let mut all = extensions::basic_constraints(self.purpose);
        all.extend(extensions::key_usage(self.purpose, self.is_rsa));
        all.extend(extensions::extended_key_usage(self.purpose));
        all.extend(extensions::subject_key_id(self.key_id));
        if let Some(id) = signer.key_id {
            all.extend(extensions::authority_key_id(id));
        }
        if let Some(names) = &self.alt_names {
            all.extend(extensions::alt_names(names));
        }
        all
    }
}

/// The subject of PTP section 12.3: `C=CN, ST=ZJ, L=HZ, O=OU=<node_id>.trustbe.cn, CN=<name>`.
pub(crate) fn subject(identity: &Identity) -> Vec<u8> {
    let node = identity.dns_name();
    sequence(&[
        &part(COUNTRY, PRINTABLE_STRING, "CN"),
        &part(PROVINCE, PRINTABLE_STRING, "ZJ"),
        &part(LOCALITY, PRINTABLE_STRING, "HZ"),
        &part(ORGANIZATION, UTF8_STRING, &node),
        &part(UNIT, UTF8_STRING, &node),
        &part(COMMON_NAME, UTF8_STRING, &common_name(identity)),
    ])
}

/// The subject of a certificate of a plane: `O=<organization>, CN=<name>` (NC section 3).
pub(crate) fn common_subject(subject: PlaneSubject<'_>) -> Vec<u8> {
    let organization = subject.organization.map(|name| part(ORGANIZATION, UTF8_STRING, name)).unwrap_or_default();
    sequence(&[&organization, &part(COMMON_NAME, UTF8_STRING, subject.common_name)])
}

/// One attribute of a name.
fn part(id: &[u8], tag: u8, text: &str) -> Vec<u8> {
    set(&[&sequence(&[&oid(id), &tlv(tag, text.as_bytes())])])
}

/// The institution's name as far as it fits; it is for people, matching goes by the node id.
fn common_name(identity: &Identity) -> String {
    let name: String = identity.name.chars().filter(|c| !c.is_control()).take(COMMON_NAME_MAX).collect();
    if name.trim().is_empty() { identity.node_id.clone() } else { name }
}

/// A positive random number of 128 bits: the top bit is cleared for the sign, the next set so that the length is always the same.
fn serial() -> Result<Vec<u8>, PkiError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| PkiError::Machine { what: "making a serial number" })?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(tlv(INTEGER, &bytes))
}
