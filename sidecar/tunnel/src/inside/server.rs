//! The task of the server's own address: what nodes sent to it goes into TCP, and what TCP answers back to them.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::DuplexStream,
    time::{Instant, Sleep, sleep_until},
};

use super::doors::{Doors, Visitor};
use crate::{
    hub::{Arrived, Hub, Wakes},
    seam::PeerId,
    tcp::{Carrier, Key, Stack},
};

/// Connections of all nodes together; with their buffers that is 32 MiB at most.
const MOST: usize = 256;
/// Connections of one node: what a client of 6440 and a handful of forwards need.
const MOST_OF_ONE: usize = 32;

/// The server's own address.
pub(super) struct Server {
    hub: Arc<Hub>,
    stack: Stack<PeerId>,
    way: Way,
    /// When a session that parts has had its time.
    sleep: Pin<Box<Sleep>>,
}

/// Where packets and connections go.
struct Way {
    hub: Arc<Hub>,
    doors: Arc<Doors>,
    wakes: Wakes,
}

impl Server {
    pub(super) fn new(hub: Arc<Hub>, doors: Arc<Doors>, mtu: u16) -> Self {
        let stack = Stack::new(hub.subnet.server(), hub.subnet.prefix(), mtu);
        let way = Way { hub: Arc::clone(&hub), doors, wakes: Wakes::default() };
        Self { hub, stack, way, sleep: Box::pin(sleep_until(Instant::now())) }
    }

    /// Serves for ever.
    pub(super) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(arrived) = self.hub.inbox.poll_take(cx) {
            for Arrived { peer, packet } in arrived {
                let doors = &self.way.doors;
                self.stack.arrive(packet, |stack, key| may_open(doors, stack, key, peer).then_some(peer));
            }
        }
        self.stack.poll(cx, &mut self.way);
        while let Some(next) = self.hub.end_parting(|peer| self.stack.has_delivered(&peer)) {
            self.sleep.as_mut().reset(next);
            if self.sleep.as_mut().poll(cx).is_pending() {
                break;
            }
        }
        Poll::Pending
    }
}

fn may_open(doors: &Doors, stack: &Stack<PeerId>, key: &Key, peer: PeerId) -> bool {
    let of_one = || stack.owners().filter(|owner| **owner == peer).count();
    doors.has(key.to.port()) && stack.owners().len() < MOST && of_one() < MOST_OF_ONE
}

impl Carrier<PeerId> for Way {
    /// What a node has no room for is dropped by the hub, and sent again by TCP.
    fn has_room(&self) -> bool {
        true
    }

    fn send(&mut self, packet: &[u8]) {
        self.hub.answer(packet, &mut self.wakes);
    }

    fn sent(&mut self) {
        self.wakes.wake(&self.hub);
    }

    fn open(&mut self, key: &Key, peer: &mut PeerId, stream: DuplexStream) {
        self.doors.open(Visitor { stream, peer: *peer, from: key.from.into(), port: key.to.port() });
    }
}
