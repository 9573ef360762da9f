//! HTTP/1.1 to partners, as through a proxy that ends TLS: connections that carry one call at a time, and what a new one is
//! asked first.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt as _, Collected, Limited};
use hyper::client::conn::http1;
use mesh_core::Body;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::{
    exchange::alert_in,
    slip::{Kind, instance_of},
    stats,
};
use crate::dial::Failure;

/// A connection that was idle for longer may have been closed by the partner just now.
const IDLE: Duration = Duration::from_secs(20);
/// What hyper needs to finish the exchange before. Longer means that the partner answered early and does not read the rest.
const SETTLE: Duration = Duration::from_millis(50);
/// Idle connections to one address.
const MOST_IDLE: usize = 64;
/// Whoever is of another kind, or does not say, is asked again this soon: each new connection costs it one more request.
const OTHERS: Duration = Duration::from_secs(30);
/// The longest answer of `/stats`: a code, or the text of a proxy that knows no such path.
const LONGEST: usize = 64 * 1024;

/// A connection: one call at a time.
pub(super) struct Single {
    pub(super) sender: http1::SendRequest<Body>,
    /// What answers on it.
    pub(super) kind: Kind,
    ends: Instant,
    since: Instant,
}

/// The connections to one address.
#[derive(Default)]
pub(super) struct Singles {
    idle: Mutex<Vec<Single>>,
    /// Until then nobody is asked: another kind answered last.
    others: Mutex<Option<Instant>>,
}

/// What answered on a new connection.
pub(super) struct Asked {
    pub(super) kind: Kind,
    pub(super) instance: Option<Arc<str>>,
    /// Whether the connection takes a call now.
    pub(super) is_ready: bool,
}

impl Single {
    pub(super) fn new(sender: http1::SendRequest<Body>, kind: Kind, ends: Instant) -> Self {
        Self { sender, kind, ends, since: Instant::now() }
    }
}

impl Singles {
    /// What answers here, where nobody needs to be asked.
    pub(super) fn known(&self, now: Instant) -> Option<Kind> {
        self.others.lock().filter(|until| *until > now).map(|_| Kind::Other)
    }

    /// An idle connection.
    pub(super) async fn take(&self) -> Option<Single> {
        let now = Instant::now();
        loop {
            let mut single = self.idle.lock().pop()?;
            let is_good = single.ends > now && single.since + IDLE > now;
            if is_good && matches!(timeout(SETTLE, single.sender.ready()).await, Ok(Ok(()))) {
                return Some(single);
            }
        }
    }

    /// Takes a connection back whose answer was read to its end.
    pub(super) fn give_back(&self, mut single: Single) {
        let mut idle = self.idle.lock();
        if idle.len() < MOST_IDLE && !single.sender.is_closed() {
            single.since = Instant::now();
            idle.push(single);
        }
    }

    pub(super) fn forget(&self) {
        self.idle.lock().clear();
    }

    /// Asks what answers on a new connection. A proxy may close it behind the answer, and another kind may not know the
    /// question: neither is a fault.
    pub(super) async fn ask(
        &self,
        sender: &mut http1::SendRequest<Body>,
        host: &str,
        within: Duration,
    ) -> Result<Asked, Failure> {
        let asked = timeout(within, asked(sender, host)).await.unwrap_or(Ok(Asked::silent()))?;
        *self.others.lock() = (asked.kind == Kind::Other).then(|| Instant::now() + OTHERS);
        Ok(asked)
    }
}

impl Asked {
    fn silent() -> Self {
        Self { kind: Kind::Other, instance: None, is_ready: false }
    }
}

async fn asked(sender: &mut http1::SendRequest<Body>, host: &str) -> Result<Asked, Failure> {
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = Uri::from_static("/stats");
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(header::HOST, host);
    }
    let answer = match sender.send_request(request).await {
        Ok(answer) => answer,
        // In TLS 1.3 a refusal of our certificate arrives only now.
        Err(e) => return alert_in(&e).map_or_else(|| Ok(Asked::silent()), |alert| Err(Failure::Refused(alert))),
    };
    let (instance, status) = (instance_of(&answer), answer.status());
    let says_ours = Kind::of_stats(&answer);
    let text = Limited::new(answer.into_body(), LONGEST).collect().await.map(Collected::to_bytes);
    let kind = match stats::told(status, says_ours, text.as_deref().unwrap_or_default()) {
        Ok(kind) => kind,
        Err(unlike) if unlike.is_no_node() => return Err(Failure::Unreachable(unlike.to_string())),
        Err(_) => Kind::Other,
    };
    let is_ready = text.is_ok() && matches!(timeout(SETTLE, sender.ready()).await, Ok(Ok(())));
    Ok(Asked { kind, instance, is_ready })
}
