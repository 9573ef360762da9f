//! A new token that a client brings, while it is looked at: keys may have to be fetched first, or a hook asked (Grid section 8, G-22).

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use futures::future::{BoxFuture, FutureExt as _};

use crate::{
    Grid, GridError,
    auth::{AuthError, Gate, Identity, Known, Subject},
    clients::Client,
    envelope::{Outcome, answer},
};

/// Whom a session is of, and who says so.
#[derive(Clone, Debug)]
pub(crate) struct Bearer {
    pub(crate) gate: Arc<Gate>,
    pub(crate) subject: Subject,
}

/// What is looked at: at most one token at a time.
pub(super) struct Renewal {
    bearer: Option<Box<Bearer>>,
    looking: Option<BoxFuture<'static, Result<Identity, AuthError>>>,
}

impl Renewal {
    pub(super) fn of(bearer: Option<Bearer>) -> Self {
        Self { bearer: bearer.map(Box::new), looking: None }
    }

    /// Begins to look at a token.
    pub(super) fn begin(&mut self, grid: &Grid, client: &Client, token: String) {
        let Some(bearer) = self.bearer.as_deref().cloned() else { return };
        if self.looking.is_some() {
            return tell(grid, client, &Err(GridError::RateLimited("another token is being looked at".into())));
        }
        let (remote, context) = (client.remote.ip(), client.context());
        self.looking = Some(Box::pin(async move {
            let known = Known { subject: &bearer.subject, remote, context: &context };
            bearer.gate.renew(known, &token, SystemTime::now()).await
        }));
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
