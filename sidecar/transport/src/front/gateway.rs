//! A sidecar and its gateway, both ends (design section 5): every channel call of a sidecar ends at its gateway, by the same hop
//! as a call to a partner.
//!
//! What differs: the gateway takes the application's word as the sidecar passes it on; a read that brought nothing because the
//! gateway went away is asked for again while its caller waits. That is safe between the two: what a broken answer may have
//! leased is given back by its name first, so nobody else's message is taken and the order is kept.

use std::{future::pending, time::Duration};

use mesh_core::{CallContext, Caller, Code, Fault, NodeId, Refusal, Retry, Snapshot};
use mesh_network::route::{self, Target};
use tokio::time::{Instant, sleep};

use super::{
    call::{Call, Operation, Reach, Reply},
    decode::Wire,
    exchange::{Exchange, Heard, Hop, Party, leased},
    hop::To,
    op::Op,
    peers::Peers,
    retries::Doubt,
};

/// The gateway keeps the call's time. So much later, on a busy machine, its answer still counts.
const LATE: Duration = Duration::from_secs(5);
/// The pause before a read is asked for again; chance doubles it at most.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// What a push that is under way to a partner gets to end in when this gateway ends: most are answered within it, and enough of
/// the drain is left for the word to the sidecar.
pub(super) const LAST_TRY: Duration = Duration::from_secs(2);

/// How a call travels. A partner is spoken to as its caller speaks; up to the gateway protobuf is the smaller, only that it does
/// not say of a peek whether an empty message is there.
pub(super) fn wire(snapshot: &Snapshot, context: &CallContext, call: &Call, own: Wire) -> Wire {
    let is_shorter = snapshot.gateway.is_some() && call.operation.op() != Op::Peek && ends(snapshot, context, call);
    if is_shorter { Wire::Protobuf } else { own }
}

/// Whether a call ends at the gateway, and not at a partner behind it.
fn ends(snapshot: &Snapshot, context: &CallContext, call: &Call) -> bool {
    call.reach != Reach::Addressed || matches!(route::target(snapshot, context), Ok(Target::Local))
}

/// Where a call ends that a sidecar has decoded, or another gateway: the word is theirs alone.
pub(super) fn said_by_sidecar(party: &Party) -> Option<Reach> {
    if !matches!(party.caller, Caller::Member { .. } | Caller::Gateway) {
        return None;
    }
    let here = party.context.here.as_deref()?;
    Some(Reach::Here { from: NodeId::given(here).filter(|_| here != "*") })
}

/// Whether a push that may have arrived at the gateway may go there again. It remembers what is in its own queues; what it has
/// passed on to a partner, that partner may not.
pub(super) fn doubt(hop: &Hop<'_>) -> Doubt {
    if hop.errand.to == To::Partner || hop.ends_there() { Doubt::Repeat } else { Doubt::End }
}

impl Hop<'_> {
    fn ends_there(&self) -> bool {
        ends(self.snapshot, self.errand.context, self.errand.call)
    }

    pub(super) fn is_push(&self) -> bool {
        matches!(self.errand.call.operation, Operation::Push { .. })
    }

    /// How many addresses the other node has.
    pub(super) fn addresses(&self) -> usize {
        self.route.config.addresses.len()
    }

    /// When nobody waits for the answer any longer.
    pub(super) fn deadline(&self) -> Instant {
        match self.errand.to {
            To::Gateway | To::Owner => self.until + LATE,
            To::Partner => self.until,
        }
    }

    /// The answer is none: the other node ends, and the next one may have a better one. Nothing came of the call.
    pub(super) fn ended_early(&self, heard: &Heard) -> Option<Refusal> {
        let Reply::Answer(answer) = &heard.reply else { return None };
        let is_of_waiting = match &self.errand.call.operation {
            Operation::Pop => heard.reply.is_empty(),
            Operation::Push { .. } => !answer.code.is_success(),
            Operation::Peek | Operation::Release => false,
        };
        let message = || answer.message.to_string();
        let retry = if answer.code == Code::TIMEOUT { Retry::Unknown } else { Retry::Safe };
        let refusal = || Refusal { code: answer.code, message: message(), fault: Fault::Peer, retry };
        (heard.ends && is_of_waiting).then(refusal)
    }
}

impl<P: Peers> Exchange<P> {
    /// Whether this node ends and nothing came of a call, so that another node may ask whoever comes next.
    pub(super) fn ends_without(&self, reply: Result<&Reply, Option<&Refusal>>) -> bool {
        let is_nothing = match reply {
            Ok(reply) => reply.is_empty(),
            Err(refusal) => {
                refusal.is_some_and(|refusal| refusal.retry == Retry::Safe || self.may_be_repeated(refusal))
            }
        };
        is_nothing && self.channels.is_ending()
    }

    /// Whether it is open if a push is kept, and whoever owns its session next knows it by its id.
    fn may_be_repeated(&self, refusal: &Refusal) -> bool {
        let is_open = refusal.code == Code::TIMEOUT && refusal.retry == Retry::Unknown;
        is_open && refusal.fault == Fault::Ours && self.channels.shares()
    }

    /// Resolves when this gateway ends and a push of a sidecar waits for its partner, `grace` later: the sidecar brings it to
    /// the next one, if it `may_move`.
    pub(super) async fn handed_over(&self, hop: &Hop<'_>, party: &Party, grace: Duration, may_move: impl Fn() -> bool) {
        if hop.errand.to == To::Gateway || !matches!(party.caller, Caller::Member { .. }) {
            return pending().await;
        }
        self.channels.ending().await;
        sleep(grace).await;
        if !may_move() {
            pending::<()>().await;
        }
    }

    /// Sends a pop or a peek to the gateway, again and again while it is away.
    pub(super) async fn read_at_gateway(&self, hop: &Hop<'_>) -> Result<Reply, Refusal> {
        loop {
            let claim = self.claim(hop);
            match self.send(hop, claim.slip().clone()).await {
                Ok(heard) if hop.ended_early(&heard).is_none() => {
                    return Ok(leased(heard.reply, claim, heard.has_lease));
                }
                Ok(_) => drop(claim.settled(false)),
                Err(refusal) if refusal.retry == Retry::Useless => return Err(refusal),
                Err(refusal) => {
                    claim.give_back(hop.until).await;
                    if Instant::now() + PAUSE >= hop.until {
                        return Err(refusal);
                    }
                }
            }
            sleep(PAUSE.mul_f64(1.0 + rand::random::<f64>())).await;
        }
    }
}
