//! Who end users are: what a listener's `auth` says, asked in the handshake, and again when a token is renewed (Grid section 5,
//! G-22).
//!
//! ```text
//! place.rs      where a token stands in a handshake (pure)
//! token.rs      a token taken apart and verified (pure)
//! claims.rs     what it says (pure)
//! keys.rs       what verifies (pure)      read.rs   keys as they are written down (pure)
//! rotation.rs   when keys at a URL are fetched (pure)
//! remote.rs     keys at a URL             hook.rs   a server that is asked instead
//! outward.rs    questions over HTTP
//! identity.rs   what becomes of an answer, within a connection's bounds
//! ```
//! Nothing here closes a connection: that is for the link, at the time that an [`Identity`] names.

mod claims;
#[cfg(test)]
pub(crate) mod fuzz;
mod hook;
mod identity;
mod keys;
mod outward;
mod place;
mod read;
mod remote;
mod rotation;
mod token;

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use crds::{Jwt, JwtAlgorithm, Listener};

use self::{claims::Claims, hook::Hook, keys::Keys, read::From as KeysFrom, remote::Remote, token::Unverified};
pub use self::{
    identity::{Identity, Subject},
    outward::{Answer, Outward, url},
    token::TokenError,
};
use crate::{
    Context, GridError,
    wire::{Offer, Refused},
};

/// Why somebody is not let in, or a listener's `auth` is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no token.
    #[error("a token is needed")]
    Missing,
    /// The token does not count.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The hook does not know who it is.
    #[error("the credentials are nobody's, or have expired")]
    Unauthorized,
    /// The hook knows who it is, and does not want them.
    #[error("these credentials do not open this listener")]
    Forbidden,
    /// It cannot be said at present.
    #[error("{0}; come again")]
    Unavailable(String),
    /// The configuration's keys cannot be used.
    #[error("the keys of auth.jwt.jwks cannot be used: {0}")]
    Keys(String),
    /// The configuration's URL cannot be used.
    #[error("{0}")]
    Url(String),
    /// Something else of the configuration cannot be used.
    #[error("{0}")]
    Settings(String),
}

impl AuthError {
    /// How a handshake is answered.
    #[must_use]
    pub fn refused(&self) -> Refused {
        let status = match self {
            Self::Missing | Self::Token(_) | Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::Unavailable(_) | Self::Keys(_) | Self::Url(_) | Self::Settings(_) => 503,
        };
        Refused::new(status, self.to_string())
    }
}

impl From<AuthError> for GridError {
    /// As a client is told that its new token does not count.
    fn from(e: AuthError) -> Self {
        Self::NotPermitted(e.to_string())
    }
}

/// Whose session is to go on.
#[derive(Clone, Copy, Debug)]
pub struct Known<'k> {
    /// The bearer of the token that it began with.
    pub subject: &'k Subject,
    /// Where the client comes from.
    pub remote: IpAddr,
    /// What is known of it now.
    pub context: &'k Context,
}

/// What a listener asks of those who come.
#[derive(Debug)]
pub struct Gate(Way);

#[derive(Debug)]
enum Way {
    Jwt(Box<Tokens>),
    Hook(Box<Hook>),
}

#[derive(Debug)]
struct Tokens {
    jwt: Jwt,
    algorithms: Vec<JwtAlgorithm>,
    keys: Source,
    claims: Claims,
}

#[derive(Debug)]
enum Source {
    Here(Arc<Keys>),
    At(Arc<Remote>),
}

impl Gate {
    /// Compiles the `auth` of a listener; `None` where it has none. `secret` holds what its `secretRef` names. Keys that `before`
    /// has fetched from the same URL are kept.
    ///
    /// # Errors
    /// Keys, URLs and claims that cannot be used.
    pub fn compile(
        listener: &Listener,
        secret: Option<&[u8]>,
        outward: &Outward,
        before: Option<&Self>,
    ) -> Result<Option<Self>, AuthError> {
        let Some(auth) = &listener.auth else { return Ok(None) };
        let way = match (&auth.jwt, &auth.http) {
            (Some(jwt), _) => Way::Jwt(Box::new(Tokens::compile(listener, jwt, secret, outward, before)?)),
            (None, Some(hook)) => {
                Way::Hook(Box::new(Hook::new(&listener.name, hook, &listener.limits, outward.clone())?))
            }
            (None, None) => return Err(AuthError::Settings("auth: give one of jwt and http".into())),
        };
        Ok(Some(Self(way)))
    }

    /// Who comes.
    ///
    /// # Errors
    /// Why they are not let in.
    pub async fn admit(&self, offer: &Offer, remote: IpAddr, now: SystemTime) -> Result<Identity, AuthError> {
        match &self.0 {
            Way::Hook(hook) => hook.admit(offer, remote, now).await,
            Way::Jwt(tokens) => {
                let token = place::token(offer, &tokens.jwt).ok_or(AuthError::Missing)?;
                tokens.identity(&token, now).await
            }
        }
    }

    /// A new token that the client of a session brings. One that is signed has to be of the same bearer; a hook is told whose session
    /// it is.
    ///
    /// # Errors
    /// Why it does not count; the session stays as it is.
    pub async fn renew(&self, known: Known<'_>, token: &str, now: SystemTime) -> Result<Identity, AuthError> {
        let tokens = match &self.0 {
            Way::Hook(hook) => return hook.renew((known.remote, known.context), token, now).await,
            Way::Jwt(tokens) => tokens,
        };
        let identity = tokens.identity(token, now).await?;
        if identity.subject != *known.subject {
            return Err(TokenError::Stranger.into());
        }
        Ok(identity)
    }
}

impl Tokens {
    fn compile(
        listener: &Listener,
        jwt: &Jwt,
        secret: Option<&[u8]>,
        outward: &Outward,
        before: Option<&Gate>,
    ) -> Result<Self, AuthError> {
        let claims = Claims::compile(jwt, &listener.limits).map_err(|e| AuthError::Settings(e.to_string()))?;
        let keys = if jwt.jwks.url.is_empty() {
            let bytes = secret.ok_or_else(|| AuthError::Keys("their Secret is not there".into()))?;
            let keys = read::keys(bytes, KeysFrom::Secret)?;
            if !keys.serve(&jwt.algorithms) {
                return Err(AuthError::Keys("none of them fits one of auth.jwt.algorithms, in kind and length".into()));
            }
            Source::Here(Arc::new(keys))
        } else {
            let known = before.and_then(Gate::remote).filter(|remote| remote.is_at(&jwt.jwks.url)).cloned();
            Source::At(known.map_or_else(|| Remote::new(&jwt.jwks.url, outward.clone()), Ok)?)
        };
        Ok(Self { jwt: jwt.clone(), algorithms: jwt.algorithms.clone(), keys, claims })
    }

    async fn identity(&self, token: &str, now: SystemTime) -> Result<Identity, AuthError> {
        let token = Unverified::read(token, &self.algorithms)?;
        let keys = match &self.keys {
            Source::Here(keys) => Arc::clone(keys),
            Source::At(remote) => remote.keys(|keys| token.is_of(keys)).await?,
        };
        let payload = token.verify(&keys)?;
        Ok(self.claims.identity(&payload, now)?)
    }
}

impl Gate {
    fn remote(&self) -> Option<&Arc<Remote>> {
        match &self.0 {
            Way::Jwt(tokens) => match &tokens.keys {
                Source::At(remote) => Some(remote),
                Source::Here(_) => None,
            },
            Way::Hook(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
