//! Who calls the backends' API (G-21): a container of the same pod or a sidecar of the node, who may do everything, or a user
//! with a bearer token or with HTTP Basic. A page of a foreign origin is nobody, wherever its browser runs.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ::http::{Request, Response, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use crds::{BackendApi, BackendUser, PlaintextCredentials};
use mesh_core::{Body, Caller, GridSetup, Network, Snapshot};
use mesh_network::listen::{Connection, Security};
use ring::digest;
use std::sync::Arc;

use super::Settings;
use crate::{GridError, backend::Permit};

/// A user's password or token; only its sum is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

/// Those who may call from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Users(Vec<(Secret, Permit)>);

/// Why somebody may call: asked again when the configuration changes while they are connected.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// A container of the pod, or a sidecar of the node.
    Own,
    /// From a network that may call without credentials.
    Plain(IpAddr),
    /// A user, by this secret.
    User(String, Secret),
}

/// What to do where somebody on the way could read credentials.
const BY_TLS: &str = "call by https, or see grid.backend.plaintextCredentials";

/// Why somebody is nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    #[error("credentials are needed: a bearer token, HTTP Basic, or a certificate of this node")]
    Missing,
    #[error("credentials are needed, and are not taken in plain text from elsewhere: {BY_TLS}")]
    MissingInPlain,
    #[error("the credentials are nobody's")]
    Wrong,
    #[error("credentials in plain text are not taken from elsewhere: {BY_TLS}")]
    PlainText,
    #[error("pages of this origin may not call: it is not among grid.backend.origins")]
    Foreign,
}

impl Secret {
    /// Of a password or token.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        let mut sum = [0; 32];
        sum.copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref());
        Self(sum)
    }

    /// Sums are compared, so that time tells nothing of the secret.
    fn is(&self, other: &Self) -> bool {
        let differing = self.0.iter().zip(other.0).fold(0, |differing, (a, b)| differing | (a ^ b));
        differing == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Users {
    /// Compiles the users of a configuration, each with its secret.
    ///
    /// # Errors
    /// A pattern that cannot be compiled.
    pub fn compile<'a>(users: impl IntoIterator<Item = (&'a BackendUser, Secret)>) -> Result<Self, GridError> {
        users.into_iter().map(|(user, secret)| Ok((secret, Permit::of(user)?))).collect::<Result<_, _>>().map(Self)
    }

    /// The user of an `Authorization` header.
    fn find(&self, authorization: &str) -> Result<(Standing, Permit), Denied> {
        let (scheme, value) = authorization.split_once(' ').ok_or(Denied::Wrong)?;
        let (name, secret) = match scheme.to_ascii_lowercase().as_str() {
            "bearer" => (None, value.trim().to_owned()),
            "basic" => {
                let text = STANDARD.decode(value.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let text = text.ok_or(Denied::Wrong)?;
                let (name, password) = text.split_once(':').ok_or(Denied::Wrong)?;
                (Some(name.to_owned()), password.to_owned())
            }
            _ => return Err(Denied::Wrong),
        };
        let secret = Secret::of(secret.as_bytes());
        let is_it =
            |known: &&(Secret, Permit)| name.as_ref().is_none_or(|name| *name == known.1.name) && known.0.is(&secret);
        let (_, permit) = self.0.iter().find(is_it).ok_or(Denied::Wrong)?;
        Ok((Standing::User(permit.name.clone(), secret), permit.clone()))
    }
}

/// Whom a request comes from.
pub(super) fn caller<B>(
    snapshot: &Snapshot,
    settings: &Settings,
    connection: &Arc<Connection>,
    request: &Request<B>,
) -> Result<(Standing, Permit), Denied> {
    is_listed(request, &settings.api)?;
    let is_private = is_private(&settings.api, &settings.plaintext_from, connection);
    if let Some(authorization) = text(request, header::AUTHORIZATION) {
        return if is_private { settings.users.find(authorization) } else { Err(Denied::PlainText) };
    }
    let standing = standing(snapshot, &settings.plaintext_from, connection, request);
    let standing = standing.map_err(|denied| if is_private { denied } else { Denied::MissingInPlain })?;
    Ok((standing, Permit::local()))
}

/// Whom a request comes from that a sidecar of this node passed on: it was let in there, but for what it says of itself.
pub(super) fn passed<B>(settings: &Settings, request: &Request<B>) -> Result<(Standing, Permit), Denied> {
    is_listed(request, &settings.api)?;
    match text(request, header::AUTHORIZATION) {
        Some(authorization) => settings.users.find(authorization),
        None => Ok((Standing::Own, Permit::local())),
    }
}

/// Whether a sidecar passes a request on: only what comes from its own pod, for the gateway takes it for the node's own.
///
/// # Errors
/// The answer to what it does not pass on.
pub fn may_pass<B>(
    snapshot: &Snapshot,
    setup: &GridSetup,
    connection: &Arc<Connection>,
    request: &Request<B>,
) -> Result<(), Box<Response<Body>>> {
    let (api, plaintext_from) = (&setup.config.backend, &setup.plaintext_from);
    let whence = is_listed(request, api).and_then(|()| {
        let standing = standing(snapshot, plaintext_from, connection, request);
        standing
            .map_err(|denied| if is_private(api, plaintext_from, connection) { denied } else { Denied::MissingInPlain })
    });
    whence.map(|_| ()).map_err(|denied| Box::new(super::answers::denied(&denied)))
}

/// Why somebody without credentials may call.
fn standing<B>(
    snapshot: &Snapshot,
    plaintext_from: &[Network],
    connection: &Arc<Connection>,
    request: &Request<B>,
) -> Result<Standing, Denied> {
    let is_plain = matches!(connection.security, Security::Plain);
    match connection.admit(snapshot, request) {
        Ok(Caller::Member { .. }) => Ok(Standing::Own),
        // Whom 7304 trusts in a network is nobody here.
        Ok(Caller::Local) if is_here(connection) => Ok(Standing::Own),
        // A page that is listed here need not be one that 7304 takes.
        _ if is_plain && is_here(connection) && text(request, header::ORIGIN).is_some() && !is_forwarded(request) => {
            Ok(Standing::Own)
        }
        _ if is_plain && is_trusted(connection.peer.ip(), plaintext_from) && !is_forwarded(request) => {
            Ok(Standing::Plain(connection.peer.ip()))
        }
        _ => Err(Denied::Missing),
    }
}

fn text<B>(request: &Request<B>, name: header::HeaderName) -> Option<&str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

fn is_listed<B>(request: &Request<B>, api: &BackendApi) -> Result<(), Denied> {
    // What is no text is nobody's origin.
    let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(()) };
    let is_it = |origin: &str| api.origins.iter().any(|known| known.eq_ignore_ascii_case(origin));
    if origin.to_str().is_ok_and(is_it) { Ok(()) } else { Err(Denied::Foreign) }
}

/// What whoever has that standing may do by these settings; `None`: nothing any more.
pub(super) fn permit_now(standing: &Standing, settings: &Settings) -> Option<Permit> {
    match standing {
        Standing::Own => Some(Permit::local()),
        Standing::Plain(address) => is_trusted(*address, &settings.plaintext_from).then(Permit::local),
        Standing::User(name, secret) => {
            let is_it = |known: &&(Secret, Permit)| known.1.name == *name && known.0.is(secret);
            settings.users.0.iter().find(is_it).map(|(_, permit)| permit.clone())
        }
    }
}

/// Whether credentials may be shown on a connection: nobody on the way reads them, or the configuration answers for the way.
fn is_private(api: &BackendApi, plaintext_from: &[Network], connection: &Connection) -> bool {
    !matches!(connection.security, Security::Plain)
        || is_here(connection)
        || is_trusted(connection.peer.ip(), plaintext_from)
        || api.plaintext_credentials == PlaintextCredentials::Accepted
}

/// Both ends are this machine's own. Other addresses of 127/8 are given to other programs.
fn is_here(connection: &Connection) -> bool {
    let is_own = |address: IpAddr| address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST;
    [connection.peer, connection.local].iter().all(|end| is_own(end.ip().to_canonical()))
}

/// Somebody in between speaks for somebody else, who need not be here.
fn is_forwarded<B>(request: &Request<B>) -> bool {
    let names = |name: &::http::HeaderName| {
        let name = name.as_str();
        matches!(name, "forwarded" | "x-real-ip" | "via") || name.starts_with("x-forwarded-")
    };
    request.headers().keys().any(names)
}

fn is_trusted(address: IpAddr, plaintext_from: &[Network]) -> bool {
    plaintext_from.iter().any(|network| network.contains(address))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn users_are_found_by_their_token_or_by_name_and_password() {
        let user = |name: &str| serde_json::from_value(json!({"name": name, "secretRef": {"name": "s"}})).unwrap();
        let (shop, log): (BackendUser, BackendUser) = (user("shop"), user("log"));
        let users = Users::compile([(&shop, Secret::of(b"s:1")), (&log, Secret::of(b"l1"))]).unwrap();
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let table = [
            ("Bearer s:1".to_owned(), Some("shop")),
            ("bearer  l1 ".to_owned(), Some("log")),
            (basic("shop:s:1"), Some("shop")),
            (basic("log:s:1"), None),
            (basic("nobody:l1"), None),
            (basic("shop"), None),
            ("Bearer x".to_owned(), None),
            ("Bearer".to_owned(), None),
            ("Basic %%%".to_owned(), None),
            ("Digest s:1".to_owned(), None),
        ];
        for (authorization, name) in table {
            let found = users.find(&authorization).ok().map(|(_, permit)| permit.name);
            assert_eq!(found.as_deref(), name, "{authorization}");
        }
        assert_eq!(format!("{users:?}").matches("s:1").count(), 0);
    }
}
