//! The TCP of the server's own address. One task: packets that arrived, what connections have to move, packets that leave, and
//! the next time at which something is due.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use smoltcp::{
    iface::{Config, Interface, PollIngressSingleResult, SocketSet},
    socket::tcp::{CongestionControl, Socket, SocketBuffer, State},
    time::{Duration as Span, Instant as Moment},
    wire::{HardwareAddress, IpAddress, IpCidr},
};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    connection::Connection,
    device::Device,
    doors::{Doors, Visitor},
};
use crate::{
    hub::{Arrived, Hub, Wakes},
    packet::{Flow, Ipv4, Opening},
    seam::PeerId,
};

/// Connections of all nodes together; with their buffers that is 32 MiB at most.
const MOST: usize = 256;
/// Connections of one node: what a client of 6440 and a handful of forwards need.
const MOST_OF_ONE: usize = 32;
/// Bytes on their way in one direction of a connection: 64 KiB fill 50 Mbit/s at 10 ms.
const BUFFER: usize = 64 * 1024;
/// A node that acknowledges nothing for so long is gone.
const ACKNOWLEDGE: Span = Span::from_secs(60);
/// How often an idle connection is asked whether it is there.
const KEEP_ALIVE: Span = Span::from_secs(30);
/// Rounds of moving bytes before others of the thread have their turn.
const ROUNDS: usize = 16;
/// The longest sleep: nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// Who opened a connection: address and port, and the port it went to.
type Key = (Ipv4Addr, u16, u16);

/// All connections.
pub(super) struct Stack {
    hub: Arc<Hub>,
    doors: Arc<Doors>,
    device: Device,
    interface: Interface,
    sockets: SocketSet<'static>,
    connections: HashMap<Key, Connection>,
    start: Instant,
    sleep: Pin<Box<Sleep>>,
    wakes: Wakes,
}

impl Stack {
    pub(super) fn new(hub: Arc<Hub>, doors: Arc<Doors>, mtu: u16) -> Self {
        let (mut device, start) = (Device::new(mtu), Instant::now());
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = rand::random();
        let mut interface = Interface::new(config, &mut device, Moment::ZERO);
        let own = IpCidr::new(IpAddress::Ipv4(hub.subnet.server()), hub.subnet.prefix());
        // There is room for two.
        interface.update_ip_addrs(|all| {
            let _ = all.push(own);
        });
        Self {
            hub,
            doors,
            device,
            interface,
            sockets: SocketSet::new(Vec::new()),
            connections: HashMap::new(),
            start,
            sleep: Box::pin(sleep_until(start)),
            wakes: Wakes::default(),
        }
    }

    /// Serves for ever.
    pub(super) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            while let Poll::Ready(arrived) = self.hub.inbox.poll_take(cx) {
                arrived.into_iter().for_each(|arrived| self.arrive(arrived));
            }
            self.move_bytes(cx);
            let now = self.now();
            let delay = self.interface.poll_delay(now, &self.sockets).map_or(IDLE, Duration::from);
            self.sleep.as_mut().reset(Instant::now() + delay);
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn now(&self) -> Moment {
        Moment::from_micros(i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    /// One packet, for which there is a socket if it opens a connection that may be.
    fn arrive(&mut self, Arrived { peer, packet }: Arrived) {
        let key = key(&packet);
        let opens = key.filter(|(key, opening)| *opening == Opening::Begins && self.may_open(key, peer));
        if let Some(((address, port, to), _)) = opens {
            self.listen((address, port, to), peer);
        }
        let now = self.now();
        self.device.arrived = Some(packet);
        while self.interface.poll_ingress_single(now, &mut self.device, &mut self.sockets)
            != PollIngressSingleResult::None
        {}
        self.device.arrived = None;
        // What looked like the beginning of a connection was none.
        if let Some((key, _)) = opens
            && self.connections.get(&key).is_some_and(|it| self.state(it) == State::Listen)
        {
            self.forget(&key);
        }
    }

    fn may_open(&self, key: &Key, peer: PeerId) -> bool {
        let of_one = || self.connections.values().filter(|connection| connection.peer == peer).count();
        self.doors.has(key.2)
            && !self.connections.contains_key(key)
            && self.connections.len() < MOST
            && of_one() < MOST_OF_ONE
    }

    fn listen(&mut self, key: Key, peer: PeerId) {
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_timeout(Some(ACKNOWLEDGE));
        socket.set_keep_alive(Some(KEEP_ALIVE));
        socket.set_nagle_enabled(false);
        socket.set_congestion_control(CongestionControl::Reno);
        let (address, port, to) = key;
        if socket.listen((IpAddress::Ipv4(self.hub.subnet.server()), to)).is_err() {
            return;
        }
        let handle = self.sockets.add(socket);
        self.connections.insert(key, Connection::new(handle, peer, SocketAddr::from((address, port)), to));
    }

    fn state(&self, connection: &Connection) -> State {
        self.sockets.get::<Socket<'_>>(connection.handle).state()
    }

    fn forget(&mut self, key: &Key) {
        if let Some(connection) = self.connections.remove(key) {
            self.sockets.remove(connection.handle);
        }
    }

    /// Moves bytes between connections and those who serve them, and sends what TCP has to send.
    fn move_bytes(&mut self, cx: &mut Context<'_>) {
        for _ in 0..ROUNDS {
            let mut moved = false;
            for connection in self.connections.values_mut() {
                let socket = self.sockets.get_mut::<Socket<'_>>(connection.handle);
                if let Some(stream) = connection.established(socket) {
                    let Connection { peer, from, port, .. } = *connection;
                    self.doors.open(Visitor { stream, peer, from, port });
                }
                moved |= connection.pump(socket, cx);
            }
            self.send();
            if !moved {
                return self.forget_closed();
            }
        }
        cx.waker().wake_by_ref();
    }

    fn send(&mut self) {
        let now = self.now();
        self.interface.poll_egress(now, &mut self.device, &mut self.sockets);
        for packet in self.device.leaving.drain(..) {
            self.hub.answer(&packet, &mut self.wakes);
        }
        self.wakes.wake(&self.hub);
    }

    fn forget_closed(&mut self) {
        let is_over = |connection: &Connection| self.state(connection) == State::Closed;
        let over: Vec<Key> = self.connections.iter().filter(|(_, it)| is_over(it)).map(|(key, _)| *key).collect();
        over.iter().for_each(|key| self.forget(key));
    }
}

/// Whose connection a packet is of, and whether it begins one.
fn key(packet: &[u8]) -> Option<(Key, Opening)> {
    let read = Ipv4::read(packet).ok()?;
    let flow = Flow::of(&read);
    let (from, to) = flow.ports?;
    Some(((read.source, from, to), flow.opening))
}
