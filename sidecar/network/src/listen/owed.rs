//! Answers that were written to their end and that the client may not have yet (design section 6).
//!
//! Each has something that is to happen once the client surely has it. A later request of an HTTP/1.1 connection settles
//! all that were written before it, an end of the connection settles the rest in one way or the other, and whatever stays
//! open is received after a time of peace, in which its last byte was acknowledged. That last one is watched by one task per
//! connection, which is there only while something is owed; a connection in steady use therefore starts no timer for an answer.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep_until},
};

use super::Connection;

/// Settling may come so much late: it saves the task a wake-up for each of many answers.
const SLACK: Duration = Duration::from_millis(100);

/// What is to happen once the client has an answer. Dropped unrun when it was lost.
pub(super) type Received = Box<dyn FnOnce() -> Option<Finishing> + Send>;

/// The end of what happened when the client had an answer, as when that is on disk: no later answer of the connection is sent
/// before it.
pub type Finishing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What became of an answer that was written to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The client has it.
    Received,
    /// The connection was lost before that was certain.
    Lost,
}

/// The answers of one connection that are not settled.
#[derive(Debug, Default)]
pub(super) struct Owed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// In order of their writing.
    answers: VecDeque<Answer>,
    /// Whether a task watches over the time of peace.
    is_watched: bool,
    /// The connection is over: this is what became of everything.
    end: Option<Fate>,
}

struct Answer {
    /// Which request of its connection it answers.
    ordinal: u64,
    /// Where its last byte stands among all that were written.
    last_byte: u64,
    peace: Duration,
    /// When it counts as received, if that byte was acknowledged by then.
    until: Instant,
    received: Received,
}

/// Who settles an answer by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    /// A task that is there already, or nobody: it is settled.
    Kept,
    /// Nobody yet.
    Needed,
}

impl Owed {
    /// Notes what is to happen once the client of `connection` has the answer to its request `ordinal`, which was written
    /// just now.
    pub(super) fn note(connection: &Arc<Connection>, ordinal: u64, peace: Duration, received: Received) {
        let (last_byte, until) = (connection.written(), Instant::now() + peace);
        let answer = Answer { ordinal, last_byte, peace, until, received };
        if connection.owed.add(answer) == Watch::Needed
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(watch(Arc::downgrade(connection)));
        }
    }

    fn add(&self, answer: Answer) -> Watch {
        let mut state = self.0.lock();
        match state.end {
            None => {
                state.answers.push_back(answer);
                if std::mem::replace(&mut state.is_watched, true) { Watch::Kept } else { Watch::Needed }
            }
            Some(fate) => {
                drop(state);
                settle(fate, answer);
                Watch::Kept
            }
        }
    }

    /// The client asks on: it has read all answers before `ordinal`. What is not done yet of what follows from that must be done
    /// before it is answered.
    pub(super) fn asked(&self, ordinal: u64) -> Vec<Finishing> {
        let mut unfinished = Vec::new();
        while let Some(answer) = self.take(|answer| answer.ordinal < ordinal) {
            unfinished.extend((answer.received)());
        }
        unfinished
    }

    /// The connection is over.
    pub(super) fn end(&self, fate: Fate) {
        let fate = *self.0.lock().end.get_or_insert(fate);
        while let Some(answer) = self.take(|_| true) {
            settle(fate, answer);
        }
    }

    /// Settles what had its time of peace. Answers when to look again; `None`: there is nothing left to watch. The system is
    /// asked for what was `acknowledged` only where something is due.
    fn look(&self, now: Instant, acknowledged: impl FnOnce() -> u64) -> Option<Instant> {
        if self.0.lock().answers.front().is_some_and(|answer| answer.until <= now) {
            let acknowledged = acknowledged();
            while let Some(answer) = self.take(|answer| answer.until <= now && answer.last_byte <= acknowledged) {
                // Nobody hears of it.
                drop((answer.received)());
            }
        }
        let mut state = self.0.lock();
        if let Some(answer) = state.answers.front_mut().filter(|answer| answer.until <= now) {
            // Its peace has not begun. Those behind it were written later.
            answer.until = now + answer.peace;
        }
        let next = state.answers.front().map(|answer| answer.until + SLACK);
        if next.is_none() {
            state.is_watched = false;
            state.answers = VecDeque::new();
        }
        next
    }

    /// The oldest answer, if it is one of these. Settled with no lock held: what happens then may take locks of its own.
    fn take(&self, is_settled: impl FnOnce(&Answer) -> bool) -> Option<Answer> {
        let mut state = self.0.lock();
        if state.answers.front().is_some_and(is_settled) { state.answers.pop_front() } else { None }
    }
}

fn settle(fate: Fate, answer: Answer) {
    if fate == Fate::Received {
        drop((answer.received)());
    }
}

async fn watch(connection: Weak<Connection>) {
    let look = |connection: Arc<Connection>| connection.owed.look(Instant::now(), || connection.acknowledged());
    while let Some(next) = connection.upgrade().and_then(look) {
        sleep_until(next).await;
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({})", self.ordinal)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Clone, Default)]
    struct Count(Arc<AtomicUsize>);

    impl Count {
        fn answer(&self, ordinal: u64, until: Instant) -> Answer {
            let count = Arc::clone(&self.0);
            let received = Box::new(move || {
                count.fetch_add(1, Ordering::SeqCst);
                None
            });
            Answer { ordinal, last_byte: ordinal * 100, peace: PEACE, until, received }
        }

        /// How many answers were received.
        fn get(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    const PEACE: Duration = Duration::from_secs(5);
    const ALL: u64 = u64::MAX;

    #[test]
    fn a_later_request_settles_what_was_written_before_it() {
        let (owed, count, now) = (Owed::default(), Count::default(), Instant::now());
        assert_eq!(owed.add(count.answer(1, now + PEACE)), Watch::Needed);
        assert_eq!(owed.add(count.answer(2, now + PEACE)), Watch::Kept);
        owed.asked(2);
        assert_eq!(count.get(), 1);
        owed.asked(3);
        assert_eq!(count.get(), 2);
    }

    #[test]
    fn peace_settles_in_order_and_says_when_to_look_again() {
        let (owed, count, now) = (Owed::default(), Count::default(), Instant::now());
        owed.add(count.answer(1, now + PEACE));
        owed.add(count.answer(2, now + 2 * PEACE));
        assert_eq!((owed.look(now, || ALL), count.get()), (Some(now + PEACE + SLACK), 0));
        assert_eq!((owed.look(now + PEACE, || ALL), count.get()), (Some(now + 2 * PEACE + SLACK), 1));
        assert_eq!((owed.look(now + 2 * PEACE, || ALL), count.get()), (None, 2));
        assert_eq!(owed.add(count.answer(3, now)), Watch::Needed, "the watcher has gone");
    }

    #[test]
    fn what_is_not_acknowledged_has_its_peace_anew_and_what_is_written_later_does_not_disturb_it() {
        let (owed, count, now) = (Owed::default(), Count::default(), Instant::now());
        owed.add(count.answer(1, now + PEACE));
        owed.add(count.answer(2, now + PEACE));
        let soon = now + PEACE;
        assert_eq!((owed.look(soon, || 99), count.get()), (Some(soon + PEACE + SLACK), 0), "a byte is missing");
        // The second is long due when the first has had its peace, and not acknowledged.
        let later = soon + PEACE;
        assert_eq!((owed.look(later, || 199), count.get()), (Some(later + PEACE + SLACK), 1));
        assert_eq!((owed.look(later + PEACE, || 200), count.get()), (None, 2));
    }

    #[test]
    fn nobody_is_asked_while_nothing_is_due() {
        let (owed, count, now) = (Owed::default(), Count::default(), Instant::now());
        owed.add(count.answer(1, now + PEACE));
        assert!(owed.look(now, || panic!("nothing is due")).is_some());
    }

    #[test]
    fn the_end_settles_the_rest_and_what_comes_after_it_in_its_own_way() {
        for (fate, received) in [(Fate::Received, 2), (Fate::Lost, 0)] {
            let (owed, count, now) = (Owed::default(), Count::default(), Instant::now());
            owed.add(count.answer(1, now + PEACE));
            owed.end(fate);
            assert_eq!(owed.add(count.answer(2, now + PEACE)), Watch::Kept);
            assert_eq!(count.get(), received, "{fate:?}");
            owed.end(Fate::Received);
            assert_eq!(count.get(), received, "it ends once");
        }
    }
}
