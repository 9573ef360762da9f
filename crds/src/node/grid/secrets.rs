//! What a grid's references to Secrets lead to: read by the operator from the cluster, by a gateway from its directory, and by a
//! node on bare metal from files.

use std::{collections::HashMap, fmt};

use super::Grid;
use crate::{LocalRef, SecretKeyRef};

/// What a key set's key in its Secret is called, and a token's.
const KEY_SET: &str = "jwks.json";
const TOKEN: &str = "token";

/// What the Secrets of a grid hold. `Debug` shows nothing of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct GridSecrets {
    /// Chain and key, PEM, by listener.
    pub certificates: HashMap<String, (Vec<u8>, Vec<u8>)>,
    /// JWK sets by listener.
    pub keys: HashMap<String, Vec<u8>>,
    /// Passwords or tokens by user.
    pub tokens: HashMap<String, Vec<u8>>,
}

/// What is needed of a Secret.
#[derive(Clone, Copy, Debug)]
pub enum Needed<'n> {
    /// The certificate of a listener.
    Certificate(&'n str, &'n LocalRef),
    /// Its key.
    Key(&'n str, &'n LocalRef),
    /// A listener's key set.
    KeySet(&'n str, &'n SecretKeyRef),
    /// A user's token.
    Token(&'n str, &'n SecretKeyRef),
}

impl<'n> Needed<'n> {
    /// The Secret, and the key in it.
    #[must_use]
    pub fn place(self) -> (&'n str, &'n str) {
        let or = |key: &'n SecretKeyRef, usual| if key.key.is_empty() { usual } else { key.key.as_str() };
        match self {
            Self::Certificate(_, secret) => (&secret.name, "tls.crt"),
            Self::Key(_, secret) => (&secret.name, "tls.key"),
            Self::KeySet(_, secret) => (&secret.name, or(secret, KEY_SET)),
            Self::Token(_, secret) => (&secret.name, or(secret, TOKEN)),
        }
    }

    /// The field that refers to it.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Certificate(..) | Self::Key(..) => "spec.grid.listeners.tlsSecretRef",
            Self::KeySet(..) => "spec.grid.listeners.auth.jwt.jwks.secretRef",
            Self::Token(..) => "spec.grid.backend.users.secretRef",
        }
    }
}

impl GridSecrets {
    /// Reads all that a grid refers to. A token ends where its line does.
    ///
    /// # Errors
    /// What `read` says of the first that is not there.
    pub fn read<E>(grid: &Grid, mut read: impl FnMut(Needed<'_>) -> Result<Vec<u8>, E>) -> Result<Self, E> {
        let mut found = Self::default();
        for listener in &grid.listeners {
            let name = listener.name.as_str();
            if let Some(secret) = &listener.tls_secret_ref {
                let pair = (read(Needed::Certificate(name, secret))?, read(Needed::Key(name, secret))?);
                found.certificates.insert(name.to_owned(), pair);
            }
            let jwt = listener.auth.as_ref().and_then(|auth| auth.jwt.as_ref());
            if let Some(secret) = jwt.and_then(|jwt| jwt.jwks.secret_ref.as_ref()) {
                found.keys.insert(name.to_owned(), read(Needed::KeySet(name, secret))?);
            }
        }
        for user in &grid.backend.users {
            let token = read(Needed::Token(&user.name, &user.secret_ref))?;
            found.tokens.insert(user.name.clone(), token.trim_ascii().to_vec());
        }
        Ok(found)
    }
}

impl fmt::Debug for GridSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GridSecrets")
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_a_grid_refers_to_is_read_under_its_key() {
        let grid: Grid = serde_json::from_value(json!({
            "listeners": [{
                "name": "chat", "tlsSecretRef": {"name": "web"},
                "auth": {"jwt": {"jwks": {"secretRef": {"name": "keys"}}, "algorithms": ["HS256"]}},
            }],
            "backend": {"users": [{"name": "shop", "secretRef": {"name": "shop", "key": "word"}}]},
        }))
        .unwrap();
        let mut asked = Vec::new();
        let secrets = GridSecrets::read(&grid, |needed| {
            let (secret, key) = needed.place();
            asked.push(format!("{secret}/{key}"));
            Ok::<_, Infallible>(b" x\n".to_vec())
        });
        assert_eq!(asked, ["web/tls.crt", "web/tls.key", "keys/jwks.json", "shop/word"]);
        let secrets = secrets.unwrap();
        assert_eq!(secrets.tokens["shop"], b"x");
        assert_eq!(format!("{secrets:?}"), "GridSecrets");
    }
}
