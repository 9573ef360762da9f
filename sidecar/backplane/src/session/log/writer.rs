//! The task that writes a log while there is something to write, one batch at a time. What became of a batch whose answer was lost it
//! finds out: nobody is told that something was kept which was not, nor the other way round.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{Inner, wish::Group};
use crate::session::{
    batch::{Batch, Entry, Place},
    error::SessionError,
    pieces,
    shelf::Failure,
};

/// The task stays for so long when there is nothing to write: what is over is purged then, and the next batch needs no new task.
const REST: Duration = Duration::from_secs(1);
/// What nobody waits for waits so long for company: a session in use has its next push by then, and what was read and is not written yet
/// the session's next owner gives out again.
const COMPANY: Duration = Duration::from_millis(10);
/// A batch that is refused as the servers have no leader is tried again for so long: an election takes some seconds.
const ELECTION: Duration = Duration::from_secs(5);
/// For so long nothing but what stood there before is found where the log's last batch was to stand, and then the servers have lost
/// it: one that led, and does not know yet that another does, says the same until it steps down, some ten seconds later.
const LOSS: Duration = Duration::from_secs(20);
/// The first pause before a batch is tried again, and the longest; so long waits what was read and found no room.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

impl Inner {
    /// Writes for as long as there is something to write.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let mut pause = COMPANY;
            while let Some(group) = self.next() {
                if !self.write(group).await {
                    pause = PAUSES.1;
                    // Others that wait may have to wait behind it.
                    sleep(PAUSES.0).await;
                }
                self.moves().await;
                self.purge(false);
            }
            if self.state.lock().wishes.is_empty() {
                pause = REST;
            }
            if timeout(pause, self.bell.notified()).await.is_ok() {
                continue;
            }
            if self.ends() {
                return self.purge(true);
            }
        }
    }

    /// Whether the task ends: nothing is to be written. What is has waited for its time.
    fn ends(&self) -> bool {
        let mut state = self.state.lock();
        state.is_written = !state.wishes.is_empty();
        state.is_awaited = state.is_written;
        !state.is_written
    }

    /// Writes a batch. `false`: something of it is wished still.
    async fn write(&self, mut group: Group) -> bool {
        let landed = self.append(std::mem::take(&mut group.entries)).await;
        if landed == Err(SessionError::Moved) {
            // Whoever is told finds that it is so.
            self.moved.cancel();
        }
        let again = group.tell(&landed);
        let is_done = again.is_empty();
        self.state.lock().wishes.put_back(again);
        if self.moved.is_cancelled() {
            self.has_moved();
        }
        is_done
    }

    /// Another gateway owns the session: whoever waits looks for it.
    pub(super) fn has_moved(&self) {
        self.moved.cancel();
        let wishes = self.state.lock().wishes.take();
        wishes.into_iter().for_each(|wish| wish.fails(SessionError::Moved));
    }

    /// Appends a batch with these entries; answers its sequence number.
    async fn append(&self, entries: Vec<Entry>) -> Result<u64, SessionError> {
        let (number, expected) = {
            let mut state = self.state.lock();
            state.number += 1;
            (state.number, state.last)
        };
        let batch = Batch { writer: self.writer, number, epoch: self.epoch, entries };
        let sequence = self.append_surely(&batch, expected).await?;
        let mut state = self.state.lock();
        state.last = sequence;
        state.ledger.landed(sequence, &batch);
        Ok(sequence)
    }

    /// Tries until it is known what became of it.
    async fn append_surely(&self, batch: &Batch, expected: u64) -> Result<u64, SessionError> {
        let (bytes, start) = (batch.write(), Instant::now());
        let (mut is_unsure, mut pause, mut missed) = (false, PAUSES.0, None);
        loop {
            if self.moved.is_cancelled() {
                return Err(if is_unsure { SessionError::Unsure } else { SessionError::Moved });
            }
            match self.shelf.append(self.subject.clone(), bytes.clone(), expected).await {
                Ok(sequence) => return Ok(sequence),
                Err(Failure::Refused(SessionError::Away(_))) if start.elapsed() < ELECTION => {}
                Err(Failure::Refused(why)) if !is_unsure => return Err(why),
                Err(Failure::Refused(_)) => {}
                Err(Failure::Behind) => match self.behind(batch, expected, &mut missed).await {
                    Some(Behind::Landed(sequence)) => return Ok(sequence),
                    Some(Behind::Another) if is_unsure => {
                        self.has_moved();
                        return Err(SessionError::Unsure);
                    }
                    Some(Behind::Another) => return Err(SessionError::Moved),
                    // It is under way still, or nobody answers.
                    None => {}
                },
                Err(Failure::Unsure(why)) => {
                    tracing::debug!(session = %self.session, "it is not known yet whether a batch was kept: {why}");
                    is_unsure = true;
                }
            }
            // Whoever is told meanwhile that this one is no owner any more ends the wait.
            let _ = timeout(pause, self.moved.cancelled()).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Something else stands where the batch was to stand; `None`: nobody knows yet what. `missed`: since when what stood before it is
    /// missed.
    async fn behind(&self, batch: &Batch, expected: u64, missed: &mut Option<Instant>) -> Option<Behind> {
        let last = self.shelf.last(&self.subject).await.ok()?;
        match last.map(|(sequence, bytes)| (sequence, Batch::read(bytes))) {
            // Whoever owns it now has read and purged all. What of the batch that one saw nobody can tell.
            None => Some(Behind::Another),
            Some((sequence, Some(last))) if last.writer == batch.writer && last.number == batch.number => {
                Some(Behind::Landed(sequence))
            }
            Some((sequence, _)) if sequence > expected => Some(Behind::Another),
            Some((sequence, _)) if sequence < expected => {
                let is_lost = missed.get_or_insert_with(Instant::now).elapsed() >= LOSS;
                is_lost.then(|| self.has_lost(expected, sequence))
            }
            Some(_) => None,
        }
    }

    /// The servers have no more what they said they have kept, as after a loss of power: this log is at its end, and what is left of it
    /// is opened anew.
    fn has_lost(&self, expected: u64, found: u64) -> Behind {
        tracing::warn!(
            session = %self.session,
            expected, found,
            "JetStream has lost the end of a log that it had confirmed: it is opened anew, with what is left"
        );
        Behind::Another
    }

    /// Moves old records to the end where they keep much alive that nobody needs.
    async fn moves(&self) {
        while let Some((sequence, places)) = self.moved_next() {
            let moved = match self.shelf.message(sequence).await.map(Batch::read) {
                Ok(Some(old)) => moved(sequence, &old, &places),
                Ok(None) | Err(_) => return,
            };
            if moved.is_empty() {
                return;
            }
            if let Err(why) = self.append(moved).await {
                tracing::debug!(session = %self.session, "old records are not moved: {why}");
                if why == SessionError::Moved {
                    self.has_moved();
                }
                return;
            }
        }
    }

    fn moved_next(&self) -> Option<(u64, Vec<Place>)> {
        self.state.lock().ledger.moves()
    }

    /// Has purged what nobody needs, beside what is written; however little it is if `all`.
    pub(super) fn purge(self: &Arc<Self>, all: bool) {
        let (below, loose) = {
            let mut state = self.state.lock();
            if state.is_purged {
                return;
            }
            let (below, loose) = (state.ledger.purges(all), state.ledger.take_loose());
            state.is_purged = below.is_some() || !loose.is_empty();
            (below, loose)
        };
        if below.is_none() && loose.is_empty() {
            return;
        }
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            for one in loose {
                // In vain: whoever opens the log next finds that nothing names them.
                let _ = pieces::purge(&inner.shelf, &inner.session, one.name, None).await;
            }
            let is_done = match below {
                Some(below) => inner.shelf.purge(inner.subject.clone(), Some(below)).await.is_ok(),
                None => false,
            };
            let mut state = inner.state.lock();
            state.is_purged = false;
            if let Some(below) = below.filter(|_| is_done) {
                state.ledger.purged(below);
            }
        });
    }
}

/// What stands where a batch was to stand.
enum Behind {
    /// The batch itself: an answer was lost.
    Landed(u64),
    /// Something of another owner, or nothing that it left; or the servers have lost what came before it.
    Another,
}

/// The records of a batch that count, as they are moved.
fn moved(sequence: u64, old: &Batch, places: &[Place]) -> Vec<Entry> {
    let all = (0..).zip(&old.entries).filter_map(|(index, entry)| match entry {
        Entry::Record(body) => Some((Place { sequence, index }, body)),
        Entry::Moved(place, body) => Some((*place, body)),
        Entry::Consumed(_) => None,
    });
    let counting = all.filter(|(place, _)| places.contains(place));
    counting.map(|(place, body)| Entry::Moved(place, body.clone())).collect()
}
