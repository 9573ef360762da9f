//! Work that takes longer than one question for it: all who ask at the same time share it, and whoever asks again gets what
//! came of it, once. The next one begins anew.
//!
//! Pure: the time comes in as a value, and whoever begins does the work.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// What came of it, and when.
pub(super) type Done<R> = Option<(Instant, R)>;

/// The work under way, and what nobody has fetched yet.
#[derive(Debug)]
pub(super) struct Turns<K, R> {
    all: HashMap<K, watch::Receiver<Done<R>>>,
    most: usize,
    kept: Duration,
}

/// What becomes of a question.
#[derive(Debug)]
pub(super) enum Turn<R> {
    /// Somebody is at it, or was: wait for what comes of it.
    Shared(watch::Receiver<Done<R>>),
    /// The work is to be done, and said here.
    New(watch::Sender<Done<R>>, watch::Receiver<Done<R>>),
    /// Too much is under way.
    Full,
}

impl<K: Clone + Eq + Hash, R> Turns<K, R> {
    /// At most `most` at once; what came of one waits for so long to be fetched.
    pub(super) fn new(most: usize, kept: Duration) -> Self {
        Self { all: HashMap::new(), most, kept }
    }

    /// What becomes of a question for `key`.
    pub(super) fn ask(&mut self, key: &K, now: Instant) -> Turn<R> {
        let kept = self.kept;
        self.all.retain(|_, found| match &*found.borrow() {
            Some((at, _)) => now.saturating_duration_since(*at) < kept,
            // Work that ended without a word is nobody's.
            None => found.has_changed().is_ok(),
        });
        if let Some(found) = self.all.get(key) {
            return Turn::Shared(found.clone());
        }
        if self.all.values().filter(|found| found.borrow().is_none()).count() >= self.most {
            return Turn::Full;
        }
        let (done, found) = watch::channel(None);
        self.all.insert(key.clone(), found.clone());
        Turn::New(done, found)
    }

    /// Somebody has what came of `key`.
    pub(super) fn fetched(&mut self, key: &K) {
        if self.all.get(key).is_some_and(|found| found.borrow().is_some()) {
            self.all.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_secs(30);

    fn begun(turns: &mut Turns<&str, u8>, key: &'static str, now: Instant) -> watch::Sender<Done<u8>> {
        match turns.ask(&key, now) {
            Turn::New(done, _) => done,
            other => panic!("{key}: {other:?}"),
        }
    }

    fn shared(turns: &mut Turns<&str, u8>, key: &'static str, now: Instant) -> Option<u8> {
        match turns.ask(&key, now) {
            Turn::Shared(found) => found.borrow().map(|(_, said)| said),
            other => panic!("{key}: {other:?}"),
        }
    }

    #[test]
    fn what_is_ready_between_two_questions_is_given_to_the_second_and_to_no_third() {
        let (mut turns, now) = (Turns::new(8, KEPT), Instant::now());
        let done = begun(&mut turns, "b", now);
        assert_eq!(shared(&mut turns, "b", now), None, "both wait for the same");
        let ready = now + Duration::from_secs(3600);
        done.send_replace(Some((ready, 7)));
        assert_eq!(shared(&mut turns, "b", ready + KEPT / 2), Some(7));
        turns.fetched(&"b");
        begun(&mut turns, "b", ready + KEPT / 2);
    }

    #[test]
    fn what_nobody_fetches_and_what_ended_without_a_word_begins_anew() {
        let (mut turns, now) = (Turns::new(8, KEPT), Instant::now());
        begun(&mut turns, "b", now).send_replace(Some((now, 7)));
        let done = begun(&mut turns, "b", now + KEPT);
        turns.fetched(&"b");
        assert_eq!(shared(&mut turns, "b", now + KEPT), None, "it is under way, and what is fetched is not it");
        drop(done);
        begun(&mut turns, "b", now + KEPT);
    }

    #[test]
    fn only_so_many_are_under_way_and_those_that_are_done_do_not_count() {
        let (mut turns, now) = (Turns::new(2, KEPT), Instant::now());
        let (one, _two) = (begun(&mut turns, "1", now), begun(&mut turns, "2", now));
        assert!(matches!(turns.ask(&"3", now), Turn::Full));
        one.send_replace(Some((now, 1)));
        begun(&mut turns, "3", now);
    }
}
