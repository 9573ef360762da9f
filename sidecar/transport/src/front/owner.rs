//! Where several gateways of the node share their sessions, each call ends at the one that owns its session (design section 5): here,
//! or at another one, to which it goes on by the same hop as from a sidecar to its gateway.
//!
//! A call goes on once: whoever it was passed on to and who does not own the session says so (`E0000000607`, nothing was done), and it
//! is looked up again. A push carries its id on all its ways, so that whoever owns the session last lets it in once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crds::Store;
use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_core::{Caller, Code, ConfigProblem, Refusal, Retry, Route, Snapshot};
use mesh_network::Slip;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    MESSAGE_ID,
    call::{Answer, Call, Operation, Patience, Reply},
    decode::Wire,
    exchange::{Exchange, Heard, Hop, Party, leased},
    hop::{Errand, To, Way},
    op::Op,
    peers::Peers,
    trace,
};
use crate::{MessageId, Numbered, Origin, OwnerError, Theirs, TransportError, channels::Whereabouts};

/// The first pause before a session is looked up again, and the longest: who takes it over has it within a moment.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// What finding the owner of a session may take in any case: a call that does not wait is late by it where nobody answers.
const FINDING: Duration = Duration::from_secs(1);
/// Ways to other gateways that are kept: gateways that come and go have other addresses.
const MOST_WAYS: usize = 256;

/// The ways to this node's other gateways, by their addresses.
#[derive(Debug, Default)]
pub(super) struct Gateways(parking_lot::Mutex<HashMap<Arc<str>, Known>>);

/// A way, and of which snapshot it is.
type Known = (u64, Arc<Route>);

/// Under which names a call goes on.
struct Names {
    /// The id of a push.
    message: Option<MessageId>,
    /// Whether this process has numbered it, and told nobody of that yet.
    is_own: bool,
    /// The lease of a read, as its caller named it: when this gateway is lost, the caller settles it with the owner by way of another.
    lease: Option<Arc<str>>,
}

/// A try at another gateway that brought nothing.
enum Tried {
    /// Nobody was served: it is looked up again.
    Again(Refusal),
    /// Nothing else helps.
    InVain(Refusal),
}

impl Gateways {
    pub(super) fn to(&self, snapshot: &Snapshot, address: &Arc<str>) -> Result<Arc<Route>, ConfigProblem> {
        let mut ways = self.0.lock();
        if let Some((_, route)) = ways.get(address).filter(|(generation, _)| *generation == snapshot.generation) {
            return Ok(Arc::clone(route));
        }
        if ways.len() >= MOST_WAYS {
            ways.clear();
        }
        let route = snapshot.to_gateway(address)?;
        ways.insert(Arc::clone(address), (snapshot.generation, Arc::clone(&route)));
        Ok(route)
    }
}

impl<P: Peers> Exchange<P> {
    /// Serves a call where its session is.
    pub(super) async fn at_owner(&self, call: Call, party: &Party, patience: Patience) -> Result<Reply, Refusal> {
        let until = match call.operation {
            Operation::Push { .. } => patience.push(call.timeout, self.live.load().transport.push_timeout.get()),
            Operation::Pop => patience.pop(call.timeout),
            Operation::Peek | Operation::Release => patience.hop(),
        };
        let mut names = Names { message: None, is_own: false, lease: party.lease() };
        if let Operation::Push { .. } = call.operation {
            let given = party.message_id()?;
            names.is_own = given.is_none();
            names.message = given.or_else(|| Some(self.ids.next()));
        }
        let (give_up, mut pause) = (until.max(Instant::now() + FINDING), PAUSES.0);
        loop {
            let refusal = match self.try_once(&call, (party, patience), (until, give_up), &names).await {
                Ok(reply) => return Ok(reply),
                Err(Tried::InVain(refusal)) => return Err(refusal),
                Err(Tried::Again(refusal)) => refusal,
            };
            // Whoever passed it on looks again, and has the time.
            let is_passed_on = matches!(party.caller, Caller::Gateway);
            if is_passed_on || self.channels.is_ending() || Instant::now() + pause >= give_up {
                return Err(refusal);
            }
            if refusal.retry == Retry::Unknown {
                // Whoever was asked may give that one back still.
                names.lease = None;
            }
            names.is_own = false;
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// How a push is known to this gateway's own channels.
    fn numbered(&self, names: &Names) -> Option<Arc<Numbered>> {
        let id = names.message?;
        match (names.is_own, self.live.load().transport.store) {
            // Either it is in its queue when this call ends, or nowhere: a repeat needs no name.
            (true, Store::Memory) => None,
            (true, Store::Disk) => Some(Numbered::own(id)),
            (false, _) => Some(Numbered::new(id)),
        }
    }

    async fn try_once(
        &self,
        call: &Call,
        (party, patience): (&Party, Patience),
        (until, give_up): (Instant, Instant),
        names: &Names,
    ) -> Result<Reply, Tried> {
        match self.channels.locate(&party.context.session, &party.origin, give_up).await {
            Ok(Whereabouts::Here) => {
                let id = self.numbered(names);
                let is_nameless = names.message.is_some() && id.is_none();
                match self.here(call.clone(), party, patience, id).await {
                    Ok(answer) => Ok(Reply::Answer(answer)),
                    // Nobody would know the repeat: the configuration is another one since the call began.
                    Err(why @ TransportError::Shared(OwnerError::Unsure)) if is_nameless => {
                        Err(Tried::InVain(why.into()))
                    }
                    Err(why) => Err(Tried::of(why, give_up)),
                }
            }
            Ok(Whereabouts::There(_)) if matches!(party.caller, Caller::Gateway) => {
                Err(Tried::of(TransportError::Moved, give_up))
            }
            Ok(Whereabouts::There(peer)) => self.there_at(&*peer, call, party, (until, give_up), names).await,
            // What is released already is released with success.
            Err(TransportError::Released { .. }) if call.operation == Operation::Release => {
                Ok(Reply::Answer(Answer::success(None)))
            }
            Err(why) => Err(Tried::of(why, give_up)),
        }
    }

    /// Passes a call on to the gateway that owns its session.
    async fn there_at(
        &self,
        peer: &dyn Theirs,
        call: &Call,
        party: &Party,
        (until, give_up): (Instant, Instant),
        names: &Names,
    ) -> Result<Reply, Tried> {
        let snapshot = self.live.snapshot();
        let route = peer.address().map(|address| self.gateways.to(&snapshot, &address));
        let Some(Ok(route)) = route else {
            // It is not there any more, or does not say where it is.
            peer.refused();
            return Err(Tried::of(TransportError::Moved, give_up));
        };
        let mut context = trace::named(&party.context).into_owned();
        context.behalf = match &party.origin {
            Origin::Partner(partner) => Some(partner.clone()),
            Origin::Application => None,
        };
        // Protobuf does not say of a peek whether an empty message is there.
        let op = call.operation.op();
        let wire = if op == Op::Peek { Wire::Json } else { Wire::Protobuf };
        let errand = Errand { call, wire, context: &context, to: To::Owner, way: Way::Http, flow: None };
        let hop = Hop { errand, snapshot: &snapshot, route: &route, until };
        self.channels.metrics.forwarded_calls.inc();
        match op {
            Op::Pop => tokio::select! {
                reply = self.read_at_owner(&hop, peer, party, (names, give_up)) => reply,
                // The owner sees that we went, and puts back what it may have given out.
                () = self.channels.ending() => Ok(Reply::Answer(Answer::success(None))),
            },
            Op::Peek => self.read_at_owner(&hop, peer, party, (names, give_up)).await,
            Op::Push | Op::Release | Op::Invoke | Op::Transport => {
                self.send_to_owner(&hop, peer, names.message, give_up).await
            }
        }
    }

    async fn send_to_owner(
        &self,
        hop: &Hop<'_>,
        peer: &dyn Theirs,
        id: Option<MessageId>,
        give_up: Instant,
    ) -> Result<Reply, Tried> {
        let mut ours = HeaderMap::with_capacity(1);
        if let Some(Ok(mut value)) = id.map(|id| HeaderValue::from_str(&id.to_string())) {
            // Never the same again: no place in HTTP/2's table for it.
            value.set_sensitive(true);
            ours.insert(HeaderName::from_static(MESSAGE_ID), value);
        }
        match self.send(hop, Slip::repeated(ours, None)).await {
            Ok(heard) => heard_of(peer, hop, heard).map(|heard| heard.reply),
            Err(refusal) if refusal.retry == Retry::Useless => Err(useless(peer, refusal)),
            Err(refusal) => {
                let is_gone = is_gone(peer, give_up).await;
                let in_memory = self.live.load().transport.store == Store::Memory;
                let is_push = id.is_some();
                if is_gone && is_push && in_memory && refusal.retry == Retry::Unknown {
                    // Its id was known to the memory of that gateway alone.
                    return Err(Tried::InVain(refusal));
                }
                Err(Tried::Again(refusal))
            }
        }
    }

    async fn read_at_owner(
        &self,
        hop: &Hop<'_>,
        peer: &dyn Theirs,
        party: &Party,
        (names, give_up): (&Names, Instant),
    ) -> Result<Reply, Tried> {
        let claim = self.claim_at_owner(hop, names.lease.as_deref());
        let heard = match self.send(hop, claim.slip().clone()).await {
            Ok(heard) => heard,
            Err(refusal) if refusal.retry == Retry::Useless => return Err(useless(peer, refusal)),
            Err(refusal) => {
                // What a broken answer may have leased is given back first, so that the order is kept.
                if !is_gone(peer, give_up).await && refusal.retry == Retry::Unknown {
                    claim.give_back(give_up).await;
                }
                return Err(Tried::Again(refusal));
            }
        };
        let heard = match heard_of(peer, hop, heard) {
            Ok(heard) => heard,
            Err(tried) => {
                drop(claim.settled(false));
                return Err(tried);
            }
        };
        let mut reply = leased(heard.reply, claim, heard.has_lease);
        if let Reply::Answer(Answer { delivery, .. }) = &mut reply
            && let Some(delivered) = delivery.take()
        {
            *delivery = Some(self.handed(delivered, party).map_err(|why| Tried::InVain(why.into()))?);
        }
        Ok(reply)
    }
}

impl Tried {
    /// What comes of a call that was not served for this reason.
    fn of(why: TransportError, give_up: Instant) -> Self {
        let helps = match &why {
            TransportError::Moved | TransportError::Shared(OwnerError::Away(_)) => true,
            // Whoever owns the session next knows by the id whether it is kept.
            TransportError::Shared(OwnerError::Unsure) => Instant::now() < give_up,
            _ => false,
        };
        if helps { Self::Again(why.into()) } else { Self::InVain(why.into()) }
    }
}

/// What a call comes to that another gateway cannot be asked: nothing, unless the address is this one's own now. Then it was that of the
/// process before it, and whether that is gone is found out beside the next try.
fn useless(peer: &dyn Theirs, refusal: Refusal) -> Tried {
    if refusal.code != Code::BAD_ADDRESS {
        return Tried::InVain(refusal);
    }
    tokio::spawn(peer.is_gone());
    peer.refused();
    Tried::Again(TransportError::Moved.into())
}

/// What another gateway answered, if it has served the call.
fn heard_of(peer: &dyn Theirs, hop: &Hop<'_>, heard: Heard) -> Result<Heard, Tried> {
    if let Some(refusal) = hop.ended_early(&heard) {
        peer.refused();
        return Err(Tried::Again(refusal));
    }
    match &heard.reply {
        // Nothing it was passed on to, so this is of the session alone.
        Reply::Answer(answer) if answer.code == Code::UNREACHABLE => {
            // It may be the process that comes after it, at its address. Whether it is gone is found out beside the next try.
            tokio::spawn(peer.is_gone());
            peer.refused();
            Err(Tried::Again(TransportError::Moved.into()))
        }
        // Whether it is kept is not known there, as ownership was on its way: the next owner knows it by its id.
        Reply::Answer(answer) if answer.code == Code::TIMEOUT && Instant::now() < hop.until && hop.is_push() => {
            peer.refused();
            Err(Tried::Again(TransportError::Shared(OwnerError::Unsure).into()))
        }
        Reply::Answer(_) | Reply::PassedOn { .. } => Ok(heard),
    }
}

/// Whether a gateway is gone that could not be asked; whoever comes next looks again in any case. It is found out whether anybody waits
/// for it or not.
async fn is_gone(peer: &dyn Theirs, give_up: Instant) -> bool {
    let asked = tokio::spawn(peer.is_gone());
    let is_gone = timeout_at(give_up, asked).await.is_ok_and(|asked| asked.unwrap_or(false));
    peer.refused();
    is_gone
}
