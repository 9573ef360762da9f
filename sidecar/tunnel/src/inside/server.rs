//! The task of the server's own address: what nodes sent to it goes into TCP, and what TCP answers back to them.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
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
    packet::{Flow, Ipv4},
    seam::PeerId,
    tcp::{Carrier, Key, LARGE, Owned, Stack},
};

/// Connections of all nodes together to forwards, and of one of them; with 64 KiB each way in TCP and 16 KiB before
/// the service, all are 40 MiB at most.
const FORWARDS: Bound = Bound { all: 256, of_one: 32 };
/// The same to the register plane, with which each node of LiteKube keeps a connection: as many nodes as a /20 holds, with 96 MiB and
/// what TLS and HTTP/2 take. Where they are taken, who has the most gives way to who has fewer.
const REGISTER: Bound = Bound { all: 2048, of_one: 16 };
/// Bytes on their way in each direction of a connection to the register plane: its longest message is a request for certificates.
const SMALL: usize = 8 * 1024;

/// How many connections there may be.
#[derive(Clone, Copy)]
struct Bound {
    all: usize,
    of_one: usize,
}

/// The server's own address.
pub(super) struct Server {
    hub: Arc<Hub>,
    /// Each has its own: what idles at the one costs the packets of the other nothing.
    register: Stack<PeerId>,
    forwards: Stack<PeerId>,
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
        let stack = |buffer| Stack::new((hub.subnet.server(), hub.subnet.prefix()), mtu, buffer);
        let (register, forwards) = (stack(SMALL), stack(LARGE));
        let way = Way { hub: Arc::clone(&hub), doors, wakes: Wakes::default() };
        Self { hub, register, forwards, way, sleep: Box::pin(sleep_until(Instant::now())) }
    }

    /// Serves until it panics: what it has is of no use then.
    pub(super) async fn run(mut self) {
        poll_fn(|cx| catch_unwind(AssertUnwindSafe(|| self.poll(cx))).unwrap_or(Poll::Ready(()))).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(arrived) = self.hub.inbox.poll_take(cx) {
            for Arrived { peer, packet } in arrived {
                let doors = &self.way.doors;
                let (stack, bound) = if port(&packet).is_some_and(|port| doors.is_register(port)) {
                    (&mut self.register, REGISTER)
                } else {
                    (&mut self.forwards, FORWARDS)
                };
                let may_open = |stack: &mut Stack<_>, key: &Key| doors.has(key.to.port()) && bound.admits(stack, peer);
                stack.arrive(packet, |stack, key| may_open(stack, key).then_some(peer));
            }
        }
        self.register.poll(cx, &mut self.way);
        self.forwards.poll(cx, &mut self.way);
        let has_delivered = |peer| self.register.has_delivered(&peer) && self.forwards.has_delivered(&peer);
        while let Some(next) = self.hub.end_parting(has_delivered) {
            self.sleep.as_mut().reset(next);
            if self.sleep.as_mut().poll(cx).is_pending() {
                break;
            }
        }
        Poll::Pending
    }
}

impl Bound {
    /// Whether a node may have one more.
    fn admits(self, stack: &mut Stack<PeerId>, peer: PeerId) -> bool {
        let (of_one, all) = (stack.shares().of(&peer), stack.shares().all());
        of_one < self.of_one && (all < self.all || stack.give_way_to(&peer))
    }
}

impl Owned for PeerId {
    type Whose = Self;

    fn whose(&self) -> Self {
        *self
    }
}

/// The port that a packet is for.
fn port(packet: &[u8]) -> Option<u16> {
    Flow::of(&Ipv4::read(packet).ok()?).ports.map(|(_, port)| port)
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
