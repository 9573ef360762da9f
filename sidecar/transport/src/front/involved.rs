//! An application pushed to a partner under a session id: the session involves the partner here too, so that it may read in it (PTP
//! section 2, last paragraph). Where several gateways share their sessions, the owner of the session is told.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use mesh_core::{Code, NodeId, Refusal, SessionId};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::{
    exchange::Exchange,
    peers::Peers,
    settle::{Action, LeaseCall},
};
use crate::{Origin, TransportError, channels::Whereabouts};

/// What telling the owner may take: the push that it is about is answered after that.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries to find the owner.
const PAUSE: Duration = Duration::from_millis(50);
/// So long an owner need not be told again. Another one that took the session over since has what its log says.
const TOLD: Duration = Duration::from_secs(10);
/// Sessions and partners that are remembered: those of pushes within that time, or it is told once more.
const MOST: usize = 4096;

/// Which owners were told of late.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashMap<(SessionId, NodeId), Instant>>);

impl Told {
    fn has(&self, pair: &(SessionId, NodeId)) -> bool {
        self.0.lock().get(pair).is_some_and(|at| at.elapsed() < TOLD)
    }

    fn add(&self, pair: (SessionId, NodeId)) {
        let mut told = self.0.lock();
        if told.len() >= MOST {
            told.retain(|_, at| at.elapsed() < TOLD);
        }
        if told.len() < MOST {
            told.insert(pair, Instant::now());
        }
    }
}

impl<P: Peers> Exchange<P> {
    /// From now on `partner` may read what applications push in `session`.
    pub(super) async fn involve(&self, session: &SessionId, partner: &NodeId) {
        let involved = if self.channels.shares() && !session.is_empty() {
            self.involve_at_owner(session, partner).await
        } else {
            self.channels.involve(session, partner).map_err(Refusal::from)
        };
        // The push has succeeded; that the session was released here meanwhile is no reason to say otherwise.
        if let Err(e) = involved {
            tracing::debug!(%partner, "session not opened to the partner: {e}");
        }
    }

    async fn involve_at_owner(&self, session: &SessionId, partner: &NodeId) -> Result<(), Refusal> {
        let (pair, until) = ((session.clone(), partner.clone()), Instant::now() + PATIENCE);
        loop {
            let tried = match self.channels.locate(session, &Origin::Application, until).await {
                Ok(Whereabouts::Here) => self.channels.involve(session, partner).map_err(Refusal::from),
                Ok(Whereabouts::There(_)) if self.told.has(&pair) => return Ok(()),
                Ok(Whereabouts::There(peer)) => {
                    let told = match peer.address() {
                        Some(address) => self.tell_owner(&address, &pair, until).await,
                        None => Err(TransportError::Moved.into()),
                    };
                    match &told {
                        Ok(()) => self.told.add(pair.clone()),
                        Err(_) => peer.refused(),
                    }
                    told
                }
                Err(why) => Err(why.into()),
            };
            match tried {
                Err(refusal) if refusal.code == Code::UNREACHABLE && Instant::now() + PAUSE < until => {
                    sleep(PAUSE).await;
                }
                tried => return tried,
            }
        }
    }

    async fn tell_owner(
        &self,
        address: &std::sync::Arc<str>,
        (session, partner): &(SessionId, NodeId),
        until: Instant,
    ) -> Result<(), Refusal> {
        let partner = Some(Cow::Borrowed(partner.as_str()));
        let call = LeaseCall { id: Cow::Borrowed(session.as_str()), action: Action::Involve, partner, soon: false };
        match self.tell_gateway(address, &call, until).await? {
            code if code.is_success() => Ok(()),
            code => Err(Refusal::of_caller(code, "the owner of the session was told in vain")),
        }
    }

    /// Another gateway says so of a session that is ours.
    pub(super) async fn involved(&self, session: &SessionId, partner: &NodeId) -> Result<(), TransportError> {
        match self.channels.locate(session, &Origin::Application, Instant::now() + PATIENCE).await? {
            Whereabouts::Here => self.channels.involve(session, partner),
            Whereabouts::There(_) => Err(TransportError::Moved),
        }
    }
}
