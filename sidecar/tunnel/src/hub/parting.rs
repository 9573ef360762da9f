//! Sessions that end once their node has heard the answer to the call that ends them, which it made through its own tunnel.
//!
//! Pure: whoever has the connections of the server's own address says which of them are done.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Peer;
use crate::seam::{Cut, PeerId};

/// How long a node may take for the answer: a packet that is lost a few times is sent again within it.
const LAST_WORD: Duration = Duration::from_secs(5);

/// A session, why it ends, and when at last.
#[derive(Debug)]
struct Leaving {
    peer: Arc<Peer>,
    why: Cut,
    until: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Parting(Mutex<Vec<Leaving>>);

impl Parting {
    /// One more, unless it is among them.
    pub(super) fn begin(&self, peer: Arc<Peer>, why: Cut, now: Instant) {
        if !peer.is_parting() {
            peer.part();
            self.0.lock().push(Leaving { peer, why, until: now + LAST_WORD });
        }
    }

    /// Takes out those that are done or whose time is over at `now`; and when the next one's is.
    pub(super) fn over(
        &self,
        now: Instant,
        is_done: impl Fn(PeerId) -> bool,
    ) -> (Vec<(Arc<Peer>, Cut)>, Option<Instant>) {
        let mut leaving = self.0.lock();
        let over = leaving.extract_if(.., |it| it.until <= now || it.peer.has_ended() || is_done(it.peer.id));
        let over = over.map(|it| (it.peer, it.why)).collect();
        (over, leaving.iter().map(|it| it.until).min())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_parts_when_its_node_has_heard_the_answer_and_after_five_seconds_at_last() {
        let (parting, now) = (Parting::default(), Instant::now());
        let peer = |id| Peer::new(PeerId(id), ([127, 0, 0, 1], 1).into(), Arc::default());
        parting.begin(peer(1), Cut::Unregistered, now);
        parting.begin(peer(2), Cut::Kicked, now + LAST_WORD);
        let over = |now, done: u64| {
            let (over, next) = parting.over(now, |peer| peer.0 == done);
            (over.iter().map(|(peer, why)| (peer.id.0, *why)).collect::<Vec<_>>(), next)
        };
        assert_eq!(over(now, 0), (vec![], Some(now + LAST_WORD)));
        assert_eq!(over(now + LAST_WORD, 0), (vec![(1, Cut::Unregistered)], Some(now + 2 * LAST_WORD)));
        assert_eq!(over(now + LAST_WORD, 2), (vec![(2, Cut::Kicked)], None));
        assert_eq!(over(now + 9 * LAST_WORD, 0), (vec![], None));
    }
}
