//! Wrapped operations: an `Inbound` is taken apart, and the operation within is served (PTP sections 3.1 and 6.1).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_core::{CallContext, Refusal};

use super::{
    Front,
    aside::{self, Holds, Side},
    call::{Call, Patience, Reply},
    decode::{self, Wire},
    exchange::Party,
    op::{Op, path_of},
    peers::Peers,
};
use crate::{Metadata, TransportError};

impl<P: Peers> Front<P> {
    /// Takes an `Inbound` apart and serves the operation within, and says which it was.
    pub(super) async fn unwrapped(
        &self,
        body: Bytes,
        wire: Wire,
        mut party: Party,
        patience: Patience,
    ) -> Result<(Op, Reply), Refusal> {
        let within = if aside::is_heavy(wire, Holds::Operation, &body) {
            let (mut context, room) = (std::mem::take(&mut party.context), party.room.clone());
            let read = move || {
                let within = taken_apart(wire, body, &mut context);
                (context, within)
            };
            let within;
            (party.context, within) = self.exchange.aside.run(Side::of(&party.caller), room, read).await;
            within
        } else {
            taken_apart(wire, body, &mut party.context)
        };
        let (op, call) = within?;
        Ok((op, self.exchange.run(call, wire, &party, patience).await?))
    }
}

/// The operation within; what it says of itself is the call's context from here on.
fn taken_apart(wire: Wire, body: Bytes, context: &mut CallContext) -> Result<(Op, Call), TransportError> {
    let wrapped = decode::wrapped(wire, &body).map_err(TransportError::Malformed)?;
    drop(body);
    take_over(&wrapped.metadata, context)?;
    let uri = context.uri.as_deref().unwrap_or_default();
    let op = Op::of_uri(uri).ok_or_else(|| TransportError::NoSuchUri { path: path_of(uri).to_owned() })?;
    let call = decode::inner(op, wire, context, &wrapped.inner)
        .map_err(|reason| TransportError::Inner { what: op.name(), reason })?;
    Ok((op, call))
}

/// A message of a wrapped call may name its uri, session, topic and timeout itself; that wins over the call's (PTP section
/// 6.1). It is read like headers, with their names and bounds. Who calls is not for it to say.
pub(super) fn take_over(metadata: &Metadata, context: &mut CallContext) -> Result<(), TransportError> {
    if metadata.is_empty() {
        return Ok(());
    }
    let named = metadata.iter().filter_map(|(name, value)| {
        Some((HeaderName::try_from(name.as_str()).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    let mut headers = HeaderMap::new();
    for (name, value) in named {
        // A map of headers holds some ten thousand at most, and panics beyond that where it is not asked.
        let too_many = |_| TransportError::Malformed("metadata: too many entries".into());
        headers.try_append(name, value).map_err(too_many)?;
    }
    let said = CallContext::from_headers(&headers).map_err(|e| TransportError::Malformed(format!("metadata: {e}")))?;
    if said.has_session {
        (context.session, context.has_session) = (said.session, true);
    }
    context.uri = said.uri.or(context.uri.take());
    context.topic = said.topic.or(context.topic.take());
    context.timeout = said.timeout.or(context.timeout);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_with_more_entries_than_headers_can_hold_is_refused() {
        let metadata: Metadata = (0..100_000).map(|n| (format!("x-{n}"), String::new())).collect();
        let taken = take_over(&metadata, &mut CallContext::default());
        assert!(matches!(taken, Err(TransportError::Malformed(_))), "{taken:?}");
    }
}
