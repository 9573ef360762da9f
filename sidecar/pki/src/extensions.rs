//! The extensions of a certificate (PTP section 12.3, RFC 5280 section 4.2).

use std::net::IpAddr;

use ring::digest::{SHA256, digest};

use crate::der::{BIT_STRING, BOOLEAN, OCTET_STRING, oid, sequence, tlv};

const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

const DIGITAL_SIGNATURE: u8 = 0x80;
const KEY_ENCIPHERMENT: u8 = 0x20;
const DATA_ENCIPHERMENT: u8 = 0x10;
const KEY_AGREEMENT: u8 = 0x08;
const CERT_SIGN: u8 = 0x04;
const CRL_SIGN: u8 = 0x02;

/// DER TRUE.
const TRUE: &[u8] = &[0xff];

/// RFC 7093 section 2: 160 bits of SHA-256 identify a key well enough, and SHA-1 stays out.
const KEY_ID_LEN: usize = 20;

/// What a certificate is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Signs leaves, and serves TLS itself as reference nodes' roots may.
    Root,
    /// A new root's key under the old root's name; signs, and nothing else.
    CrossRoot,
    /// Serves and dials.
    Leaf,
    /// Signs the certificates of a plane (NC section 3).
    PlaneAuthority,
    /// Serves in a plane.
    PlaneServer,
    /// Dials in a plane.
    PlaneClient,
}

/// The names of a certificate beside its subject.
#[derive(Debug, Clone, Default)]
pub(crate) struct AltNames {
    pub(crate) dns: Vec<String>,
    pub(crate) mail: Vec<String>,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) uris: Vec<String>,
}

/// The identifier of a key, from its public half.
pub(crate) fn key_id(public_key_info: &[u8]) -> Vec<u8> {
    digest(&SHA256, public_key_info).as_ref()[..KEY_ID_LEN].to_vec()
}

pub(crate) fn basic_constraints(purpose: Purpose) -> Vec<u8> {
    let content = match purpose {
        Purpose::Root | Purpose::CrossRoot | Purpose::PlaneAuthority => sequence(&[&tlv(BOOLEAN, TRUE)]),
        Purpose::Leaf | Purpose::PlaneServer | Purpose::PlaneClient => sequence(&[]),
    };
    critical(BASIC_CONSTRAINTS, &content)
}

/// RSA keys may also encrypt, which TLS 1.2 without forward secrecy and the reference's shape ask for.
pub(crate) fn key_usage(purpose: Purpose, rsa: bool) -> Vec<u8> {
    let encrypts = if rsa { KEY_ENCIPHERMENT | DATA_ENCIPHERMENT } else { 0 };
    let bits = match purpose {
        Purpose::Root => DIGITAL_SIGNATURE | encrypts | KEY_AGREEMENT | CERT_SIGN | CRL_SIGN,
        Purpose::CrossRoot => CERT_SIGN | CRL_SIGN,
        Purpose::Leaf if rsa => DIGITAL_SIGNATURE | KEY_ENCIPHERMENT,
        Purpose::Leaf => DIGITAL_SIGNATURE,
        Purpose::PlaneAuthority => DIGITAL_SIGNATURE | KEY_ENCIPHERMENT | CERT_SIGN,
        Purpose::PlaneServer | Purpose::PlaneClient => DIGITAL_SIGNATURE | KEY_ENCIPHERMENT,
    };
    // DER counts the unused bits at the end of a named bit list.
    let unused = u8::try_from(bits.trailing_zeros()).unwrap_or(0);
    critical(KEY_USAGE, &tlv(BIT_STRING, &[unused, bits]))
}

/// Every node is server and client at once; in a plane nobody is both. A cross certificate and the authority of a plane carry
/// none, so that they limit nothing.
pub(crate) fn extended_key_usage(purpose: Purpose) -> Vec<u8> {
    let uses = match purpose {
        Purpose::Root | Purpose::Leaf => sequence(&[&oid(SERVER_AUTH), &oid(CLIENT_AUTH)]),
        Purpose::PlaneServer => sequence(&[&oid(SERVER_AUTH)]),
        Purpose::PlaneClient => sequence(&[&oid(CLIENT_AUTH)]),
        Purpose::CrossRoot | Purpose::PlaneAuthority => return Vec::new(),
    };
    plain(EXTENDED_KEY_USAGE, &uses)
}

pub(crate) fn subject_key_id(id: &[u8]) -> Vec<u8> {
    plain(SUBJECT_KEY_ID, &tlv(OCTET_STRING, id))
}

pub(crate) fn authority_key_id(id: &[u8]) -> Vec<u8> {
    plain(AUTHORITY_KEY_ID, &sequence(&[&tlv(0x80, id)]))
}

pub(crate) fn alt_names(names: &AltNames) -> Vec<u8> {
    let mut content = Vec::new();
    for mail in &names.mail {
        content.extend(tlv(0x81, mail.as_bytes()));
    }
    for dns in &names.dns {
        content.extend(tlv(0x82, dns.as_bytes()));
    }
    for uri in &names.uris {
        content.extend(tlv(0x86, uri.as_bytes()));
    }
    for ip in &names.ips {
        content.extend(match ip {
            IpAddr::V4(v4) => tlv(0x87, &v4.octets()),
            IpAddr::V6(v6) => tlv(0x87, &v6.octets()),
        });
    }
    plain(SUBJECT_ALT_NAME, &sequence(&[&content]))
}

fn critical(id: &[u8], content: &[u8]) -> Vec<u8> {
    sequence(&[&oid(id), &tlv(BOOLEAN, TRUE), &tlv(OCTET_STRING, content)])
}

fn plain(id: &[u8], content: &[u8]) -> Vec<u8> {
    sequence(&[&oid(id), &tlv(OCTET_STRING, content)])
}
