//! What waits for the server's own address or its machine: packets that one task takes out.
//!
//! All nodes share it: each may have as much of it waiting as is free, so that one which sends without end has half, and whoever comes
//! finds room.

use std::{
    collections::{HashMap, VecDeque},
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use crate::seam::PeerId;

/// Bytes that may wait: twice what a few connections have under way.
const MOST_BYTES: usize = 1024 * 1024;
/// Packets that may wait.
const MOST_PACKETS: usize = 4096;

/// A packet for the server, and whose it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) peer: PeerId,
    pub(crate) packet: Vec<u8>,
}

/// Packets for the server.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    reader: AtomicWaker,
}

#[derive(Debug, Default)]
struct Waiting {
    packets: VecDeque<Arrived>,
    bytes: usize,
    shares: HashMap<PeerId, Share>,
}

/// What waits of one node.
#[derive(Debug, Default)]
struct Share {
    packets: usize,
    bytes: usize,
}

impl Waiting {
    /// Puts a packet behind the others, if its node has room left.
    fn push(&mut self, peer: PeerId, packet: &[u8]) -> Option<()> {
        let free = MOST_BYTES.saturating_sub(self.bytes);
        let share = self.shares.entry(peer).or_default();
        if share.packets >= MOST_PACKETS.saturating_sub(self.packets.len()) || share.bytes + packet.len() > free {
            return None;
        }
        share.packets += 1;
        share.bytes += packet.len();
        self.bytes += packet.len();
        self.packets.push_back(Arrived { peer, packet: packet.to_vec() });
        Some(())
    }

    fn take(&mut self) -> VecDeque<Arrived> {
        self.bytes = 0;
        self.shares.clear();
        std::mem::take(&mut self.packets)
    }
}

impl Inbox {
    /// Puts a packet behind the others. `None`: there is no room for one of this node; else whether it is the first of them.
    pub(super) fn push(&self, peer: PeerId, packet: &[u8]) -> Option<bool> {
        let mut waiting = self.waiting.lock();
        waiting.push(peer, packet)?;
        Some(waiting.packets.len() == 1)
    }

    /// Nothing waits any more.
    pub(super) fn clear(&self) {
        self.waiting.lock().take();
    }

    /// Wakes whoever takes them out.
    pub(super) fn wake(&self) {
        self.reader.wake();
    }

    /// All that wait.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<VecDeque<Arrived>> {
        self.reader.register(cx.waker());
        let mut waiting = self.waiting.lock();
        if waiting.packets.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(waiting.take())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn it_is_bounded_and_gives_all_out_at_once() {
        let inbox = Inbox::default();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(inbox.poll_take(&mut cx).is_pending());
        assert_eq!(inbox.push(PeerId(1), b"first"), Some(true));
        let more = (0..).take_while(|_| inbox.push(PeerId(2), &[7; 1400]) == Some(false)).count();
        assert!((MOST_BYTES / 2800 - 1..=MOST_BYTES / 2800).contains(&more), "{more}");
        let Poll::Ready(all) = inbox.poll_take(&mut cx) else { panic!("nothing") };
        assert_eq!((all.len(), &all[0]), (more + 1, &Arrived { peer: PeerId(1), packet: b"first".to_vec() }));
        assert_eq!(inbox.push(PeerId(1), &[7; 1400]), Some(true));
    }

    #[test]
    fn nodes_that_send_without_end_leave_room_for_those_that_come_late() {
        for size in [20, 1400] {
            let inbox = Inbox::default();
            let fill = |peer| (0..).take_while(|_| inbox.push(PeerId(peer), &vec![7; size]).is_some()).count();
            let hogs: Vec<_> = (1..=4).map(fill).collect();
            let late = (0..20).filter(|_| inbox.push(PeerId(9), &vec![7; size]).is_some()).count();
            assert_eq!(late, 20, "packets of {size}, behind {hogs:?}");
        }
    }
}
