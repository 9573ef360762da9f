//! Changes of the live registrations, one after the other: judged, written to disk, in force, answered.
//!
//! Whoever comes while a write is under way waits for the next one, which takes all of them: a hundred thousand instances
//! that renew cost some writes a second, not thousands. A change that was begun is ended, also when its caller has gone:
//! disk and memory never differ.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use mesh_core::{Caller, Origin};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    Key, Registry, RegistryError,
    catalogue::{Change, Entry, WallTime},
    dial,
    permit::Registrant,
    registry::{Ahead, State},
};

/// Entries of one write: some ten milliseconds of encoding and routing, for which other changes wait, and no request does.
const MOST_AT_ONCE: usize = 1024;

/// Who waits for a change, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: std::collections::VecDeque<Waiting>,
    /// Whether somebody writes, who also takes what comes now.
    is_served: bool,
}

#[derive(Debug)]
struct Waiting {
    step: Step,
    done: Done,
}

type Done = oneshot::Sender<Result<usize, RegistryError>>;

/// A change.
#[derive(Debug)]
pub(crate) enum Step {
    /// These come in, all or none, where the caller may replace what stands there.
    Put(Vec<Entry>, Author),
    /// This goes, if it is there and the caller may.
    Remove(Key, Author),
    /// What has run out by then goes.
    Expire(WallTime, Duration),
}

/// Whose change it is; judged when its turn comes, against what is there then.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    caller: Caller,
    peer: Option<IpAddr>,
}

/// What goes with one write.
#[derive(Debug, Default)]
struct Batch {
    entries: Vec<Entry>,
    /// Where in `entries` each key is.
    places: HashMap<Key, usize>,
    ahead: Ahead,
}

impl Registry {
    /// Has a change made. Answers how many entries it touched.
    pub(crate) async fn submit(self: &Arc<Self>, step: Step) -> Result<usize, RegistryError> {
        let (done, outcome) = oneshot::channel();
        if self.journal.enter(Waiting { step, done }) {
            tokio::spawn(Arc::clone(self).serve_journal());
        }
        outcome.await.unwrap_or_else(|_| Err(RegistryError::Store("the change was given up, see the log".into())))
    }

    async fn serve_journal(self: Arc<Self>) {
        let _serving = Serving(&self.journal);
        while let Some(first) = self.journal.next() {
            let Waiting { step, done } = first;
            match step {
                Step::Put(entries, author) => self.put_all((entries, author, done)).await,
                Step::Remove(key, author) => {
                    done.send(self.remove_one(key, &author.registrant()).await).ok();
                }
                Step::Expire(now, grace) => {
                    let gone = self.looked(|state| state.catalogue.expired(now, grace, MOST_AT_ONCE));
                    done.send(self.forget(gone).await).ok();
                }
            }
        }
    }

    /// The first, and those that came behind it meanwhile, with one write.
    async fn put_all(&self, first: (Vec<Entry>, Author, Done)) {
        let origin = self.configuration().load().origin.clone();
        let (mut batch, mut touched) = (Batch::default(), Vec::new());
        let mut next = Some(first);
        while let Some((group, author, done)) = next.take() {
            let count = group.len();
            match self.looked(|state| batch.take(group, &author.registrant(), &origin, state)) {
                Ok(()) => touched.push((done, count)),
                Err(refusal) => drop(done.send(Err(refusal))),
            }
            if batch.entries.len() < MOST_AT_ONCE {
                next = self.journal.next_put();
            }
        }
        let last = batch.entries;
        let written = if last.is_empty() { Ok(()) } else { self.kept().write(last.clone(), Vec::new()).await };
        if written.is_ok() {
            self.change(|state| {
                self.tell_put(state, &last);
                last.into_iter().fold(Change::None, |change, entry| change.or(state.put(entry)))
            });
        }
        for (done, count) in touched {
            done.send(written.clone().map(|()| count)).ok();
        }
    }

    /// What is removed is what is judged here: nobody else changes it in between.
    async fn remove_one(&self, key: Key, registrant: &Registrant<'_>) -> Result<usize, RegistryError> {
        let Some(found) = self.looked(|state| state.catalogue.live(&key).cloned()) else { return Ok(0) };
        registrant.may_name(&found.registration, &self.configuration().load().origin, dial::is_ours)?;
        let gone = self.forget(vec![key.clone()]).await?;
        self.tell_removed(&key);
        Ok(gone)
    }

    async fn forget(&self, keys: Vec<Key>) -> Result<usize, RegistryError> {
        if keys.is_empty() {
            return Ok(0);
        }
        self.kept().write(Vec::new(), keys.clone()).await?;
        self.change(|state| {
            keys.iter().fold(Change::None, |change, key| {
                state.theirs.forget(key);
                change.or(state.remove(key))
            })
        });
        Ok(keys.len())
    }
}

impl Author {
    pub(crate) fn of(registrant: &Registrant<'_>) -> Self {
        Self { caller: registrant.caller.clone(), peer: registrant.peer }
    }

    fn registrant(&self) -> Registrant<'_> {
        Registrant { caller: &self.caller, peer: self.peer }
    }
}

impl Batch {
    /// Takes a group in behind those that are here, whole or not at all: one that is refused leaves nothing behind.
    fn take(
        &mut self,
        group: Vec<Entry>,
        registrant: &Registrant<'_>,
        origin: &Origin,
        state: &State,
    ) -> Result<(), RegistryError> {
        let mut own = self.ahead.group();
        for entry in &group {
            let key = entry.registration.key();
            let standing = self.places.get(&key).and_then(|at| self.entries.get(*at));
            if let Some(standing) = standing.or_else(|| state.catalogue.live(&key)) {
                state.may_replace(standing, registrant, origin)?;
            }
            state.admits(entry, &self.ahead, &mut own)?;
        }
        self.ahead.join(own);
        group.into_iter().for_each(|entry| self.add(entry));
        Ok(())
    }

    /// The same key twice in one write: the later one counts, as it would in two.
    fn add(&mut self, entry: Entry) {
        let next = self.entries.len();
        let at = *self.places.entry(entry.registration.key()).or_insert(next);
        match self.entries.get_mut(at) {
            Some(standing) => *standing = entry,
            None => self.entries.push(entry),
        }
    }
}

/// Whoever serves the journal. A panic ends the changes that wait, each with an error, and not the journal.
struct Serving<'j>(&'j Journal);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.0.lock() = Queue::default();
        }
    }
}

impl Journal {
    /// Waits in line. Answers whether nobody serves it yet.
    fn enter(&self, waiting: Waiting) -> bool {
        let mut queue = self.0.lock();
        queue.waiting.push_back(waiting);
        !std::mem::replace(&mut queue.is_served, true)
    }

    /// The next in line; where there is none, serving ends.
    fn next(&self) -> Option<Waiting> {
        let mut queue = self.0.lock();
        let next = queue.waiting.pop_front();
        queue.is_served = next.is_some();
        next
    }

    /// The next in line, if it puts.
    fn next_put(&self) -> Option<(Vec<Entry>, Author, Done)> {
        let mut queue = self.0.lock();
        match queue.waiting.pop_front()? {
            Waiting { step: Step::Put(entries, author), done } => Some((entries, author, done)),
            other => {
                queue.waiting.push_front(other);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn waiting() -> (Waiting, oneshot::Receiver<Result<usize, RegistryError>>) {
        let (done, outcome) = oneshot::channel();
        (Waiting { step: Step::Expire(WallTime(0), Duration::ZERO), done }, outcome)
    }

    #[test]
    fn a_panic_ends_the_changes_that_wait_and_not_those_that_come() {
        let journal = Journal::default();
        let ((first, _), (second, mut outcome)) = (waiting(), waiting());
        assert!(journal.enter(first), "nobody serves it yet");
        assert!(!journal.enter(second), "somebody does");
        let served = catch_unwind(AssertUnwindSafe(|| {
            let _serving = Serving(&journal);
            let _begun = journal.next();
            panic!("a change cannot be made");
        }));
        assert!(served.is_err());
        assert_eq!(outcome.try_recv(), Err(oneshot::error::TryRecvError::Closed), "told, and not left waiting");
        assert!(journal.enter(waiting().0), "the next is served again");
    }
}
