//! What a call comes to: served by the channels of this node, or passed on to the partner that it names (PTP section 8).
//!
//! The service behind all fronts. It knows no encoding of the caller's, except that a call which is passed on is passed on
//! in it.

use std::{sync::Arc, time::Duration};

use mesh_core::{CallContext, Caller, Live, NodeId, Refusal, Retry, Route, Snapshot};
use tokio::time::{Instant, sleep};

use super::{
    admission::admit,
    call::{Answer, Call, Operation, Patience, Reach, Reply},
    decode::Wire,
    hop::{self, Errand},
    message_id::MessageIds,
    op::Op,
    peers::Peers,
};
use crate::{Channels, Draft, Key, Origin, Reader, TransportError};

/// The first pause before a push that surely did not arrive is sent again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause: a partner that comes back is found within a second.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The service behind the fronts.
#[derive(Debug)]
pub(crate) struct Exchange<P> {
    pub(crate) channels: Arc<Channels>,
    pub(crate) live: Arc<Live>,
    peers: Arc<P>,
    ids: MessageIds,
}

/// Who calls, and what the headers say; admitted.
#[derive(Clone, Debug)]
pub(crate) struct Party {
    pub(crate) context: CallContext,
    caller: Caller,
    origin: Origin,
}

impl<P: Peers> Exchange<P> {
    pub(crate) fn new(channels: Arc<Channels>, live: Arc<Live>, peers: Arc<P>) -> Self {
        Self { channels, live, peers, ids: MessageIds::new() }
    }

    /// Admits a caller to `op`.
    pub(crate) fn admit(&self, op: Op, mut context: CallContext, caller: Caller) -> Result<Party, TransportError> {
        let origin = admit(op, &caller, &self.live.load().node, &mut context)?;
        Ok(Party { context, caller, origin })
    }

    /// Serves a call, or passes it on.
    pub(crate) async fn run(
        &self,
        call: Call,
        wire: Wire,
        party: &Party,
        patience: Patience,
    ) -> Result<Reply, Refusal> {
        let target = match call.reach {
            Reach::Addressed => hop::target(&self.live.load(), &party.context)?,
            Reach::Here { .. } => None,
        };
        match target {
            None => Ok(Reply::Answer(self.here(call, party, patience).await?)),
            Some(_) if party.caller.partner().is_some() => {
                Err(TransportError::NotOpen { what: "passing a call on to a third node" }.into())
            }
            Some(route) => Box::pin(self.there(call, wire, party, &route, patience)).await,
        }
    }

    async fn here(&self, call: Call, party: &Party, patience: Patience) -> Result<Answer, TransportError> {
        let key = Key { session: party.context.session.clone(), topic: call.topic };
        let source = match call.reach {
            Reach::Here { from } => from,
            Reach::Addressed => None,
        };
        let reader = || Reader { who: party.origin.clone(), source };
        let delivery = match call.operation {
            Operation::Push { payload, metadata } => {
                let until = patience.push(call.timeout, self.live.load().transport.push_timeout.get());
                let draft = Draft {
                    payload,
                    metadata,
                    source: party.context.source_node.clone(),
                    origin: party.origin.clone(),
                };
                let route = party.caller.partner().map(|route| &**route);
                self.channels.push(&key, draft, route, until).await?;
                None
            }
            Operation::Pop => self.channels.pop(&key, &reader(), patience.pop(call.timeout)).await?,
            Operation::Peek => self.channels.peek(&key, &reader())?,
            Operation::Release => {
                self.channels.release(&key, &party.origin)?;
                None
            }
        };
        Ok(Answer::success(delivery))
    }

    async fn there(
        &self,
        call: Call,
        wire: Wire,
        party: &Party,
        route: &Arc<Route>,
        patience: Patience,
    ) -> Result<Reply, Refusal> {
        let op = call.operation.op();
        let (snapshot, until) = (self.live.snapshot(), self.until(&call, patience));
        let message_id = (op == Op::Push).then(|| party.context.message_id.clone().unwrap_or_else(|| self.ids.next()));
        let errand = Errand { call: &call, wire, context: &party.context, message_id: message_id.as_deref() };
        let reply = tokio::select! {
            reply = self.send(&errand, &snapshot, route, until) => reply?,
            // The partner sees that we went, and puts back what it may have given out.
            () = self.channels.ending(), if op == Op::Pop => Reply::Answer(Answer::success(None)),
        };
        if op == Op::Push && matches!(&reply, Reply::Answer(answer) if answer.code.is_success()) {
            self.involve(party, &route.node_id);
        }
        Ok(reply)
    }

    /// An application pushed to `partner` under this session id: the session involves the partner here too.
    fn involve(&self, party: &Party, partner: &NodeId) {
        // The push has succeeded; that the session was released here meanwhile is no reason to say otherwise.
        if let Err(e) = self.channels.involve(&party.context.session, partner) {
            tracing::debug!(%partner, "session not opened to the partner: {e}");
        }
    }

    fn until(&self, call: &Call, patience: Patience) -> Instant {
        match call.operation {
            Operation::Push { .. } => patience.push(call.timeout, self.live.load().transport.push_timeout.get()),
            Operation::Pop => patience.pop(call.timeout),
            Operation::Peek | Operation::Release => patience.hop(),
        }
    }

    /// Sends a call to the partner; what surely did not arrive is sent again until its time is up (PTP section 8.4).
    async fn send(
        &self,
        errand: &Errand<'_>,
        snapshot: &Snapshot,
        route: &Arc<Route>,
        until: Instant,
    ) -> Result<Reply, Refusal> {
        let mut pause = FIRST_PAUSE;
        loop {
            let request = errand.request(&snapshot.node, until)?;
            let refusal = match self.peers.send(route, request, until).await {
                Ok(response) => {
                    let limit = snapshot.transport.max_body_bytes.bytes();
                    return Ok(hop::reply(response, errand.wire, &route.node_id, limit, until).await?);
                }
                Err(refusal) => refusal,
            };
            let may_repeat = errand.call.operation.op() == Op::Push && refusal.retry == Retry::Safe;
            if !may_repeat || Instant::now() + pause >= until {
                return Err(refusal);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
