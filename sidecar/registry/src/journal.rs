//! Changes of the live registrations, one after the other: judged, written to disk, in force, answered.
//!
//! Whoever comes while a write is under way waits for the next one, which takes all of them: a hundred thousand instances
//! that renew cost some writes a second, not thousands. A change that was begun is ended, also when its caller has gone:
//! disk and memory never differ.

use std::{collections::HashSet, net::IpAddr, sync::Arc, time::Duration};

use mesh_core::Caller;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    Key, Registry, RegistryError,
    catalogue::{Change, Entry, WallTime},
    dial,
    permit::Registrant,
    registry::Ahead,
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
    /// These come in, all or none.
    Put(Vec<Entry>),
    /// This goes, if it is there and the caller may.
    Remove(Key, Caller, Option<IpAddr>),
    /// What has run out by then goes.
    Expire(WallTime, Duration),
}

impl Registry {
    /// Has a change made. Answers how many entries it touched.
    pub(crate) async fn submit(self: &Arc<Self>, step: Step) -> Result<usize, RegistryError> {
        let (done, outcome) = oneshot::channel();
        if self.journal.enter(Waiting { step, done }) {
            tokio::spawn(Arc::clone(self).serve_journal());
        }
        outcome.await.unwrap_or_else(|_| Err(RegistryError::Store("the node ends".into())))
    }

    async fn serve_journal(self: Arc<Self>) {
        while let Some(first) = self.journal.next() {
            let Waiting { step, done } = first;
            match step {
                Step::Put(entries) => self.put_all(entries, done).await,
                Step::Remove(key, caller, peer) => {
                    let outcome = self.remove_one(key, &Registrant { caller: &caller, peer }).await;
                    done.send(outcome).ok();
                }
                Step::Expire(now, grace) => {
                    let gone = self.looked(|state| state.catalogue.expired(now, grace, MOST_AT_ONCE));
                    done.send(self.forget(gone).await).ok();
                }
            }
        }
    }

    /// The first, and those that came behind it meanwhile, with one write.
    async fn put_all(&self, first: Vec<Entry>, done: Done) {
        let mut ahead = Ahead::default();
        let (mut entries, mut touched) = (Vec::new(), Vec::new());
        let mut next = Some((first, done));
        while let Some((group, done)) = next.take() {
            match self.looked(|state| group.iter().try_for_each(|entry| state.admits(entry, &mut ahead))) {
                Ok(()) => {
                    touched.push((done, group.len()));
                    entries.extend(group);
                }
                Err(refusal) => drop(done.send(Err(refusal))),
            }
            if entries.len() < MOST_AT_ONCE {
                next = self.journal.next_put();
            }
        }
        // The same key twice in one write: the later one counts, as it would in two.
        let mut seen = HashSet::new();
        let mut last: Vec<Entry> =
            entries.into_iter().rev().filter(|entry| seen.insert(entry.registration.key())).collect();
        last.reverse();
        let written = if last.is_empty() { Ok(()) } else { self.kept().write(last.clone(), Vec::new()).await };
        if written.is_ok() {
            self.change(|state| last.into_iter().fold(Change::None, |change, entry| change.or(state.put(entry))));
        }
        for (done, count) in touched {
            done.send(written.clone().map(|()| count)).ok();
        }
    }

    /// What is removed is what is judged here: nobody else changes it in between.
    async fn remove_one(&self, key: Key, registrant: &Registrant<'_>) -> Result<usize, RegistryError> {
        let Some(found) = self.looked(|state| state.catalogue.live(&key).cloned()) else { return Ok(0) };
        registrant.may_name(&found, &self.configuration().load().origin, dial::is_ours)?;
        self.forget(vec![key]).await
    }

    async fn forget(&self, keys: Vec<Key>) -> Result<usize, RegistryError> {
        if keys.is_empty() {
            return Ok(0);
        }
        self.kept().write(Vec::new(), keys.clone()).await?;
        self.change(|state| keys.iter().fold(Change::None, |change, key| change.or(state.remove(key))));
        Ok(keys.len())
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
    fn next_put(&self) -> Option<(Vec<Entry>, Done)> {
        let mut queue = self.0.lock();
        match queue.waiting.pop_front()? {
            Waiting { step: Step::Put(entries), done } => Some((entries, done)),
            other => {
                queue.waiting.push_front(other);
                None
            }
        }
    }
}
