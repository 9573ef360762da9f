//! Which session is a node's live one: it begins, gets its address, and ends; a second socket of the same node waits or takes over.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use mesh_websocket::{Close, CloseCode};
use tokio::time::{Instant, timeout};

use super::{Drop, Hub, Peer};
use crate::seam::{ConnState, Cut, Figures, Moved, PeerId, Route, Sessions};

/// How long a live session has to answer when a second socket of its node comes: the second one has its place within 5 s (NC section 8,
/// take-over), which takes a moment too.
const TAKE_OVER: Duration = Duration::from_millis(4_800);

/// Another session of the node is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AlreadyConnected;

impl Hub {
    /// Makes `peer` its node's session. Where there is one already it is asked, and the new one waits for the answer: one that
    /// keeps silent is dropped, and so is at once one of which the node says that it is over.
    ///
    /// # Errors
    /// The other one is alive.
    pub(crate) async fn begin(&self, peer: &Arc<Peer>, known: Option<Ipv4Addr>) -> Result<(), AlreadyConnected> {
        let mut silent = None;
        while let Err(old) = self.took(peer, silent.as_ref(), known) {
            if timeout(TAKE_OVER, old.answers()).await.is_ok() {
                return Err(AlreadyConnected);
            }
            silent = Some(old);
        }
        Ok(())
    }

    /// Makes `peer` its node's session, unless that is another one than the one that is known to be silent.
    fn took(&self, peer: &Arc<Peer>, silent: Option<&Arc<Peer>>, known: Option<Ipv4Addr>) -> Result<(), Arc<Peer>> {
        let _turn = self.telling.lock();
        let before = {
            let mut sessions = self.sessions.lock();
            if let Some(old) = sessions.get(&peer.id)
                && !old.has_ended()
                && !silent.is_some_and(|silent| Arc::ptr_eq(silent, old))
                && !peer.resumes(old)
            {
                return Err(Arc::clone(old));
            }
            let before = sessions.insert(peer.id, Arc::clone(peer));
            before.inspect(|old| {
                self.shut(old, Close::new(CloseCode::GOING_AWAY, "another socket of this node took over"));
                add(&mut self.past.lock(), &old.figures());
            })
        };
        if let Some(before) = before {
            self.past.lock().taken_over += 1;
            tracing::info!(target: "audit", peer = %peer.id, before = %before.from, from = %peer.from, "another socket of a node took its session over");
            self.desk.state(peer.id, ConnState::Idle);
            self.withdraw(&before);
        }
        if known.is_none() {
            self.desk.state(peer.id, ConnState::Init);
        }
        Ok(())
    }

    /// Gives a session its address: first comes `reply`, then whatever is sent to it. Answers whether it still was its node's.
    pub(crate) fn connect(&self, peer: &Arc<Peer>, address: Ipv4Addr, reply: &[u8]) -> bool {
        let _turn = self.telling.lock();
        {
            let sessions = self.sessions.lock();
            let is_live = sessions.get(&peer.id).is_some_and(|live| Arc::ptr_eq(live, peer));
            if !is_live || peer.has_ended() {
                return false;
            }
            peer.has_address(address);
            peer.greet(reply);
            self.table.put(address, peer);
        }
        self.desk.state(peer.id, ConnState::Connected);
        self.announce(peer);
        true
    }

    /// The session is over.
    pub(crate) fn leave(&self, peer: &Arc<Peer>) {
        let _turn = self.telling.lock();
        let was_live = {
            let mut sessions = self.sessions.lock();
            self.shut(peer, Close::default());
            let is_live = sessions.get(&peer.id).is_some_and(|live| Arc::ptr_eq(live, peer));
            if is_live {
                sessions.remove(&peer.id);
                add(&mut self.past.lock(), &peer.figures());
            }
            is_live
        };
        if was_live {
            self.desk.state(peer.id, ConnState::Idle);
        }
        self.withdraw(peer);
    }

    /// A node that was admitted and has no session after all: what was set aside for it is free again.
    pub(crate) fn give_up(&self, peer: PeerId) {
        let _turn = self.telling.lock();
        let has_session = self.sessions.lock().contains_key(&peer);
        if !has_session {
            self.desk.state(peer, ConnState::Idle);
        }
    }

    /// Ends the sessions whose nodes speak protocol 2.
    pub(crate) fn end_batching(&self, close: &Close) {
        let sessions = self.sessions.lock();
        sessions.values().filter(|peer| peer.batches()).for_each(|peer| self.shut(peer, close.clone()));
    }

    /// Ends all sessions.
    pub(crate) fn end_all(&self, close: &Close) {
        let sessions = self.sessions.lock();
        sessions.values().for_each(|peer| self.shut(peer, close.clone()));
    }

    /// Ends the sessions that have heard their answer, as `is_done` says, and those that took too long for it. Answers when the next
    /// one has.
    pub(crate) fn end_parting(&self, is_done: impl Fn(PeerId) -> bool) -> Option<Instant> {
        let (over, next) = self.parting.over(Instant::now(), is_done);
        if !over.is_empty() {
            let _sessions = self.sessions.lock();
            over.iter().for_each(|(peer, why)| self.shut(peer, word(*why)));
        }
        next
    }

    /// A session ends because its node gives no sign of life.
    pub(crate) fn found_dead(&self, peer: &Peer, why: &'static str) {
        self.past.lock().dead += 1;
        tracing::info!(target: "audit", peer = %peer.id, from = %peer.from, "a node is dead: {why}");
    }

    /// How many sessions there are.
    pub(crate) fn count(&self) -> usize {
        self.sessions.lock().len()
    }

    /// Nothing goes to it or comes from it any more. Called by whoever holds the sessions.
    fn shut(&self, peer: &Arc<Peer>, close: Close) {
        if let Some(address) = peer.address() {
            self.table.remove(address, peer);
        }
        self.end(peer, close);
    }

    /// Ends a session's packets, and its connection with a close; those that wait are dropped, and counted.
    pub(crate) fn end(&self, peer: &Peer, close: Close) {
        let dropped = peer.end(close);
        (0..dropped).for_each(|_| self.drops.count(Drop::Full));
    }
}

impl Sessions for Hub {
    fn cut(&self, peer: PeerId, why: Cut) {
        let live = {
            let sessions = self.sessions.lock();
            let live = sessions.get(&peer);
            live.inspect(|peer| self.shut(peer, word(why))).cloned()
        };
        if let Some(peer) = live {
            self.withdraw(&peer);
        }
    }

    fn cut_of(&self, authority: &str) -> Vec<PeerId> {
        let of_it: Vec<Arc<Peer>> = {
            let sessions = self.sessions.lock();
            let of_it = sessions.values().filter(|peer| peer.authority() == Some(authority));
            of_it.inspect(|peer| self.shut(peer, word(Cut::Kicked))).cloned().collect()
        };
        of_it.iter().for_each(|peer| self.withdraw(peer));
        of_it.iter().map(|peer| peer.id).collect()
    }

    fn part(&self, peer: PeerId, why: Cut) {
        let live = self.sessions.lock().get(&peer).cloned();
        if let Some(peer) = live {
            self.parting.begin(peer, why, Instant::now());
            self.inbox.wake();
        }
    }

    fn reroute(&self) {
        self.reroute();
    }

    fn device_is_up(&self) -> Option<bool> {
        self.outside.shown()
    }

    fn routes(&self) -> Vec<Route> {
        self.routes.shown()
    }

    fn figures(&self) -> Vec<Figures> {
        let mut figures: Vec<Figures> = self.sessions.lock().values().map(|peer| peer.figures()).collect();
        figures.sort_unstable_by_key(|figures| figures.peer);
        figures
    }

    fn moved(&self) -> Moved {
        let mut moved = {
            let sessions = self.sessions.lock();
            let mut moved = self.past.lock().clone();
            sessions.values().for_each(|peer| add(&mut moved, &peer.figures()));
            moved
        };
        moved.dropped = Drop::ALL.iter().map(|why| (why.word(), self.dropped(*why))).collect();
        moved
    }
}

/// How a session is told why it ends.
fn word(why: Cut) -> Close {
    match why {
        Cut::Unregistered => Close::new(CloseCode::NORMAL, "unregistered"),
        Cut::Kicked => Close::new(CloseCode::RESTART, "come again"),
    }
}

fn add(moved: &mut Moved, figures: &Figures) {
    moved.packets_in += figures.packets_in;
    moved.packets_out += figures.packets_out;
    moved.bytes_in += figures.bytes_in;
    moved.bytes_out += figures.bytes_out;
}
