//! Just enough DER to write a certificate.
//!
//! We write certificates ourselves so that an issuer's name stands in them byte for byte as in its own certificate.
//! Verifiers compare these bytes, and writers that rebuild a name from its attributes lose repeated ones (`DC=example,
//! DC=com` or two `OU`s, as most corporate authorities have).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

use crate::error::PkiError;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// The last second that a four-digit year can tell (RFC 5280 section 4.1.2.5).
const LAST_SECOND: i64 = 253_402_300_799;

/// A tag, its length, its content.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let significant = length.iter().position(|b| *b != 0).map_or(&length[length.len()..], |at| &length[at..]);
    match significant {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        // A length has at most eight bytes, so the cast keeps every bit.
        long => {
            out.push(0x80 | long.len() as u8);
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

pub(crate) fn set(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SET, &parts.concat())
}

/// An object identifier whose content is already encoded.
pub(crate) fn oid(content: &[u8]) -> Vec<u8> {
    tlv(OBJECT_IDENTIFIER, content)
}

/// A bit string that fills its last byte.
pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, &[&[0], bytes].concat())
}

/// `[number] EXPLICIT`.
pub(crate) fn explicit(number: u8, content: &[u8]) -> Vec<u8> {
    tlv(0xa0 | number, content)
}

/// UTCTime before 2050 and GeneralizedTime from then on, as RFC 5280 section 4.1.2.5 asks.
pub(crate) fn date(at: SystemTime) -> Result<Vec<u8>, PkiError> {
    let t = calendar(at).ok_or(PkiError::Machine { what: "writing a date" })?;
    let rest = format!("{:02}{:02}{:02}{:02}{:02}Z", u8::from(t.month()), t.day(), t.hour(), t.minute(), t.second());
    let year = t.year();
    Ok(if (1950..2050).contains(&year) {
        tlv(UTC_TIME, format!("{:02}{rest}", year % 100).as_bytes())
    } else {
        tlv(GENERALIZED_TIME, format!("{year:04}{rest}").as_bytes())
    })
}

/// A date for people, in the form of RFC 3339.
pub(crate) fn readable(at: SystemTime) -> String {
    let Some(t) = calendar(at) else { return "a date beyond the calendar".to_owned() };
    let (year, month) = (t.year(), u8::from(t.month()));
    format!("{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}Z", t.day(), t.hour(), t.minute(), t.second())
}

fn calendar(at: SystemTime) -> Option<OffsetDateTime> {
    let seconds = unix_seconds(at);
    (0..=LAST_SECOND).contains(&seconds).then(|| OffsetDateTime::from_unix_timestamp(seconds).ok())?
}

/// Whole seconds since 1970, negative before; saturating, for no certificate tells more.
pub(crate) fn unix_seconds(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
    }
}

/// The other way round.
pub(crate) fn from_unix_seconds(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moved = if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    moved.unwrap_or(UNIX_EPOCH)
}
