//! What this node pops at another one of our kind: the lease that it holds there until its own client has the message, or
//! surely has not (design section 6, "Across nodes").
//!
//! This node chooses the name, 128 random bits, so it can give a message back of which it only knows that it may have been
//! given out: when the answer broke off, or when its own caller went away.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Response};
use mesh_core::{Body, Code, NodeId, Refusal, Route};
use mesh_network::{Kind, Place, Slip};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    intake,
    json::Outbound,
    leases::SILENCE,
    peers::Peers,
    settle::{Action, LeaseCall},
};
use crate::{Lease, channels::Verdict};

/// A lease is renewed this often: two renewals may be lost before the other node takes the message back.
const RENEWAL: Duration = Duration::from_secs(5);
/// What one try to settle gets.
const TRY: Duration = Duration::from_secs(5);
/// The first pause between two tries, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The longest answer: a code and a text.
const LONGEST: u64 = 64 * 1024;

/// The right to a message that the answer under way may bring. Dropped, it is given up.
pub(crate) struct Claim<P: Peers> {
    slip: Slip,
    held: Option<Held<P>>,
}

/// A lease at another node.
struct Held<P> {
    /// Who tells the other node is waited for when this one ends.
    tasks: TaskTracker,
    peers: Arc<P>,
    route: Arc<Route>,
    name: String,
    /// For whom, where the other node is another gateway of this one.
    holder: Option<Holder>,
}

/// For whom a gateway holds a lease at another gateway of its node.
struct Holder {
    /// It chose the name, and may have settled it by another way.
    has_named: bool,
    /// `None`: it is an application.
    partner: Option<NodeId>,
}

impl<P: Peers> Claim<P> {
    /// A claim under a name that was never used.
    pub(crate) fn new(tasks: &TaskTracker, peers: &Arc<P>, route: &Arc<Route>) -> Self {
        Self::of(format!("{:032x}", rand::random::<u128>()), None, (tasks, peers, route))
    }

    /// A claim at the gateway that owns a session, on behalf of a partner or an application, and under the name that it chose: then it may
    /// settle it with whoever knows it.
    pub(crate) fn at_owner(
        name: Option<&str>,
        behalf: Option<NodeId>,
        tasks: &TaskTracker,
        peers: &Arc<P>,
        route: &Arc<Route>,
    ) -> Self {
        let own = || format!("{:032x}", rand::random::<u128>());
        let holder = Holder { has_named: name.is_some(), partner: behalf };
        Self::of(name.map_or_else(own, str::to_owned), Some(holder), (tasks, peers, route))
    }

    fn of(name: String, holder: Option<Holder>, (tasks, peers, route): (&TaskTracker, &Arc<P>, &Arc<Route>)) -> Self {
        let mut ours = HeaderMap::with_capacity(1);
        if let Ok(mut value) = HeaderValue::from_str(&name) {
            value.set_sensitive(true);
            ours.insert(HeaderName::from_static(super::LEASE), value);
        }
        let held = Held { tasks: tasks.clone(), peers: Arc::clone(peers), route: Arc::clone(route), name, holder };
        Self { slip: Slip::new(ours), held: Some(held) }
    }

    /// What goes with the call.
    pub(crate) fn slip(&self) -> &Slip {
        &self.slip
    }

    /// The whole answer is here. With a lease, its message is ours to settle; without one there is nothing.
    pub(crate) fn settled(mut self, has_lease: bool) -> Option<Lease> {
        let (held, went) = (self.held.take()?, self.slip.went()?);
        if !has_lease {
            return None;
        }
        let (verdict, decided) = oneshot::channel();
        let tasks = held.tasks.clone();
        tasks.spawn(held.keep(went.place, decided));
        Some(Lease::there(move |it| {
            // Without a receiver the lease was lost already.
            let _ = verdict.send(it);
        }))
    }
}

impl<P: Peers> Claim<P> {
    /// Gives up, and waits until the other node has heard of it, for so long at most.
    pub(crate) async fn give_back(mut self, until: Instant) {
        let went = self.slip.went().filter(|went| went.kind == Kind::Ours);
        if let (Some(held), Some(went)) = (self.held.take(), went) {
            let tasks = held.tasks.clone();
            let told = tasks.spawn(async move { held.settle(&went.place, Action::Return).await });
            // It goes on when nobody waits for it any longer.
            let _ = tokio::time::timeout_at(until, told).await;
        }
    }
}

impl<P: Peers> Drop for Claim<P> {
    fn drop(&mut self) {
        let went = self.slip.went().filter(|went| went.kind == Kind::Ours);
        if let (Some(held), Some(went), Ok(runtime)) = (self.held.take(), went, tokio::runtime::Handle::try_current()) {
            let tasks = held.tasks.clone();
            tasks.spawn_on(async move { held.settle(&went.place, Action::Return).await }, &runtime);
        }
    }
}

impl<P: Peers> Held<P> {
    /// Renews the lease until its own client is done, then passes on what became of it.
    async fn keep(self, place: Place, mut decided: oneshot::Receiver<Verdict>) {
        loop {
            match timeout(RENEWAL, &mut decided).await {
                Ok(Ok(Verdict::Commit)) => return self.settle(&place, Action::Commit).await,
                Ok(Ok(Verdict::Return) | Err(_)) => return self.settle(&place, Action::Return).await,
                Err(_) => {
                    if self.tell(&place, Action::Renew).await == Ok(Code::NOT_FOUND) {
                        return self.is_lost("renewed");
                    }
                }
            }
        }
    }

    /// Tells the other node until it has heard, or has surely taken the message back by itself.
    async fn settle(self, place: &Place, action: Action) {
        let (give_up, mut pause) = (Instant::now() + 2 * SILENCE, PAUSES.0);
        while Instant::now() < give_up {
            match self.tell(place, action).await {
                // Of a message that is to go back it is no news that it did.
                Ok(Code::NOT_FOUND) if action == Action::Commit => return self.is_lost("committed"),
                // Another gateway of that node may hold it, and cannot be asked now. What is to go back does so by itself.
                Ok(Code::UNREACHABLE) if action == Action::Commit => {
                    tracing::debug!(partner = %self.route.node_id, "a lease is not settled yet");
                }
                Ok(_) => return,
                Err(refusal) => tracing::debug!(partner = %self.route.node_id, "a lease is not settled yet: {refusal}"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        self.is_lost("settled");
    }

    fn is_lost(&self, what: &str) {
        let partner = &self.route.node_id;
        if self.holder.as_ref().is_some_and(|holder| holder.has_named) {
            return tracing::debug!(%partner, "a lease is {what} already, or it is too late for that");
        }
        tracing::info!(%partner, "a lease could not be {what} in time: its message may be given out again");
    }

    async fn tell(&self, place: &Place, action: Action) -> Result<Code, Refusal> {
        let call = LeaseCall {
            id: self.name.as_str().into(),
            action,
            partner: self.holder.as_ref().and_then(|holder| Some(holder.partner.as_ref()?.as_str().into())),
            // Whoever read has been answered.
            soon: self.holder.is_some(),
        };
        let mut request = call.request();
        request.extensions_mut().insert(Slip::at(HeaderMap::new(), place.clone()));
        code_of(self.peers.send(&self.route, request, Instant::now() + TRY).await?).await
    }
}

/// The code of an answer in JSON.
pub(super) async fn code_of(response: Response<Body>) -> Result<Code, Refusal> {
    let unreadable = || Refusal::of_caller(Code::UNKNOWN, "the answer cannot be read");
    let body = timeout(TRY, intake::read_short(response.into_body(), LONGEST)).await;
    let body = body.ok().and_then(Result::ok).ok_or_else(unreadable)?;
    let answer: Outbound<'_> = serde_json::from_slice(&body).map_err(|_| unreadable())?;
    answer.code.as_deref().and_then(Code::parse).ok_or_else(unreadable)
}
