//! What waits for the server's own address: packets of TCP, which one task takes out.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use crate::seam::PeerId;

/// Bytes that may wait: as much as a few connections have under way.
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
}

impl Inbox {
    /// Puts a packet behind the others. `None`: there is no room; else whether it is the first of them.
    pub(super) fn push(&self, peer: PeerId, packet: &[u8]) -> Option<bool> {
        let mut waiting = self.waiting.lock();
        if waiting.packets.len() >= MOST_PACKETS || waiting.bytes + packet.len() > MOST_BYTES {
            return None;
        }
        waiting.bytes += packet.len();
        waiting.packets.push_back(Arrived { peer, packet: packet.to_vec() });
        Some(waiting.packets.len() == 1)
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
        waiting.bytes = 0;
        Poll::Ready(std::mem::take(&mut waiting.packets))
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
        assert_eq!(more, MOST_BYTES / 1400);
        let Poll::Ready(all) = inbox.poll_take(&mut cx) else { panic!("nothing") };
        assert_eq!((all.len(), &all[0]), (more + 1, &Arrived { peer: PeerId(1), packet: b"first".to_vec() }));
        assert_eq!(inbox.push(PeerId(1), &[7; 1400]), Some(true));
    }
}
