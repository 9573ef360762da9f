//! A new token that a client brings, while it is looked at: keys may have to be fetched first, or a hook asked (Grid section 8, G-22).

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use futures::future::{BoxFuture, FutureExt as _};

use crate::{
    Grid, GridError,
    auth::{AuthError, Gate, Identity, Known, Subject},
    clients::Client,
    envelope::{Outcome, answer},
};

/// The least time between two tokens of one client: one that was not good may be followed by a better one soon, and nobody keeps
/// a hook busy alone.
const BETWEEN: Duration = Duration::from_secs(1);

/// Whom a session is of, and who says so.
#[derive(Clone, Debug)]
pub(crate) struct Bearer {
    pub(crate) gate: Arc<Gate>,
    pub(crate) subject: Subject,
}

/// What is looked at: at most one token at a time, and none too soon after another one.
pub(super) struct Renewal {
    bearer: Option<Box<Bearer>>,
    looking: Option<BoxFuture<'static, Result<Identity, AuthError>>>,
    last: Option<Instant>,
}

impl Renewal {
    pub(super) fn of(bearer: Option<Bearer>) -> Self {
        Self { bearer: bearer.map(Box::new), looking: None, last: None }
    }

    /// Begins to look at a token.
    pub(super) fn begin(&mut self, grid: &Grid, client: &Client, token: String, now: Instant) {
        let Some(bearer) = self.bearer.as_deref().cloned() else { return };
        if let Err(e) = self.take_turn(now) {
            return tell(grid, client, &Err(e));
        }
        let (remote, context) = (client.remote.ip(), client.context());
        self.looking = Some(Box::pin(async move {
            let known = Known { subject: &bearer.subject, remote, context: &context };
            bearer.gate.renew(known, &token, SystemTime::now()).await
        }));
    }

    /// Whether a token is looked at now, which then counts as looked at.
    fn take_turn(&mut self, now: Instant) -> Result<(), GridError> {
        if self.looking.is_some() {
            return Err(GridError::RateLimited("another token is being looked at".into()));
        }
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < BETWEEN) {
            return Err(GridError::RateLimited("a token is looked at once a second".into()));
        }
        self.last = Some(now);
        Ok(())
    }

    /// What came of it: how long the session goes on, where the token counts. The client is told in any case.
    pub(super) fn poll(&mut self, grid: &Grid, client: &Client, cx: &mut Context<'_>) -> Option<Option<Duration>> {
        let Poll::Ready(looked) = self.looking.as_mut()?.poll_unpin(cx) else { return None };
        self.looking = None;
        let outcome = looked.map_err(GridError::from).and_then(|identity| {
            let kept = client.merge_context(identity.context.into_entries());
            kept.map(|()| identity.expires).map_err(|e| GridError::NotPermitted(e.to_string()))
        });
        let said = outcome.as_ref().map_err(Clone::clone).map(|_| done());
        tell(grid, client, &said);
        outcome.ok()
    }
}

fn done() -> Box<serde_json::value::RawValue> {
    serde_json::value::to_raw_value(&serde_json::json!({"s": true})).unwrap_or_default()
}

fn tell(grid: &Grid, client: &Client, outcome: &Outcome) {
    grid.clients.tell(client, &answer(outcome, None));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_brings_one_token_a_second_and_one_that_was_not_looked_at_delays_none() {
        let (mut renewal, begin) = (Renewal::of(None), Instant::now());
        for (ms, code) in [(0, None), (1, Some(503)), (999, Some(503)), (1000, None), (1999, Some(503)), (2000, None)] {
            let turn = renewal.take_turn(begin + Duration::from_millis(ms));
            assert_eq!(turn.err().map(|e| e.code()), code, "{ms} ms");
        }
    }
}
