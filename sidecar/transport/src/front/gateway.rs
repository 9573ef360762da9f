//! A sidecar and its gateway, both ends (design section 5): every channel call of a sidecar ends at its gateway, by the same hop
//! as a call to a partner.
//!
//! What differs: the gateway takes the application's word as the sidecar passes it on; a read that brought nothing because the
//! gateway went away is asked for again while its caller waits. That is safe between the two: what a broken answer may have
//! leased is given back by its name first, so nobody else's message is taken and the order is kept.

use std::time::Duration;

use mesh_core::{Caller, Code, NodeId, Refusal, Retry};
use mesh_network::route::{self, Target};
use tokio::time::{Instant, sleep};

use super::{
    call::{Answer, Operation, Reach, Reply},
    decode::Wire,
    exchange::{Exchange, Hop, Party, leased},
    hop::To,
    op::Op,
    peers::Peers,
    retries::Doubt,
};

/// An empty answer that comes so long before its time comes from a gateway that ends; later it is the usual one.
const EARLY: Duration = Duration::from_millis(250);
/// The pause before a read is asked for again; chance doubles it at most.
const PAUSE: Duration = Duration::from_millis(50);

/// How a call of `op` travels. Protobuf is the smaller; only of a peek it does not say whether an empty message is there.
pub(super) fn wire(to: To, op: Op, own: Wire) -> Wire {
    if to == To::Gateway && op != Op::Peek { Wire::Protobuf } else { own }
}

/// Where a call ends that a sidecar has decoded: the word is a member's alone.
pub(super) fn said_by_sidecar(party: &Party) -> Option<Reach> {
    let Caller::Member { .. } = party.caller else { return None };
    let here = party.context.here.as_deref()?;
    Some(Reach::Here { from: NodeId::given(here).filter(|_| here != "*") })
}

/// Whether a push that may have arrived at the gateway may go there again. It remembers what is in its own queues; what it has
/// passed on to a partner, that partner may not.
pub(super) fn doubt(hop: &Hop<'_>) -> Doubt {
    let ends_there = || matches!(route::target(hop.snapshot, hop.errand.context), Ok(Target::Local));
    if hop.errand.to == To::Partner || ends_there() { Doubt::Repeat } else { Doubt::End }
}

impl<P: Peers> Exchange<P> {
    /// Sends a pop or a peek to the gateway, again and again while it is away.
    pub(super) async fn read_at_gateway(&self, hop: &Hop<'_>) -> Result<Reply, Refusal> {
        let is_pop = hop.errand.call.operation == Operation::Pop;
        loop {
            let claim = self.claim(hop);
            match self.send(hop, claim.slip().clone()).await {
                Ok((reply, has_lease)) if !(is_pop && reply.is_empty() && Instant::now() + EARLY < hop.until) => {
                    return Ok(leased(reply, claim, has_lease));
                }
                Ok(_) => drop(claim.settled(false)),
                Err(refusal) if refusal.retry == Retry::Useless => return Err(refusal),
                Err(refusal) => {
                    claim.give_back(hop.until).await;
                    if Instant::now() + PAUSE >= hop.until {
                        return out_of_time(refusal, is_pop);
                    }
                }
            }
            sleep(PAUSE.mul_f64(1.0 + rand::random::<f64>())).await;
        }
    }
}

/// A gateway that was there and said nothing until the end has nothing; one that was away is an error.
fn out_of_time(refusal: Refusal, is_pop: bool) -> Result<Reply, Refusal> {
    if is_pop && refusal.code == Code::TIMEOUT { Ok(Reply::Answer(Answer::success(None))) } else { Err(refusal) }
}
