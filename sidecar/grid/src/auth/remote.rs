//! Keys at a URL: one question at a time, whoever asked for it; those who need its answer wait for it. `rotation.rs` says when.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::http::{Method, Uri};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    AuthError,
    keys::Keys,
    outward::{self, Outward},
    read::{self, From},
    rotation::{Plan, Rotation},
};

/// A handshake waits for it, beside the ten seconds that it has itself.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of a set: some dozen keys with their certificates.
const MOST: usize = 256 * 1024;

/// The keys at a URL.
#[derive(Debug)]
pub(super) struct Remote {
    url: Uri,
    outward: Outward,
    rotation: Mutex<Rotation>,
    /// Changes when a question was answered.
    answered: watch::Sender<()>,
}

impl Remote {
    pub(super) fn new(url: &str, outward: Outward) -> Result<Arc<Self>, AuthError> {
        let (url, rotation) = (outward::url(url)?, Mutex::default());
        Ok(Arc::new(Self { url, outward, rotation, answered: watch::channel(()).0 }))
    }

    /// Whether it is that URL.
    pub(super) fn is_at(&self, url: &str) -> bool {
        outward::url(url).is_ok_and(|url| url == self.url)
    }

    /// The keys; fetched where there are none, where they are old, or where none of them is known (`knows`) that is needed.
    pub(super) async fn keys(self: &Arc<Self>, knows: impl Fn(&Keys) -> bool) -> Result<Arc<Keys>, AuthError> {
        // Twice at most: the question that was waited for may have been out before this one was needed.
        for _ in 0..3 {
            // Before the plan: an answer that comes between the two is seen.
            let mut answered = self.answered.subscribe();
            let plan = self.rotation.lock().plan(&knows, Instant::now());
            match plan {
                Plan::Use(keys) => return Ok(keys),
                Plan::UseAndAsk(keys) => {
                    self.ask();
                    return Ok(keys);
                }
                Plan::None => break,
                Plan::Ask => self.ask(),
                Plan::Wait => {}
            }
            // The sender is ours; it is there.
            let _ = answered.changed().await;
        }
        Err(AuthError::Unavailable("the keys of tokens cannot be fetched at present".into()))
    }

    /// Asks in a task of its own: whoever began it may leave before the answer.
    fn ask(self: &Arc<Self>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let fetched = this.fetch().await;
            if let Err(e) = &fetched {
                // Without the query, which may hold a key.
                let (host, path) = (this.url.host().unwrap_or_default(), this.url.path());
                tracing::warn!(host, path, "the keys of tokens cannot be fetched: {e}");
            }
            this.rotation.lock().answered(fetched.ok(), Instant::now());
            this.answered.send_replace(());
        });
    }

    async fn fetch(&self) -> Result<(Keys, Option<Duration>), String> {
        let request = outward::request(Method::GET, &self.url, Bytes::new());
        let answer = self.outward.ask(request, LIMIT, MOST).await?;
        if !answer.status.is_success() {
            return Err(format!("the answer is {}", answer.status));
        }
        let keys = read::keys(&answer.body, From::Url).map_err(|e| e.to_string())?;
        Ok((keys, answer.max_age()))
    }
}
