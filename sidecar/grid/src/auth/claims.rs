//! What a verified token says: whether it holds now and here, and what the connection gets of it (Grid section 5, G-22). Pure:
//! time comes in.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crds::{ConnectionLimits, Jwt};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Identity, identity, token::TokenError};
use crate::{Entries, Key};

/// Who may say what: a listener's settings, compiled.
#[derive(Debug)]
pub(super) struct Claims {
    jwt: Jwt,
    leeway: Duration,
    keys: Vec<(Key, String)>,
    limits: ConnectionLimits,
}

/// Clocks of issuers are kept by NTP; this is generous.
const LEEWAY: Duration = Duration::from_secs(10);

/// The claims that mean the same everywhere (RFC 7519 section 4.1). A wrong type is an error, not an absence.
#[derive(Deserialize)]
struct Registered {
    #[serde(default, deserialize_with = "there")]
    exp: Option<f64>,
    #[serde(default, deserialize_with = "there")]
    nbf: Option<f64>,
    #[serde(default, deserialize_with = "there")]
    iss: Option<String>,
    #[serde(default, deserialize_with = "there")]
    sub: Option<String>,
    #[serde(default, deserialize_with = "there")]
    aud: Option<Audience>,
}

/// A claim that is there is of its type: null is not.
fn there<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Claims {
    /// Compiles a listener's settings.
    pub(super) fn compile(jwt: &Jwt, limits: &ConnectionLimits) -> Result<Self, crate::GridError> {
        let keys = jwt.claims.iter().map(|(key, pointer)| Ok((Key::new(key)?, pointer.clone())));
        let keys = keys.collect::<Result<_, crate::GridError>>()?;
        Ok(Self { jwt: jwt.clone(), leeway: LEEWAY, keys, limits: limits.clone() })
    }

    /// Who a token's bearer is, where it holds now.
    pub(super) fn identity(&self, payload: &[u8], now: SystemTime) -> Result<Identity, TokenError> {
        let payload: &RawValue = serde_json::from_slice(payload).map_err(|_| TokenError::Malformed)?;
        if !payload.get().starts_with('{') {
            return Err(TokenError::Malformed);
        }
        let registered: Registered =
            serde_json::from_str(payload.get()).map_err(|_| TokenError::Claim("exp, nbf, iss, sub or aud".into()))?;
        let expires = self.holds(&registered, now)?;
        let mut entries = Entries::default();
        for (key, pointer) in &self.keys {
            let value = at(payload, pointer).ok_or_else(|| TokenError::Claim(pointer.clone()))?;
            entries = entries.with(key.clone(), value);
        }
        let channels = match at(payload, &self.jwt.channels) {
            Some(list) if !self.jwt.channels.is_empty() => serde_json::from_str::<Vec<String>>(list.get())
                .map_err(|_| TokenError::Claim(self.jwt.channels.clone()))?,
            _ => Vec::new(),
        };
        let given = identity::Given { entries, channels, expires, subject: registered.sub };
        given.within(&self.limits).map_err(TokenError::TooMuch)
    }

    /// Whether it holds now, and for how long.
    fn holds(&self, registered: &Registered, now: SystemTime) -> Result<Option<Duration>, TokenError> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = self.leeway.as_secs_f64();
        if registered.nbf.is_some_and(|from| from > now + leeway) {
            return Err(TokenError::NotYet);
        }
        let expires = registered.exp.map(|end| end + leeway - now);
        if expires.is_some_and(|left| left <= 0.0) {
            return Err(TokenError::Expired);
        }
        let Jwt { issuer, audience, .. } = &self.jwt;
        if !issuer.is_empty() && registered.iss.as_ref() != Some(issuer) {
            return Err(TokenError::Issuer);
        }
        let is_for_us = match &registered.aud {
            _ if audience.is_empty() => true,
            None => false,
            Some(Audience::One(one)) => one == audience,
            Some(Audience::Several(all)) => all.contains(audience),
        };
        if !is_for_us {
            return Err(TokenError::Audience);
        }
        Ok(expires.map(|left| Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX)))
    }
}

/// What stands at a JSON pointer, digit for digit; `None` for what is not there, and for null.
fn at(whole: &RawValue, pointer: &str) -> Option<Box<RawValue>> {
    let mut value = whole.to_owned();
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        value = match value.get().as_bytes().first()? {
            b'{' => serde_json::from_str::<HashMap<String, Box<RawValue>>>(value.get()).ok()?.remove(&step)?,
            b'[' => {
                let index = step.parse::<usize>().ok().filter(|index| index.to_string() == step)?;
                serde_json::from_str::<Vec<Box<RawValue>>>(value.get()).ok()?.into_iter().nth(index)?
            }
            _ => return None,
        };
    }
    (value.get() != "null").then_some(value)
}
