//! Who is asking, and what they may: a blockchain token, or a certificate, each bound to one central system (contract sections 1
//! and 2).

use std::net::IpAddr;

use http::{HeaderMap, header::AUTHORIZATION};

use crate::{
    DirectoryError,
    directory::{Directory, Reading},
    error::{Code, Why},
    names,
};

/// What a connection shows of who is at its other end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The id of the node whose certificate it has. A node writes for the central system of its own id.
    pub certificate: Option<String>,
    /// Whose address its other end has, where that counts.
    pub address: Option<IpAddr>,
}

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// Nobody said.
    Nobody,
    /// A central system, by its folded id.
    Member(String),
}

impl Who {
    /// The central system that is asking.
    pub(super) fn member(&self) -> Result<&str, DirectoryError> {
        match self {
            Self::Member(csid) => Ok(csid),
            Self::Nobody => Err(DirectoryError::new(
                Code::AccessDenied,
                Why::Unauthenticated,
                "send Authorization: Bearer and a token of this directory, or call with a certificate",
            )),
        }
    }

    /// That records may be read.
    pub(super) fn may_read(&self, reading: Reading) -> Result<(), DirectoryError> {
        match reading {
            Reading::Public => Ok(()),
            Reading::Members => self.member().map(|_| ()),
        }
    }
}

/// Who sends these headers over a connection that shows so much. A token counts before a certificate, and one that does not hold is
/// refused everywhere: its holder believes to be somebody.
pub(super) fn who(directory: &Directory, headers: &HeaderMap, shown: &Shown, now: u64) -> Result<Who, DirectoryError> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = given.next() else { return Ok(of_certificate(shown)) };
    let secret = value.to_str().ok().and_then(bearer).filter(|_| given.next().is_none());
    let secret = secret.ok_or_else(|| {
        let text = "Authorization is not one Bearer and a token";
        DirectoryError::new(Code::AccessDenied, Why::Unauthenticated, text)
    })?;
    directory.holder(secret, now).map(Who::Member)
}

fn of_certificate(shown: &Shown) -> Who {
    let csid = shown.certificate.as_deref().filter(|id| names::csid(id).is_some());
    csid.map_or(Who::Nobody, |id| Who::Member(names::fold(id)))
}

/// RFC 6750 section 2.1; the scheme's case does not count.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
