//! A server of the user's that is asked whether a handshake is good, and a new token (G-22).
//!
//! The question is a POST: `{"listener", "uri", "remote", "subprotocols", "headers"}`, with those headers that the configuration
//! names. A token that a client brings later is asked about by `{"listener", "remote", "context", "token"}`. 2xx lets the client in; its body is empty, or an object with any of `context`, `channels` and `expiresAt` (seconds since
//! 1970). 401 and 403 refuse it. All else is a fault of the server's: the client may come again.
//!
//! An answer that says so by `Cache-Control: max-age` is used for the same question again, so that clients who come back all at
//! once do not take the server down.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ::http::{HeaderValue, Method, StatusCode, Uri, header};
use bytes::Bytes;
use crds::{ConnectionLimits, HttpHook};
use parking_lot::Mutex;
use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use super::{
    AuthError,
    identity::{Given, Identity},
    outward::{self, Answer, Outward},
};
use crate::{Context, Entries, wire::Offer};

/// Bytes of an answer: a context and some channels.
const MOST: usize = 64 * 1024;
/// Questions at a time; more handshakes are told to come again.
const MOST_AT_A_TIME: usize = 256;
/// Questions about new tokens at a time, beside those: clients that are in already keep nobody out who comes.
const RENEWALS_AT_A_TIME: usize = 64;
/// Answers that are kept, of at most [`MOST`] bytes each, and how long at most: a user who was locked out may come back no longer.
const MOST_KEPT: usize = 4096;
const KEPT_AT_MOST: Duration = Duration::from_secs(5 * 60);

/// A hook.
#[derive(Debug)]
pub(crate) struct Hook {
    listener: String,
    url: Uri,
    given: HttpHook,
    limits: ConnectionLimits,
    outward: Outward,
    places: Semaphore,
    renewals: Semaphore,
    kept: Mutex<HashMap<[u8; 32], Kept>>,
}

#[derive(Debug)]
struct Kept {
    said: Said,
    until: Instant,
}

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Welcome(Bytes),
    Refused(StatusCode),
}

#[derive(Serialize)]
struct Question<'q> {
    listener: &'q str,
    uri: &'q str,
    remote: IpAddr,
    subprotocols: Vec<&'q str>,
    headers: BTreeMap<&'q str, Vec<&'q str>>,
}

#[derive(Serialize)]
struct Renewal<'q> {
    listener: &'q str,
    remote: IpAddr,
    context: &'q Context,
    token: &'q str,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Welcome {
    context: Option<Box<RawValue>>,
    channels: Vec<String>,
    expires_at: Option<f64>,
}

impl Hook {
    pub(super) fn new(
        listener: &str,
        given: &HttpHook,
        limits: &ConnectionLimits,
        outward: Outward,
    ) -> Result<Self, AuthError> {
        Ok(Self {
            listener: listener.to_owned(),
            url: outward::url(&given.url)?,
            given: given.clone(),
            limits: limits.clone(),
            outward,
            places: Semaphore::new(MOST_AT_A_TIME),
            renewals: Semaphore::new(RENEWALS_AT_A_TIME),
            kept: Mutex::default(),
        })
    }

    /// Asks about a handshake.
    pub(super) async fn admit(&self, offer: &Offer, remote: IpAddr, now: SystemTime) -> Result<Identity, AuthError> {
        let question = self.question(offer, remote)?;
        self.said_to(question, &self.places, now).await
    }

    /// Asks about a token that a client brings: whether it is of whom the context says is for the server to judge.
    pub(super) async fn renew(
        &self,
        (remote, context): (IpAddr, &Context),
        token: &str,
        now: SystemTime,
    ) -> Result<Identity, AuthError> {
        let question = written(&Renewal { listener: &self.listener, remote, context, token })?;
        self.said_to(question, &self.renewals, now).await
    }

    async fn said_to(&self, question: Bytes, places: &Semaphore, now: SystemTime) -> Result<Identity, AuthError> {
        let mut sum = [0; 32];
        sum.copy_from_slice(digest::digest(&digest::SHA256, &question).as_ref());
        let known = self.kept.lock().get(&sum).filter(|kept| Instant::now() < kept.until).map(|kept| kept.said.clone());
        let said = match known {
            Some(said) => said,
            None => self.ask(question, sum, places).await?,
        };
        match said {
            Said::Welcome(body) => self.identity(&body, now),
            Said::Refused(StatusCode::FORBIDDEN) => Err(AuthError::Forbidden),
            Said::Refused(_) => Err(AuthError::Unauthorized),
        }
    }

    fn question(&self, offer: &Offer, remote: IpAddr) -> Result<Bytes, AuthError> {
        let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in &offer.headers {
            if self.given.headers.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)) {
                headers.entry(name).or_default().push(value);
            }
        }
        let subprotocols = offer.protocols().collect();
        let question = Question { listener: &self.listener, uri: &offer.uri, remote, subprotocols, headers };
        written(&question)
    }

    async fn ask(&self, question: Bytes, sum: [u8; 32], places: &Semaphore) -> Result<Said, AuthError> {
        let unavailable = |reason: &str| {
            tracing::warn!(listener = self.listener, "the authentication hook is of no use: {reason}");
            AuthError::Unavailable("the server that knows the users cannot be asked at present".into())
        };
        let Ok(_place) = places.try_acquire() else { return Err(unavailable("too many questions at a time")) };
        let mut request = outward::request(Method::POST, &self.url, question);
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = self.outward.ask(request, self.given.timeout.get(), MOST).await.map_err(|e| unavailable(&e))?;
        let said = match answer.status {
            status if status.is_success() => Said::Welcome(answer.body.clone()),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Said::Refused(status),
            other => return Err(unavailable(&format!("the answer is {other}"))),
        };
        self.keep(sum, &said, &answer);
        Ok(said)
    }

    fn keep(&self, sum: [u8; 32], said: &Said, answer: &Answer) {
        let Some(age) = answer.max_age().filter(|age| !age.is_zero()) else { return };
        let now = Instant::now();
        let mut kept = self.kept.lock();
        if kept.len() >= MOST_KEPT {
            kept.retain(|_, kept| now < kept.until);
        }
        if kept.len() < MOST_KEPT {
            kept.insert(sum, Kept { said: said.clone(), until: now + age.min(KEPT_AT_MOST) });
        }
    }

    pub(super) fn identity(&self, body: &[u8], now: SystemTime) -> Result<Identity, AuthError> {
        let wrong = |what: &str| {
            tracing::warn!(listener = self.listener, "the authentication hook's answer is of no use: {what}");
            AuthError::Unavailable("the server that knows the users says what is not understood".into())
        };
        let welcome = match body.trim_ascii() {
            b"" => Welcome::default(),
            body if body.starts_with(b"{") => serde_json::from_slice(body)
                .map_err(|_| wrong("context, channels or expiresAt is not what it has to be"))?,
            _ => return Err(wrong("it is no JSON object")),
        };
        let entries = welcome.context.as_deref().filter(|context| context.get() != "null").map(Entries::read);
        let entries = entries.transpose().map_err(|e| wrong(&e.to_string()))?.unwrap_or_default();
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let left = welcome.expires_at.map(|end| end - now);
        if left.is_some_and(|left| left <= 0.0) {
            return Err(AuthError::Unauthorized);
        }
        let expires = left.map(|left| Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX));
        let given = Given { entries, channels: welcome.channels, expires, subject: None };
        given.within(&self.limits).map_err(|e| wrong(&e))
    }
}

fn written(question: &impl Serialize) -> Result<Bytes, AuthError> {
    serde_json::to_vec(question).map(Bytes::from).map_err(|e| AuthError::Unavailable(e.to_string()))
}
