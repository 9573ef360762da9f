//! Leases that another gateway of this node holds. Whoever pops reaches the gateways under one address, and its next connection may lead
//! to any of them: the one that is asked asks the others.

use std::{borrow::Cow, sync::Arc, time::Duration};

use futures::future::join_all;
use mesh_core::{Code, Refusal};
use tokio::time::Instant;

use super::{claim, exchange::Exchange, peers::Peers, settle::LeaseCall};
use crate::{Origin, TransportError};

/// What the others get to answer: less than whoever asked gets, so that it hears why it asks again.
const PATIENCE: Duration = Duration::from_secs(2);

impl<P: Peers> Exchange<P> {
    /// Has a lease of `holder` settled at the gateway that knows it.
    ///
    /// # Errors
    /// [`TransportError::NoSuchLease`] if all say that they do not; [`TransportError::Moved`] if one could not be asked.
    pub(super) async fn settle_elsewhere(&self, call: &LeaseCall<'_>, holder: &Origin) -> Result<(), TransportError> {
        let partner = match holder {
            Origin::Partner(partner) => Some(Cow::Borrowed(partner.as_str())),
            Origin::Application => None,
        };
        let call = LeaseCall { id: Cow::Borrowed(&call.id), action: call.action, partner };
        let (others, until) = (self.channels.other_gateways(), Instant::now() + PATIENCE);
        // All of them: the one that passed the call on holds it by that name, and so does the owner of the session.
        let answers = join_all(others.iter().map(|address| self.tell_gateway(address, &call, until))).await;
        if answers.iter().flatten().any(|code| code.is_success()) {
            return Ok(());
        }
        let all_know = answers.iter().all(|answer| *answer == Ok(Code::NOT_FOUND));
        Err(if all_know { TransportError::NoSuchLease } else { TransportError::Moved })
    }

    /// What another gateway answers to such a call.
    pub(super) async fn tell_gateway(
        &self,
        address: &Arc<str>,
        call: &LeaseCall<'_>,
        until: Instant,
    ) -> Result<Code, Refusal> {
        let route = self.gateways.to(&self.live.snapshot(), address).map_err(|_| TransportError::Moved)?;
        claim::code_of(self.peers.send(&route, call.request(), until).await?).await
    }
}
