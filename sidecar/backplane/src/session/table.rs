//! What this gateway knows of who owns which session. Pure but for the questions under way, which it keeps.
//!
//! What is ours stays until it is given back or lost; what is another's may be forgotten at any time. Whoever works with a session of
//! ours holds it, and what is held is not given back.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::future::{BoxFuture, Shared};
use tokio_util::sync::CancellationToken;

use super::{deed::Deed, error::SessionError, key::Key};

/// Owners that are remembered of sessions which are others': some 10 MiB.
const REMEMBERED: usize = 1 << 16;

/// A session that this gateway owns, as long as this is held: it is not given back before all are dropped.
#[derive(Clone, Debug)]
pub struct Hold(pub(crate) Arc<Tenure>);

/// One ownership of a session by this gateway.
#[derive(Debug)]
pub(crate) struct Tenure {
    pub(crate) session: Key,
    pub(crate) epoch: u64,
    /// The deed's revision in the bucket.
    revision: AtomicU64,
    /// Ends with the ownership.
    pub(crate) ended: CancellationToken,
}

/// Another gateway that owns a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub number: u16,
    /// Its life: a number that comes back in another one is another gateway.
    pub(crate) life: u64,
    /// The deed's revision in the bucket.
    pub(crate) revision: u64,
}

/// Who owns a session.
#[derive(Clone, Debug)]
pub enum Owner {
    /// This gateway.
    Here(Hold),
    /// Another one, to which the call goes on.
    There(Peer),
}

/// The answer to a question that is under way.
pub(crate) type Asking = Shared<BoxFuture<'static, Result<Owner, SessionError>>>;

/// What this gateway knows.
#[derive(Default)]
pub(crate) struct Table {
    known: HashMap<Key, Known>,
    /// Sessions of others, the one that was looked up first at the front; some are forgotten already.
    theirs: VecDeque<Key>,
}

enum Known {
    Ours(Arc<Tenure>),
    Theirs(Peer),
    Asked(Asking),
}

/// What is known of one session.
pub(crate) enum Look {
    Owner(Owner),
    Asked(Asking),
    Nothing,
}

/// What news of a deed came to.
#[derive(Debug)]
pub(crate) enum News {
    Nothing,
    /// We own it no more.
    Lost(Arc<Tenure>),
    /// Its deed is gone, although we own it.
    Missing(Arc<Tenure>),
}

impl Table {
    pub(crate) fn look(&self, session: &Key) -> Look {
        match self.known.get(session) {
            // Its log was fenced off: the bucket says the same soon.
            Some(Known::Ours(tenure)) if tenure.ended.is_cancelled() => Look::Nothing,
            Some(Known::Ours(tenure)) => Look::Owner(Owner::Here(Hold(Arc::clone(tenure)))),
            Some(Known::Theirs(peer)) => Look::Owner(Owner::There(peer.clone())),
            Some(Known::Asked(asking)) => Look::Asked(asking.clone()),
            None => Look::Nothing,
        }
    }

    /// It is being asked who owns a session.
    pub(crate) fn asked(&mut self, session: Key, asking: Asking) {
        self.known.insert(session, Known::Asked(asking));
    }

    /// The same, unless something is known of it; `false`: it is.
    pub(crate) fn asked_first(&mut self, session: &Key, asking: Asking) -> bool {
        let is_first = !self.known.contains_key(session);
        if is_first {
            self.asked(session.clone(), asking);
        }
        is_first
    }

    /// Somebody owns it.
    pub(crate) fn owned(&mut self, session: Key, owner: &Owner) {
        let known = match owner {
            Owner::Here(Hold(tenure)) => Known::Ours(Arc::clone(tenure)),
            Owner::There(peer) => {
                self.theirs.push_back(session.clone());
                Known::Theirs(peer.clone())
            }
        };
        self.known.insert(session, known);
        while self.theirs.len() > REMEMBERED {
            let Some(oldest) = self.theirs.pop_front() else { return };
            self.forget(&oldest, |_| true);
        }
    }

    /// Nobody knows who owns it.
    pub(crate) fn unknown(&mut self, session: &Key) {
        self.known.remove(session);
    }

    /// `peer` says that it owns it not, or does not answer: whoever comes next looks again.
    pub(crate) fn refused(&mut self, session: &Key, peer: &Peer) {
        self.forget(session, |known| known == peer);
    }

    /// Takes a session of ours that nobody holds, to be given back.
    pub(crate) fn take_unheld(&mut self, session: &Key, asking: impl FnOnce(&Arc<Tenure>) -> Asking) -> Option<Asking> {
        let Some(Known::Ours(tenure)) = self.known.get(session) else { return None };
        // Holds are given out by this table alone, so nobody takes one meanwhile.
        if Arc::strong_count(tenure) > 1 {
            return None;
        }
        let asking = asking(tenure);
        self.known.insert(session.clone(), Known::Asked(asking.clone()));
        Some(asking)
    }

    /// The bucket says something new of a session. `me`: the life of this gateway.
    pub(crate) fn heard(&mut self, session: &Key, revision: u64, deed: Option<&Deed>, me: u64) -> News {
        match self.known.get(session) {
            Some(Known::Ours(tenure)) if revision > tenure.revision() => {
                let tenure = Arc::clone(tenure);
                match deed {
                    None => News::Missing(tenure),
                    Some(deed) if deed.is_owned_by(me) => News::Nothing,
                    Some(_) => {
                        self.known.remove(session);
                        News::Lost(tenure)
                    }
                }
            }
            Some(Known::Theirs(peer)) if revision > peer.revision => {
                self.known.remove(session);
                News::Nothing
            }
            _ => News::Nothing,
        }
    }

    /// We own it no more; `false`: this is news of an earlier ownership.
    pub(crate) fn lost(&mut self, tenure: &Arc<Tenure>) -> bool {
        let is_it = matches!(self.known.get(&tenure.session), Some(Known::Ours(it)) if Arc::ptr_eq(it, tenure));
        if is_it {
            self.known.remove(&tenure.session);
        }
        is_it
    }

    /// All that is ours.
    pub(crate) fn ours(&self) -> Vec<Arc<Tenure>> {
        let ours = self.known.values().filter_map(|known| match known {
            Known::Ours(tenure) => Some(Arc::clone(tenure)),
            Known::Theirs(_) | Known::Asked(_) => None,
        });
        ours.collect()
    }

    /// What is ours and nobody holds.
    pub(crate) fn unheld(&self) -> HashSet<Key> {
        let unheld = self.known.iter().filter_map(|(session, known)| match known {
            Known::Ours(tenure) if Arc::strong_count(tenure) == 1 => Some(session.clone()),
            _ => None,
        });
        unheld.collect()
    }

    fn forget(&mut self, session: &Key, is_it: impl FnOnce(&Peer) -> bool) {
        if matches!(self.known.get(session), Some(Known::Theirs(peer)) if is_it(peer)) {
            self.known.remove(session);
        }
    }
}

impl Tenure {
    pub(crate) fn new(session: Key, epoch: u64, revision: u64) -> Self {
        Self { session, epoch, revision: AtomicU64::new(revision), ended: CancellationToken::new() }
    }

    /// The deed's revision in the bucket.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// The deed was written anew.
    pub(crate) fn rewritten(&self, revision: u64) {
        self.revision.fetch_max(revision, Ordering::AcqRel);
    }
}

impl Hold {
    /// How many owners the session had before this one, and one.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// Whether it is the same ownership: one that was lost and won again is another.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Ready when the session is another gateway's.
    pub async fn ended(&self) {
        self.0.ended.cancelled().await;
    }

    /// Whether the session is another gateway's.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.ended.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn hold(session: &Key, revision: u64) -> Hold {
        Hold(Arc::new(Tenure::new(session.clone(), 1, revision)))
    }

    fn never() -> Asking {
        std::future::pending().boxed().shared()
    }

    fn deed(life: u64) -> Deed {
        Deed { number: 3, life, epoch: 2, released_until: None, unpurged_below: None }
    }

    #[test]
    fn what_is_held_is_not_given_back() {
        let (mut table, session) = (Table::default(), Key::of("s"));
        table.owned(session.clone(), &Owner::Here(hold(&session, 5)));
        let Look::Owner(Owner::Here(held)) = table.look(&session) else { panic!("it is ours") };
        assert!(table.take_unheld(&session, |_| never()).is_none());
        drop(held);
        assert!(table.take_unheld(&session, |_| never()).is_some());
        assert!(matches!(table.look(&session), Look::Asked(_)), "whoever comes now waits for what comes of it");
        assert!(table.take_unheld(&session, |_| never()).is_none());
    }

    #[test]
    fn a_session_whose_log_was_fenced_off_is_ours_no_more_before_the_bucket_says_so() {
        let (mut table, session) = (Table::default(), Key::of("s"));
        let hold = hold(&session, 5);
        table.owned(session.clone(), &Owner::Here(hold.clone()));
        hold.0.ended.cancel();
        assert!(matches!(table.look(&session), Look::Nothing));
    }

    #[test]
    fn news_of_a_later_deed_ends_an_ownership_and_what_is_remembered_of_others() {
        let (mut table, session, me) = (Table::default(), Key::of("s"), 7);
        table.owned(session.clone(), &Owner::Here(hold(&session, 5)));
        assert!(matches!(table.heard(&session, 5, Some(&deed(me)), me), News::Nothing), "our own claim");
        assert!(matches!(table.heard(&session, 4, Some(&deed(8)), me), News::Nothing), "it is of before");
        assert!(matches!(table.heard(&session, 6, None, me), News::Missing(_)));
        assert!(matches!(table.heard(&session, 7, Some(&deed(8)), me), News::Lost(_)));
        assert!(matches!(table.look(&session), Look::Nothing));
        let peer = Peer { number: 3, life: 8, revision: 7 };
        table.owned(session.clone(), &Owner::There(peer.clone()));
        table.refused(&session, &Peer { revision: 6, ..peer.clone() });
        assert!(matches!(table.look(&session), Look::Owner(Owner::There(_))), "it was asked before");
        table.refused(&session, &peer);
        assert!(matches!(table.look(&session), Look::Nothing));
    }

    #[test]
    fn a_release_of_ours_whose_answer_was_lost_ends_the_ownership() {
        let (mut table, session, me) = (Table::default(), Key::of("s"), 7);
        table.owned(session.clone(), &Owner::Here(hold(&session, 5)));
        let released = Deed { released_until: Some(u64::MAX), ..deed(me) };
        assert!(matches!(table.heard(&session, 6, Some(&released), me), News::Lost(_)));
        assert!(matches!(table.look(&session), Look::Nothing));
    }

    #[test]
    fn what_is_remembered_of_others_is_bounded_and_what_is_ours_is_not_forgotten() {
        let (mut table, session) = (Table::default(), Key::of("ours"));
        table.owned(session.clone(), &Owner::Here(hold(&session, 5)));
        let peer = |revision| Owner::There(Peer { number: 3, life: 8, revision });
        for n in 0..=REMEMBERED as u64 {
            table.owned(Key::of(&n.to_string()), &peer(n));
        }
        assert_eq!((table.known.len(), table.theirs.len()), (REMEMBERED + 1, REMEMBERED));
        assert!(matches!(table.look(&Key::of("0")), Look::Nothing));
        assert!(matches!(table.look(&session), Look::Owner(Owner::Here(_))));
    }
}
