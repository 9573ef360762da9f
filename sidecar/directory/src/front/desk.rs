//! Long messages: how much of them is in memory at once, while they come and while they are answered.
//!
//! A message of 64 MiB takes some times that when it is read, so few are read at once and all others wait. What is still on its way
//! has a place by its length: who sends slowly keeps others out of his share alone, and not for ever ([`super::pace`]).

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    DirectoryError,
    error::{Code, Why},
    message::Message,
};

/// Reading a longer body takes longer than other requests should wait for a thread that serves them.
pub(super) const LONG: usize = 64 << 10;

/// Long messages that are answered at once. One that is longer than a message may be, as lines, is answered alone.
const AT_ONCE: u32 = 2;

/// Bytes of all long messages that are on their way.
const COMING: usize = 256 << 20;

/// Of them those of one central system: one of the longest.
const OF_ONE: usize = 64 << 20;

/// Where long messages are taken in.
#[derive(Debug)]
pub(super) struct Desk {
    turns: Arc<Semaphore>,
    coming: Arc<Mutex<Coming>>,
}

impl Default for Desk {
    fn default() -> Self {
        let places = usize::try_from(AT_ONCE).unwrap_or_default();
        Self { turns: Arc::new(Semaphore::new(places)), coming: Arc::default() }
    }
}

/// The turn of a long message, until it is answered.
pub(super) type Turn = OwnedSemaphorePermit;

impl Desk {
    /// Waits until a message of up to so many bytes may be read. `None`: it is short, and waits for nobody.
    pub(super) async fn turn(&self, bytes: usize) -> Option<Turn> {
        if bytes <= LONG {
            return None;
        }
        let places = if bytes > Message::SyncDataSystems.longest() { AT_ONCE } else { 1 };
        Arc::clone(&self.turns).acquire_many_owned(places).await.ok()
    }

    /// A place for a message of `csid` that is about to come.
    ///
    /// # Errors
    /// 7300 (429) where it has too many of them on their way, or all have.
    pub(super) fn place(&self, csid: &str, bytes: usize) -> Result<Place, DirectoryError> {
        if bytes <= LONG {
            return Ok(Place::SHORT);
        }
        self.coming.lock().take(csid, bytes)?;
        Ok(Place { _held: Some(Held { coming: Arc::clone(&self.coming), csid: csid.to_owned(), bytes }) })
    }
}

/// Bytes that are on their way, in all and of each central system.
#[derive(Debug, Default)]
struct Coming {
    all: usize,
    of: HashMap<String, usize>,
}

impl Coming {
    fn take(&mut self, csid: &str, bytes: usize) -> Result<(), DirectoryError> {
        let own = self.of.get(csid).copied().unwrap_or_default().saturating_add(bytes);
        let all = self.all.saturating_add(bytes);
        if own > OF_ONE || all > COMING {
            let text =
                "too many long messages are on their way: come again, and name the length of each (Content-Length)";
            return Err(DirectoryError::new(Code::BadRequest, Why::TooOften, text));
        }
        self.all = all;
        self.of.insert(csid.to_owned(), own);
        Ok(())
    }

    fn end(&mut self, csid: &str, bytes: usize) {
        self.all = self.all.saturating_sub(bytes);
        let own = self.of.get(csid).copied().unwrap_or_default().saturating_sub(bytes);
        if own == 0 {
            self.of.remove(csid);
        } else {
            self.of.insert(csid.to_owned(), own);
        }
    }
}

/// The place of a message that is on its way, until it is dropped.
#[derive(Debug)]
pub struct Place {
    _held: Option<Held>,
}

impl Place {
    /// Of a message that is short enough for everybody.
    pub(super) const SHORT: Self = Self { _held: None };
}

#[derive(Debug)]
struct Held {
    coming: Arc<Mutex<Coming>>,
    csid: String,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.coming.lock().end(&self.csid, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_all_places_and_each_is_free_again() {
        let desk = Desk::default();
        let longest: Vec<Place> = (0..4).map(|n| desk.place(&n.to_string(), OF_ONE).unwrap()).collect();
        for (csid, bytes, status) in [("0", LONG + 1, Some(429)), ("new", LONG + 1, Some(429)), ("new", LONG, None)] {
            assert_eq!(desk.place(csid, bytes).err().map(|error| error.status()), status, "{csid} {bytes}");
        }
        drop(longest);
        let half = desk.place("0", OF_ONE / 2).unwrap();
        assert!(desk.place("0", OF_ONE / 2 + 1).is_err(), "it has one of the longest, or several that are shorter");
        drop(half);
        assert!(desk.place("0", OF_ONE).is_ok());
        let coming = desk.coming.lock();
        assert!(coming.all == 0 && coming.of.is_empty());
    }

    #[tokio::test]
    async fn two_long_messages_are_answered_at_once_and_of_the_longest_one() {
        let desk = Desk::default();
        let free = |desk: &Desk| desk.turns.available_permits();
        assert!(desk.turn(LONG).await.is_none() && free(&desk) == 2);
        let (one, other) = (desk.turn(LONG + 1).await, desk.turn(8 << 20).await);
        assert!(one.is_some() && other.is_some() && free(&desk) == 0);
        drop((one, other));
        let longest = desk.turn((8 << 20) + 1).await;
        assert!(longest.is_some() && free(&desk) == 0);
    }
}
