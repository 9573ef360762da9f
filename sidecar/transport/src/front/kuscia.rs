//! The Kuscia dialect (PTP section 5.3): the body is the message, everything else stands in headers and the query.
//!
//! On pop, peek and release the target id names the sender, not a destination: these end here always.

use std::time::Duration;

use bytes::Bytes;
use mesh_core::CallContext;

use super::{
    call::{Call, Operation, Reach},
    op::Op,
    query::Query,
};

/// The bounds of the query's timeout, in seconds, and what stands for none.
const SHORTEST: u64 = 1;
const LONGEST: u64 = 300;
const DEFAULT: Duration = Duration::from_secs(120);

/// A push says who its sender is: readers ask for it. `names_source`: the request did, or its certificate does.
pub(crate) fn check_sender(op: Op, names_source: bool) -> Result<(), String> {
    let pushes = matches!(op, Op::Push | Op::Invoke | Op::Transport);
    if pushes && !names_source { Err("header x-ptp-source-node-id is missing".into()) } else { Ok(()) }
}

/// Reads a call.
pub(crate) fn call(op: Op, context: &CallContext, query: &Query, body: &Bytes) -> Result<Call, String> {
    // The header before the query, as in every dialect (PTP section 9.2).
    let named = context.timeout.or(timeout(query)?);
    let missing = |name: &str| format!("header {name} is missing");
    if !context.has_session {
        return Err(missing("x-ptp-session-id"));
    }
    let topic = context.topic.clone();
    let required = || topic.clone().ok_or_else(|| missing("x-ptp-topic"));
    let sender = || context.target_node.clone().ok_or_else(|| missing("x-ptp-target-node-id"));
    Ok(match op {
        Op::Push | Op::Invoke | Op::Transport => {
            if body.is_empty() {
                return Err("the body is empty: it is the message".into());
            }
            let operation = Operation::Push { payload: body.clone(), metadata: None };
            Call { topic: required()?, timeout: named, operation, reach: Reach::Addressed }
        }
        Op::Pop => Call {
            topic: required()?,
            timeout: Some(named.unwrap_or(DEFAULT)),
            operation: Operation::Pop,
            reach: Reach::Here { from: Some(sender()?) },
        },
        Op::Peek => Call {
            topic: required()?,
            timeout: None,
            operation: Operation::Peek,
            reach: Reach::Here { from: Some(sender()?) },
        },
        Op::Release => Call {
            topic: topic.unwrap_or_default(),
            timeout: None,
            operation: Operation::Release,
            reach: Reach::Here { from: None },
        },
    })
}

/// A push whose message is not here yet.
pub(crate) fn arriving(op: Op, context: &CallContext, query: &Query) -> Option<Call> {
    let pushed = call(op, context, query, &Bytes::from_static(b"-")).ok()?;
    let is_push = matches!(pushed.operation, Operation::Push { .. });
    is_push.then(|| Call::arriving(pushed.topic, pushed.timeout))
}

/// The timeout of the query, in seconds.
pub(super) fn timeout(query: &Query) -> Result<Option<Duration>, String> {
    let Some(text) = query.timeout.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
    let seconds: i64 = text.trim().parse().map_err(|_| "timeout is no number of seconds")?;
    Ok(Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0).clamp(SHORTEST, LONGEST))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_seconds_within_bounds() {
        let table = [
            ("", None),
            ("timeout=0", Some(1)),
            ("timeout=-5", Some(1)),
            ("timeout=7", Some(7)),
            ("timeout=9999", Some(300)),
        ];
        for (query, expected) in table {
            assert_eq!(timeout(&Query::read(query.as_bytes())).unwrap(), expected.map(Duration::from_secs), "{query}");
        }
        assert!(timeout(&Query::read(b"timeout=soon")).is_err());
    }
}
