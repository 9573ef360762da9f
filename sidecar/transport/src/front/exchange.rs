//! What a call comes to: served by the channels of this node, or passed on to the partner that it names (PTP section 8).
//!
//! The service behind all fronts. It knows no encoding of the caller's, except that a call which is passed on is passed on
//! in it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_core::{Body, CallContext, Caller, Live, NodeId, Refusal, Retry, Route, Snapshot};
use mesh_network::{Slip, WaitUntil, diagnose::SLOW_LINK};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::{
    MESSAGE_ID,
    admission::admit,
    answered::Answered,
    aside::Aside,
    call::{Answer, Call, Operation, Patience, Reach, Reply},
    claim::Claim,
    decode::Wire,
    flow::{Content, Flow},
    gateway::{self, LAST_TRY, PAUSE},
    hop::{self, Errand, To, Way},
    involved::Told,
    leases::{Holding, Leases},
    message_id::MessageIds,
    op::Op,
    owner::Gateways,
    peers::Peers,
    retries::{Budget, LONGEST_PAUSE, Tries},
    trace,
};
use crate::{
    Channels, Delivery, Draft, Key, MessageId, Numbered, Origin, Reader, TransportError,
    channels::{Purse, Room, Wait},
    sync::Mutex,
};

/// What partners get to hear the last of us when this node ends. Whoever does not hear it takes its messages back by itself.
const LAST_WORD: Duration = Duration::from_secs(2);

/// The service behind the fronts.
#[derive(Debug)]
pub(crate) struct Exchange<P> {
    pub(crate) channels: Arc<Channels>,
    pub(crate) live: Arc<Live>,
    /// What other nodes have popped here and not settled yet.
    pub(crate) leases: Leases,
    /// Where large texts are taken apart.
    pub(crate) aside: Aside,
    pub(super) peers: Arc<P>,
    /// Those who tell other nodes what became of what was popped there.
    pub(super) settling: TaskTracker,
    pub(super) ids: MessageIds,
    /// The ways to this node's other gateways.
    pub(super) gateways: Gateways,
    /// Which owners were told of late whom a session involves.
    pub(super) told: Told,
    budgets: Mutex<HashMap<NodeId, Budget>>,
}

/// Who calls, and what the headers say; admitted.
#[derive(Clone, Debug)]
pub(crate) struct Party {
    pub(crate) context: CallContext,
    pub(crate) caller: Caller,
    pub(super) origin: Origin,
    /// The route of the partner that calls, or on whose behalf another gateway does.
    route: Option<Arc<Route>>,
    /// The room that the body of the call has.
    pub(crate) room: Option<Room>,
}

impl<P: Peers> Exchange<P> {
    pub(crate) fn new(channels: Arc<Channels>, live: Arc<Live>, peers: Arc<P>) -> Self {
        let (leases, ids, budgets) = (Leases::default(), MessageIds::new(), Mutex::new(HashMap::new()));
        let (aside, settling) = (Aside::default(), TaskTracker::new());
        let (gateways, told) = (Gateways::default(), Told::default());
        Self { channels, live, leases, aside, peers, settling, ids, gateways, told, budgets }
    }

    /// Admits a caller to `op`.
    pub(crate) fn admit(&self, op: Op, mut context: CallContext, caller: Caller) -> Result<Party, TransportError> {
        let live = self.live.load();
        let origin = admit(op, &caller, &live.node, &mut context)?;
        let route = match (&caller, &origin) {
            (Caller::Gateway, Origin::Partner(partner)) => live.route_to(partner),
            _ => caller.partner(),
        };
        let route = route.cloned();
        Ok(Party { context, caller, origin, route, room: None })
    }

    /// What pays for a body of `party`: it waits for room as long as a push would.
    pub(crate) fn purse<'a>(&'a self, party: &'a Party, patience: Patience) -> Purse<'a> {
        self.purse_within(party, party.context.timeout, patience)
    }

    /// The same for one that names its time.
    pub(crate) fn purse_within<'a>(
        &'a self,
        party: &'a Party,
        named: Option<Duration>,
        patience: Patience,
    ) -> Purse<'a> {
        let wait = patience.room(named, self.live.load().transport.push_timeout.get());
        self.channels.purse(&party.context.session, &party.origin, party.route.as_deref(), wait)
    }

    /// Serves a call, or passes it on.
    pub(crate) async fn run(
        &self,
        mut call: Call,
        wire: Wire,
        party: &Party,
        patience: Patience,
    ) -> Result<Reply, Refusal> {
        if let Some(reach) = gateway::said_by_sidecar(party) {
            call.reach = reach;
        }
        let target = match call.reach {
            Reach::Addressed => hop::target(&self.live.load(), &party.context)?,
            Reach::Here { .. } => self.live.load().gateway.clone(),
        };
        match target {
            None if self.channels.shares() => Box::pin(self.at_owner(call, party, patience)).await,
            None => {
                let id = party.message_id()?.map(Numbered::new);
                Ok(Reply::Answer(self.here(call, party, patience, id).await?))
            }
            Some(_) if party.caller.partner().is_some() => {
                Err(TransportError::NotOpen { what: "passing a call on to a third node" }.into())
            }
            Some(route) => Box::pin(self.there(call, wire, party, &route, patience)).await,
        }
    }

    /// Serves a call by this node's own channels; `id` is that of a push.
    pub(super) async fn here(
        &self,
        call: Call,
        party: &Party,
        patience: Patience,
        id: Option<Arc<Numbered>>,
    ) -> Result<Answer, TransportError> {
        if let Some(ended) = self.ended(&call.operation, party) {
            return ended.map(|()| Answer::success(None));
        }
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
                    id,
                };
                let route = party.route.as_deref();
                self.channels.push_with(&key, draft, route, party.room.as_ref(), until).await?;
                None
            }
            Operation::Pop => {
                let popped = self.channels.pop(&key, &reader(), patience.pop(call.timeout)).await?;
                popped.map(|delivery| self.handed(delivery, party)).transpose()?
            }
            Operation::Peek => {
                let seen = self.channels.peek(&key, &reader()).await?;
                seen.map(|delivery| self.handed(delivery, party)).transpose()?
            }
            Operation::Release => {
                self.channels.release(&key, &party.origin).await?;
                None
            }
        };
        Ok(Answer::success(delivery))
    }

    /// A message on its way to whoever asked. Another node of our kind settles its lease by itself, later.
    pub(super) fn handed(&self, mut delivery: Delivery, party: &Party) -> Result<Delivery, TransportError> {
        let wanted = party.lease();
        if wanted.is_none() && party.caller.partner().is_some() {
            // Other kinds do not know the word.
            delivery.redelivered = false;
        }
        if let Some(name) = wanted
            && let Some(lease) = delivery.lease.take()
        {
            let holding = Holding { holder: party.origin.clone(), name };
            let opened = self.leases.open(holding, lease, matches!(party.caller, Caller::Gateway));
            delivery.lease = Some(opened.ok_or(TransportError::TooManyLeases)?);
        }
        Ok(delivery)
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
        let context = trace::named(&party.context);
        let to = To::of(&snapshot);
        let way = Way::of(to, route);
        let wire = if way == Way::Grpc { Wire::Protobuf } else { gateway::wire(&snapshot, &context, &call, wire) };
        let errand = Errand { call: &call, wire, context: &context, to, way, flow: None };
        let hop = Hop { errand, snapshot: &snapshot, route, until };
        match op {
            Op::Push => self.push_there(&hop, party).await,
            Op::Pop => tokio::select! {
                reply = self.read_there(&hop) => reply,
                // The partner sees that we went, and puts back what it may have given out.
                () = self.channels.ending() => Ok(Reply::Answer(Answer::success(None))),
            },
            Op::Peek => self.read_there(&hop).await,
            Op::Release | Op::Invoke | Op::Transport => Ok(self.send(&hop, Slip::default()).await?.reply),
        }
    }

    fn until(&self, call: &Call, patience: Patience) -> Instant {
        match &call.operation {
            Operation::Push { payload, .. } => {
                let wait = self.live.load().transport.push_timeout.get();
                patience.push(call.timeout, wait + transfer(payload.len() as u64))
            }
            Operation::Pop => patience.pop(call.timeout),
            Operation::Peek | Operation::Release => patience.hop(),
        }
    }

    /// The partner to which a push goes on whose headers say all that this node must know of it: its body need not be here
    /// yet.
    pub(crate) fn onward(&self, party: &Party) -> Option<Arc<Route>> {
        // What is in the way is said when the body is here.
        let is_own = matches!(party.caller, Caller::Local | Caller::Member { .. });
        is_own.then(|| hop::target(&self.live.load(), &party.context).ok())?.flatten()
    }

    /// Passes on the large push that arrives by `body`, of so many bytes. It is kept for a repeat, so it has its room like any
    /// other, and pays for it as it comes.
    ///
    /// # Errors
    /// Outside, that there is no room for it.
    pub(crate) async fn pass_on_arriving(
        &self,
        call: Call,
        (body, length, content): (Body, u64, Content),
        (party, patience): (&Party, Patience),
        route: &Arc<Route>,
        mut purse: Purse<'_>,
    ) -> Result<Result<Reply, Refusal>, TransportError> {
        let paid = purse.grow(0, length).await?;
        let flow = Flow::new(body, length, paid, content);
        tokio::select! {
            reply = self.pass_on(&call, &flow, party, route, patience) => Ok(reply),
            Err(e) = flow.pay(&mut purse) => Err(e),
        }
    }

    async fn pass_on(
        &self,
        call: &Call,
        flow: &Flow,
        party: &Party,
        route: &Arc<Route>,
        patience: Patience,
    ) -> Result<Reply, Refusal> {
        let snapshot = self.live.snapshot();
        let until = patience.push(call.timeout, snapshot.transport.push_timeout.get() + transfer(flow.length()));
        let context = trace::named(&party.context);
        let to = To::of(&snapshot);
        let way = Way::of(to, route);
        let errand = Errand { call, wire: Wire::Protobuf, context: &context, to, way, flow: Some(flow) };
        let reply = self.push_there(&Hop { errand, snapshot: &snapshot, route, until }, party).await;
        match flow.broken() {
            Some(reason) => Err(TransportError::Malformed(format!("the body broke off: {reason}")).into()),
            None => reply,
        }
    }

    async fn push_there(&self, hop: &Hop<'_>, party: &Party) -> Result<Reply, Refusal> {
        let id = party.message_id()?.unwrap_or_else(|| self.ids.next());
        let reply = self.push_often(hop, id, party).await?;
        let is_done = matches!(&reply, Reply::Answer(answer) if answer.code.is_success());
        if is_done && hop.errand.to == To::Partner {
            self.involve(&party.context.session, &hop.route.node_id).await;
        }
        Ok(reply)
    }

    /// Sends a push to the partner, again and again as long as that may help and cannot double it (PTP section 8.4).
    async fn push_often(&self, hop: &Hop<'_>, id: MessageId, party: &Party) -> Result<Reply, Refusal> {
        let mut ours = HeaderMap::with_capacity(1);
        if let Ok(mut value) = HeaderValue::from_str(&id.to_string()) {
            // Never the same again: no place in HTTP/2's table for it.
            value.set_sensitive(true);
            ours.insert(HeaderName::from_static(MESSAGE_ID), value);
        }
        let mut tries = Tries::new(ours, hop.until, gateway::doubt(hop));
        self.budget(hop, Budget::first);
        loop {
            let slip = tries.slip();
            let sent = tokio::select! {
                biased;
                sent = self.send(hop, slip.clone()) => sent,
                () = self.handed_over(hop, party, LAST_TRY, || tries.may_move(slip.went(), hop.addresses())) => {
                    return Err(TransportError::Ends.into());
                }
            };
            let (refusal, went) = match sent {
                Ok(heard) => match hop.ended_early(&heard) {
                    // It has not entered there, and was not meant to: the next one is to be asked.
                    Some(refusal) => {
                        tries.is_remembered_for_a_while(Instant::now());
                        // Or that is not known, and then it may go nowhere else.
                        let went = slip.went().filter(|_| refusal.retry == Retry::Unknown);
                        (refusal, went)
                    }
                    None => return Ok(heard.reply),
                },
                Err(refusal) => (refusal, slip.went()),
            };
            if hop.errand.flow.is_some_and(|flow| flow.broken().is_some()) {
                return Err(refusal);
            }
            let mut pause = tries.again(refusal.clone(), went.clone(), Instant::now())?;
            if went.is_some() {
                // What never left is no trouble for the partner: it waits until an address answers, however many do.
                pause = pause.max(self.budget(hop, |budget| budget.repeat(Instant::now())));
            }
            if Instant::now() + pause >= hop.until {
                return Err(refusal);
            }
            self.channels.metrics.push_repeats.inc();
            tokio::select! {
                () = sleep(pause) => {}
                () = self.handed_over(hop, party, Duration::ZERO, || tries.may_move(None, hop.addresses())) => {
                    return Err(TransportError::Ends.into());
                }
            }
        }
    }

    /// Sends a pop or a peek to the partner, once: what it brings may be somebody else's the next time. Only a pop that found
    /// nothing because the partner's process ends goes to the one that comes next.
    async fn read_there(&self, hop: &Hop<'_>) -> Result<Reply, Refusal> {
        if hop.errand.to == To::Gateway {
            return self.read_at_gateway(hop).await;
        }
        let (mut empty, mut pause) = (None, PAUSE);
        loop {
            let claim = self.claim(hop);
            match self.send(hop, claim.slip().clone()).await {
                Ok(heard) if hop.ended_early(&heard).is_some() => {
                    drop(claim.settled(false));
                    empty = Some(heard.reply);
                }
                Ok(heard) => return Ok(leased(heard.reply, claim, heard.has_lease)),
                Err(refusal) => match empty.take() {
                    None => return Err(refusal),
                    // The partner that comes next is not there yet.
                    Some(reply) if refusal.retry == Retry::Safe => empty = Some(reply),
                    // Another was asked, which may have given out a message: the one before it had none.
                    Some(reply) => return Ok(reply),
                },
            }
            match empty.take() {
                Some(reply) if Instant::now() + pause >= hop.until => return Ok(reply),
                other => empty = other,
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    pub(super) fn claim(&self, hop: &Hop<'_>) -> Claim<P> {
        Claim::new(&self.settling, &self.peers, hop.route)
    }

    /// The same at the owner of a session, under the name that its own caller chose, if there is one.
    pub(super) fn claim_at_owner(&self, hop: &Hop<'_>, name: Option<&str>) -> Claim<P> {
        Claim::at_owner(name, hop.errand.context.behalf.clone(), &self.settling, &self.peers, hop.route)
    }

    /// One try.
    pub(super) async fn send(&self, hop: &Hop<'_>, slip: Slip) -> Result<Heard, Refusal> {
        let Hop { errand, snapshot, route, until } = hop;
        let mut request = errand.request(&snapshot.node, *until, &slip)?;
        request.extensions_mut().insert(slip);
        let deadline = hop.deadline();
        request.extensions_mut().insert(WaitUntil(*until));
        let response = self.peers.send(route, request, deadline).await?;
        let (has_lease, ends) =
            (response.headers().contains_key(super::LEASE), response.headers().contains_key(super::ENDS));
        let limit = snapshot.transport.max_body_bytes.bytes();
        let purse = self.channels.purse(&errand.context.session, &Origin::Application, None, Wait::until(deadline));
        let answered =
            Answered { response, way: errand.way, wire: errand.wire, partner: &route.node_id, limit, until: deadline };
        Ok(Heard { reply: answered.read(purse, &self.aside).await?, has_lease, ends })
    }

    /// Waits until every message that was popped at another node is settled there, for as long as that takes at most.
    pub(crate) async fn settled(&self) {
        self.settling.close();
        if timeout(LAST_WORD, self.settling.wait()).await.is_err() {
            let left = self.settling.len();
            tracing::warn!(left, "messages of other nodes are not settled: they go back there after 15 s of silence");
        }
    }

    /// The budget keeps a partner's trouble from being made worse. A gateway's calls wait for it as they are.
    fn budget<R: Default>(&self, hop: &Hop<'_>, on: impl FnOnce(&mut Budget) -> R) -> R {
        if hop.errand.to == To::Gateway {
            return R::default();
        }
        let mut budgets = self.budgets.lock();
        if let Some(budget) = budgets.get_mut(&hop.route.node_id) {
            return on(budget);
        }
        budgets.retain(|partner, _| hop.snapshot.route_to(partner).is_some());
        on(budgets.entry(hop.route.node_id.clone()).or_insert_with(|| Budget::new(Instant::now())))
    }
}

/// What a body takes to a partner at least, beside the wait for room.
fn transfer(bytes: u64) -> Duration {
    Duration::from_secs(bytes / SLOW_LINK)
}

/// What another node answered.
pub(super) struct Heard {
    pub(super) reply: Reply,
    /// Its message is leased to us.
    pub(super) has_lease: bool,
    /// The other node ends, and nothing came of the call.
    pub(super) ends: bool,
}

/// A call to a partner, or to the gateway.
pub(super) struct Hop<'a> {
    pub(super) errand: Errand<'a>,
    pub(super) snapshot: &'a Snapshot,
    pub(super) route: &'a Arc<Route>,
    /// When its answer must be here.
    pub(super) until: Instant,
}

/// The answer to a read, with the right to settle its message there.
pub(super) fn leased<P: Peers>(mut reply: Reply, claim: Claim<P>, has_lease: bool) -> Reply {
    match &mut reply {
        Reply::Answer(Answer { delivery: Some(delivery), .. }) => delivery.lease = claim.settled(has_lease),
        Reply::Answer(_) => drop(claim.settled(false)),
        // It is of somebody in between: what was answered to that one has not arrived, and goes back.
        Reply::PassedOn { .. } => drop(claim),
    }
    reply
}

impl Party {
    /// The id of its push. Only nodes number: what an application says is nothing that we gave out.
    pub(super) fn message_id(&self) -> Result<Option<MessageId>, TransportError> {
        let named = self.context.message_id.as_deref().filter(|_| self.caller.is_node());
        named.map(str::parse).transpose().map_err(|e: crate::NoMessageId| TransportError::Malformed(e.to_string()))
    }

    /// The name under which it wants to settle what it pops: none where it is no node, or none of our kind.
    pub(crate) fn lease(&self) -> Option<Arc<str>> {
        self.context.lease.as_deref().filter(|name| self.caller.is_node() && Leases::is_name(name)).map(Into::into)
    }
}
