//! Whether the node at an address lets us in, and is the one that the route means (issue 5, "the same checks feed `Reachable`").
//!
//! `/stats` answers everybody, so this is asked beside the health checks, by `environ`, as a diagnosis does. What it says takes
//! no address out of use: calls hear it themselves, and a partner that adds us is served at once.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use mesh_core::{Body, Code, NodeId};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::Member;
use crate::{
    partners::{Progress, pool::Pool, slip::Slip},
    question::{ENVIRON, question, text},
};

/// A node answers this from memory.
const PATIENCE: Duration = Duration::from_secs(10);
/// An Environ has two certificates at most.
const LONGEST: usize = 256 * 1024;
/// Who let us in is asked again this soon: by then it is known that a route to us was disabled.
const WELCOMED: Duration = Duration::from_secs(60);
/// Who refused is asked again this soon: somebody is at work on the route.
const REFUSED: Duration = Duration::from_secs(5);
/// Who does not know the question need not be asked often.
const UNKNOWN: Duration = Duration::from_secs(600);

/// What an address said last.
#[derive(Debug, Default)]
pub(super) struct Welcome {
    /// Never asked: at once.
    due: Option<Instant>,
    refused: Option<String>,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Welcomed,
    Refused(String),
    /// Another kind may not know the question.
    Unknown,
}

impl Welcome {
    /// Why the partner refuses us, if it does.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }

    fn said(&mut self, verdict: Verdict, now: Instant) {
        let (again, refused) = match verdict {
            Verdict::Welcomed => (WELCOMED, None),
            Verdict::Refused(reason) => (REFUSED, Some(reason)),
            Verdict::Unknown => (UNKNOWN, None),
        };
        (self.due, self.refused) = (Some(now + again), refused);
    }
}

impl Member {
    /// Whether it answers, and is to be asked what it makes of us.
    pub(in crate::partners) fn is_to_be_greeted(&self, now: Instant) -> bool {
        let health = self.health();
        health.has_answered() && !health.is_failing() && self.welcome.lock().is_due(now)
    }

    /// Asks what the node here makes of `own`. A call that does not come through says nothing of that.
    pub(in crate::partners) async fn greet(self: &Arc<Self>, pool: &Arc<Pool>, own: &NodeId) {
        let Ok(request) = question(own, &pool.node, ENVIRON, Body::from("{}")) else { return };
        // Nobody else asks meanwhile.
        self.welcome.lock().due = Some(Instant::now() + PATIENCE);
        let (slip, progress) = (Slip::default(), Progress::default());
        let asked = timeout(PATIENCE, async {
            let answer = self.exchange(pool, request, &slip, &progress).await.ok()?.with(None);
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LONGEST).collect().await.ok()?;
            Some(judged(status, &body.to_bytes(), &pool.node))
        });
        let verdict = asked.await.ok().flatten();
        let mut welcome = self.welcome.lock();
        match verdict {
            Some(verdict) => {
                if let Verdict::Refused(reason) = &verdict
                    && welcome.refused.is_none()
                {
                    tracing::info!(address = self.label, "answers, and refuses us: {reason}");
                }
                welcome.said(verdict, Instant::now());
            }
            // As it was: whether it answers at all is the health check's business.
            None => welcome.due = Some(Instant::now() + REFUSED),
        }
    }
}

fn judged(status: StatusCode, body: &[u8], node: &NodeId) -> Verdict {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    match Code::parse(&text(&said, "code")) {
        Some(code) if code.is_success() => {
            let is = text(&said["content"], "node_id");
            let is_another = !is.is_empty() && NodeId::new(&is) != *node;
            if is_another { Verdict::Refused(format!("identity: it says that it is {is}")) } else { Verdict::Welcomed }
        }
        Some(code @ (Code::UNAUTHORISED | Code::ROUTE_DISABLED | Code::ROUTE_EXPIRED)) => {
            Verdict::Refused(format!("authorisation: {code} {}", text(&said, "message")))
        }
        None if status == StatusCode::FORBIDDEN => Verdict::Refused("authorisation: HTTP 403".to_owned()),
        Some(_) | None => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_refuses_us_and_who_is_another_is_told_and_who_does_not_know_the_question_is_not_blamed() {
        let said = |code: &str, node: &str| {
            serde_json::json!({"code": code, "message": "m", "content": {"node_id": node}}).to_string()
        };
        let table = [
            (200, said("E0000000000", "B"), Verdict::Welcomed),
            (200, said("E0000000000", ""), Verdict::Welcomed),
            (200, said("E0000000000", "C"), Verdict::Refused("identity: it says that it is C".into())),
            (200, said("E0000000606", ""), Verdict::Refused("authorisation: E0000000606 m".into())),
            (403, said("E0000000403", ""), Verdict::Refused("authorisation: E0000000403 m".into())),
            (403, "<html>".into(), Verdict::Refused("authorisation: HTTP 403".into())),
            (200, said("E0000000000", "\u{1b}[2JC"), Verdict::Refused("identity: it says that it is [2JC".into())),
            (404, said("E0000000404", ""), Verdict::Unknown),
            (502, "<html>".into(), Verdict::Unknown),
        ];
        for (status, body, verdict) in table {
            let found = judged(StatusCode::from_u16(status).unwrap(), body.as_bytes(), &NodeId::new("b"));
            assert_eq!(found, verdict, "{status} {body}");
        }
    }

    #[test]
    fn who_refuses_is_asked_again_soon_and_is_forgiven_at_once() {
        let (now, mut welcome) = (Instant::now(), Welcome::default());
        assert!(welcome.is_due(now), "nothing is known yet");
        welcome.said(Verdict::Refused("r".into()), now);
        assert!(!welcome.is_due(now) && welcome.is_due(now + REFUSED) && welcome.refused() == Some("r"));
        welcome.said(Verdict::Welcomed, now);
        assert!(!welcome.is_due(now + REFUSED) && welcome.is_due(now + WELCOMED) && welcome.refused().is_none());
    }
}
