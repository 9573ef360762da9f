//! How end users prove who they are, and what waits until they have (G-20, G-22).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    SecretKeyRef, Span, Violation,
    law::{self, Law},
    pattern,
};

/// How end users prove who they are: by a JWT or by a hook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(LAWS))]
pub struct EndUserAuth {
    /// A signed token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
    /// A question to a server of the user's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpHook>,
}

/// A signed token, where it stands, and what is taken from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jwt {
    /// The keys that sign it.
    pub jwks: Jwks,
    /// The algorithms that are taken; `none` is not among them.
    #[schemars(length(min = 1, max = 11), extend("x-kubernetes-list-type" = "set"))]
    pub algorithms: Vec<JwtAlgorithm>,
    /// The issuer it must name; empty: any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub issuer: String,
    /// The audience it must name; empty: any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub audience: String,
    /// The cookie that carries it; empty: none. The header `Authorization` is always looked at first.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64), regex(pattern = pattern::KEY_OR_EMPTY))]
    pub cookie: String,
    /// The query parameter that carries it; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64), regex(pattern = pattern::KEY_OR_EMPTY))]
    pub query: String,
    /// Context keys, each with the JSON pointer of the claim that fills it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 32,
        "additionalProperties" = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": pattern::POINTER}
    ))]
    pub claims: BTreeMap<String, String>,
    /// The JSON pointer of the claim that lists the first channels; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 255), regex(pattern = pattern::POINTER_OR_EMPTY))]
    pub channels: String,
    /// The message that brings a new token; absent: a session ends with its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
}

/// The keys that sign tokens: in a Secret, or at a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(JWKS_LAWS))]
pub struct Jwks {
    /// A Secret with a JWK set; its key is `jwks.json` unless named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// A URL that serves a JWK set.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024), regex(pattern = pattern::URL_OR_EMPTY))]
    pub url: String,
}

/// The algorithms that tokens are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are those of RFC 7518 and RFC 8037")]
pub enum JwtAlgorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// The message by which a client brings a new token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refresh {
    /// The JSON pointer that tells the message apart.
    #[schemars(length(min = 1, max = 255), regex(pattern = pattern::POINTER))]
    pub pointer: String,
    /// What stands there.
    #[schemars(length(min = 1, max = 255))]
    pub equals: String,
    /// The JSON pointer of the token.
    #[schemars(length(min = 1, max = 255), regex(pattern = pattern::POINTER))]
    pub token_pointer: String,
}

/// A server of the user's that is asked whether a handshake is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write(HOOK_LAWS))]
pub struct HttpHook {
    /// Where the question goes, as POST.
    #[schemars(length(min = 1, max = 1024), regex(pattern = pattern::URL))]
    pub url: String,
    /// How long the answer may take.
    #[serde(default = "five_seconds")]
    pub timeout: Span,
    /// The headers of the handshake that go along.
    #[serde(default = "forwarded")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64), regex(pattern = pattern::KEY)), extend("x-kubernetes-list-type" = "set"))]
    pub headers: Vec<String>,
    /// The message that brings a new token, about which the server is asked again; absent: a session ends when the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
}

/// Half of the handshake's own write timeout.
fn five_seconds() -> Span {
    Span::seconds(5)
}

/// Where credentials stand in a handshake.
fn forwarded() -> Vec<String> {
    vec!["authorization".into(), "cookie".into()]
}

/// Messages wait until a backend has set a key of the connection's context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HoldUntil {
    /// The key.
    #[schemars(length(min = 1, max = 255))]
    pub key: String,
    /// How long messages wait before the connection is closed, in seconds.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 600))]
    pub timeout_seconds: u16,
    /// How many messages wait at most.
    #[serde(default = "sixteen")]
    #[schemars(range(min = 1, max = 1024))]
    pub messages: u16,
}

/// G-20.
fn ten() -> u16 {
    10
}

/// A login and what an eager client sends after it.
fn sixteen() -> u16 {
    16
}

/// The laws of [`EndUserAuth`].
const LAWS: &[Law<EndUserAuth>] = &[Law {
    field: "",
    cel: "has(self.jwt) != has(self.http)",
    message: "give one of jwt and http",
    holds: |a| a.jwt.is_some() != a.http.is_some(),
}];

/// The laws of [`Jwks`].
const JWKS_LAWS: &[Law<Jwks>] = &[Law {
    field: "",
    cel: "has(self.secretRef) != (has(self.url) && self.url != '')",
    message: "give one of secretRef and url",
    holds: |j| j.secret_ref.is_some() == j.url.is_empty(),
}];

/// The laws of [`HttpHook`].
const HOOK_LAWS: &[Law<HttpHook>] = &[Law {
    field: ".timeout",
    cel: "duration(self.timeout) > duration('0s') && duration(self.timeout) <= duration('30s')",
    message: "must be more than 0s and at most 30s",
    holds: |h| h.timeout > Span::seconds(0) && h.timeout <= Span::seconds(30),
}];

impl EndUserAuth {
    /// The message that brings a new token, whoever looks at it.
    #[must_use]
    pub fn refresh(&self) -> Option<&Refresh> {
        let of_hook = || self.http.as_ref()?.refresh.as_ref();
        self.jwt.as_ref().map_or_else(of_hook, |jwt| jwt.refresh.as_ref())
    }

    pub(super) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, self, path, broken);
        if let Some(jwt) = &self.jwt {
            law::judge(JWKS_LAWS, &jwt.jwks, &format!("{path}.jwt.jwks"), broken);
        }
        if let Some(hook) = &self.http {
            law::judge(HOOK_LAWS, hook, &format!("{path}.http"), broken);
        }
    }
}
