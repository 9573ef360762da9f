//! What waits for all clients together. A frame counts once, however many clients it waits for. Where there is no room for one more,
//! it is not taken, and clients that hold more than their share of what there is are cut: those who read in time never do. Answers
//! to what clients send themselves count like all else.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Client, Clients};
use crate::{
    purse::{Purse, Share},
    wire::{Opcode, encode},
};

/// However many clients there are, each may hold this: what a usual network has under way.
const SHARE_AT_LEAST: usize = 64 << 10;
/// Looking through all clients takes some milliseconds for a hundred thousand, and those that were cut need a moment to let go.
const PAUSE: Duration = Duration::from_millis(50);

/// The bound, and when it was last met.
#[derive(Debug)]
pub(super) struct Pressure {
    waiting: Arc<Purse>,
    relieved: Mutex<Option<Instant>>,
}

impl Default for Pressure {
    fn default() -> Self {
        Self { waiting: Arc::new(Purse::new(usize::MAX)), relieved: Mutex::default() }
    }
}

impl Clients {
    /// What waits for all of them has so many bytes at most, from now on.
    pub fn set_most_waiting(&self, bytes: usize) {
        self.pressure.waiting.set_most(bytes);
    }

    /// Tells a client something of our own: an answer to what it sent. It is short, and never compressed: that costs more than the
    /// message that asked for it.
    pub(crate) fn tell(&self, client: &Client, text: &str) {
        self.answer(client, encode(Opcode::Text, text.as_bytes(), false), Client::answer);
    }

    /// Answers a ping.
    pub(crate) fn pong(&self, client: &Client, payload: &[u8]) {
        self.answer(client, encode(Opcode::Pong, payload, false), Client::answer_control);
    }

    /// Whoever has taken all so far is answered in any case; whoever goes on asking while others have no room is cut.
    fn answer(&self, client: &Client, frame: Bytes, put: impl FnOnce(&Client, &Bytes)) {
        // Where there is none, the first look makes some.
        let has_room = self.has_room(frame.len()) || self.has_room(frame.len());
        if has_room || client.waiting_bytes() == 0 {
            put(client, &self.counted(frame));
        } else {
            client.cut();
        }
    }

    /// Whether a message of so many bytes may wait. Where it may not, room is made for those that come after it.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let has_room = self.pressure.waiting.has_room(bytes);
        if !has_room {
            self.relieve();
        }
        has_room
    }

    /// The frame, counted as long as it waits for anybody.
    pub(super) fn counted(&self, frame: Bytes) -> Bytes {
        Share::around(&self.pressure.waiting, frame)
    }

    fn relieve(&self) {
        let now = Instant::now();
        let mut relieved = self.pressure.relieved.lock();
        if relieved.is_some_and(|before| now.duration_since(before) < PAUSE) {
            return;
        }
        *relieved = Some(now);
        drop(relieved);
        let share = SHARE_AT_LEAST.max(self.pressure.waiting.most() / self.count().max(1));
        let greedy = self.list(None, usize::MAX).into_iter().filter(|client| client.waiting_bytes() > share);
        greedy.for_each(|client| client.cut());
    }
}
