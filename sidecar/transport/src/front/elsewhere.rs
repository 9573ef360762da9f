//! Leases that another gateway of this node knows. Whoever pops reaches the gateways under one address, and its next connection may lead
//! to any of them. The gateway that passed the pop on and the one that owns the session know the lease by the name that the caller
//! chose: whichever is asked settles it, and the others are told.

use std::{borrow::Cow, sync::Arc, time::Duration};

use futures::future::join_all;
use mesh_core::{Code, Refusal, Route};
use tokio::time::Instant;

use super::{claim, exchange::Exchange, peers::Peers, settle::LeaseCall};
use crate::{Origin, TransportError};

/// What the others get to answer: less than whoever asked gets, so that it hears why it asks again.
const PATIENCE: Duration = Duration::from_secs(2);

impl<P: Peers> Exchange<P> {
    /// Has a lease of `holder` settled by the gateways that know it.
    ///
    /// # Errors
    /// [`TransportError::NoSuchLease`] if all say that they do not; [`TransportError::Moved`] if one could not be asked.
    pub(super) async fn settle_elsewhere(&self, call: &LeaseCall<'_>, holder: &Origin) -> Result<(), TransportError> {
        let (call, others) = (of(call, holder), self.channels.other_gateways());
        let until = Instant::now() + PATIENCE;
        let answers = join_all(others.iter().map(|address| self.tell_gateway(address, &call, until))).await;
        if answers.iter().flatten().any(|code| code.is_success()) {
            return Ok(());
        }
        let all_know = answers.iter().all(|answer| *answer == Ok(Code::NOT_FOUND));
        Err(if all_know { TransportError::NoSuchLease } else { TransportError::Moved })
    }

    /// Tells the other gateways in the background what was done here with a lease that one of them has passed on: it would take it for
    /// silence.
    pub(super) fn tell_others(&self, call: &LeaseCall<'_>, holder: &Origin) {
        let (call, until) = (of(call, holder), Instant::now() + PATIENCE);
        for address in self.channels.other_gateways() {
            let Ok(route) = self.way(&address) else { continue };
            let (peers, request) = (Arc::clone(&self.peers), call.request());
            self.settling.spawn(async move {
                if let Ok(answer) = peers.send(&route, request, until).await {
                    // Whether it knew the lease or not.
                    let _ = claim::code_of(answer).await;
                }
            });
        }
    }

    /// What another gateway answers to such a call.
    pub(super) async fn tell_gateway(
        &self,
        address: &Arc<str>,
        call: &LeaseCall<'_>,
        until: Instant,
    ) -> Result<Code, Refusal> {
        let route = self.way(address)?;
        claim::code_of(self.peers.send(&route, call.request(), until).await?).await
    }

    fn way(&self, address: &Arc<str>) -> Result<Arc<Route>, TransportError> {
        self.gateways.to(&self.live.snapshot(), address).map_err(|_| TransportError::Moved)
    }
}

/// The same call, as one gateway makes it to another on behalf of the holder.
fn of<'a>(call: &'a LeaseCall<'_>, holder: &'a Origin) -> LeaseCall<'a> {
    let partner = match holder {
        Origin::Partner(partner) => Some(Cow::Borrowed(partner.as_str())),
        Origin::Application => None,
    };
    LeaseCall { id: Cow::Borrowed(&call.id), action: call.action, partner, soon: call.soon }
}
