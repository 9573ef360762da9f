//! All TCP connections of one address: packets that arrived, what connections have to move, packets that leave, and the next time
//! at which something is due. Whoever has it polls it from one task.

use std::{
    collections::HashMap,
    future::Future,
    net::{Ipv4Addr, SocketAddrV4},
    pin::Pin,
    task::Context,
    time::Duration,
};

use smoltcp::{
    iface::{Config, Interface, PollIngressSingleResult, SocketSet},
    socket::tcp::{CongestionControl, Socket, SocketBuffer, State},
    time::{Duration as Span, Instant as Moment},
    wire::{HardwareAddress, IpAddress, IpCidr},
};
use tokio::{
    io::DuplexStream,
    time::{Instant, Sleep, sleep_until},
};

use super::{connection::Connection, device::Device};
use crate::packet::{Flow, Ipv4, Opening};

/// Bytes on their way in one direction of a connection: 64 KiB fill 50 Mbit/s at 10 ms.
const BUFFER: usize = 64 * 1024;
/// Whoever acknowledges nothing for so long is gone.
const ACKNOWLEDGE: Span = Span::from_secs(60);
/// How often an idle connection is asked whether it is there.
const KEEP_ALIVE: Span = Span::from_secs(30);
/// Rounds of moving bytes before others of the thread have their turn.
const ROUNDS: usize = 16;
/// The longest sleep: nothing is due.
const IDLE: Duration = Duration::from_secs(3600);
/// Ports of connections that begin here (RFC 6335 section 6).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 49_152..=65_535;

/// A connection by its two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The other end.
    pub(crate) from: SocketAddrV4,
    /// The end here: an address of this stack, or one that it answers for.
    pub(crate) to: SocketAddrV4,
}

/// Who carries the packets, and who serves the connections.
pub(crate) trait Carrier<O> {
    /// Whether packets may leave now. Where not, they are made once it is asked again.
    fn has_room(&self) -> bool;

    /// A packet leaves.
    fn send(&mut self, packet: &[u8]);

    /// No more packets leave for now.
    fn sent(&mut self);

    /// A connection is established: its bytes go through `stream`.
    fn open(&mut self, key: &Key, owner: &mut O, stream: DuplexStream);
}

/// All connections.
pub(crate) struct Stack<O> {
    address: Ipv4Addr,
    device: Device,
    interface: Interface,
    sockets: SocketSet<'static>,
    connections: HashMap<Key, Connection<O>>,
    next_port: u16,
    start: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl<O> Stack<O> {
    /// Without connections.
    pub(crate) fn new(address: Ipv4Addr, prefix: u8, mtu: u16) -> Self {
        let (mut device, start) = (Device::new(mtu), Instant::now());
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = rand::random();
        let mut interface = Interface::new(config, &mut device, Moment::ZERO);
        // There is room for two.
        interface.update_ip_addrs(|all| {
            let _ = all.push(IpCidr::new(IpAddress::Ipv4(address), prefix));
        });
        // Networks behind other nodes are reached by the same way as all else; there is room for this one.
        let _ = interface.routes_mut().add_default_ipv4_route(address);
        Self {
            address,
            device,
            interface,
            sockets: SocketSet::new(Vec::new()),
            connections: HashMap::new(),
            next_port: rand::random_range(EPHEMERAL),
            start,
            sleep: Box::pin(sleep_until(start)),
        }
    }

    /// From now on it answers for every address that a packet is to: whoever brings packets knows for which.
    pub(crate) fn answer_for_all(&mut self) {
        self.interface.set_any_ip(true);
    }

    /// Its own address.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Whose the connections are.
    pub(crate) fn owners(&self) -> impl ExactSizeIterator<Item = &O> {
        self.connections.values().map(|connection| &connection.owner)
    }

    /// Whether all that connections of an owner had to say has arrived, and each has been closed from here.
    pub(crate) fn has_delivered(&self, owner: &O) -> bool
    where
        O: PartialEq,
    {
        let mut own = self.connections.values().filter(|connection| connection.owner == *owner);
        own.all(|connection| matches!(self.state(connection), State::FinWait2 | State::TimeWait | State::Closed))
    }

    /// One packet. Where it begins a connection, `admit` says whose that is, if it may be.
    pub(crate) fn arrive(&mut self, packet: Vec<u8>, admit: impl FnOnce(&Self, &Key) -> Option<O>) {
        let begins =
            key(&packet).filter(|(key, opening)| *opening == Opening::Begins && !self.connections.contains_key(key));
        let opens = begins.and_then(|(key, _)| admit(self, &key).map(|owner| (key, owner)));
        let opened = opens.map(|(key, owner)| {
            self.listen(key, owner);
            key
        });
        let now = self.now();
        self.device.arrived = Some(packet);
        while self.interface.poll_ingress_single(now, &mut self.device, &mut self.sockets)
            != PollIngressSingleResult::None
        {}
        self.device.arrived = None;
        // What looked like the beginning of a connection was none.
        if let Some(key) = opened
            && self.connections.get(&key).is_some_and(|it| self.state(it) == State::Listen)
        {
            self.forget(&key);
        }
    }

    /// Begins a connection. `Err`: it cannot be, and here is the owner.
    pub(crate) fn connect(&mut self, to: SocketAddrV4, owner: O) -> Result<(), O> {
        let Some(port) = self.free_port(to) else { return Err(owner) };
        let mut socket = socket();
        let remote = (IpAddress::Ipv4(*to.ip()), to.port());
        if socket.connect(self.interface.context(), remote, port).is_err() {
            return Err(owner);
        }
        let handle = self.sockets.add(socket);
        let key = Key { from: to, to: SocketAddrV4::new(self.address, port) };
        self.connections.insert(key, Connection::new(handle, owner));
        Ok(())
    }

    /// Moves bytes between connections and those who serve them, and sends what TCP has to send, until nothing is left to do now.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, carrier: &mut impl Carrier<O>) {
        loop {
            self.move_bytes(cx, carrier);
            if !carrier.has_room() {
                // It is asked again when there is.
                return;
            }
            let now = self.now();
            let delay = self.interface.poll_delay(now, &self.sockets).map_or(IDLE, Duration::from);
            self.sleep.as_mut().reset(Instant::now() + delay);
            if self.sleep.as_mut().poll(cx).is_pending() {
                return;
            }
        }
    }

    fn now(&self) -> Moment {
        Moment::from_micros(i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    fn free_port(&mut self, to: SocketAddrV4) -> Option<u16> {
        for _ in EPHEMERAL {
            let port = self.next_port;
            self.next_port = if port == *EPHEMERAL.end() { *EPHEMERAL.start() } else { port + 1 };
            if !self.connections.contains_key(&Key { from: to, to: SocketAddrV4::new(self.address, port) }) {
                return Some(port);
            }
        }
        None
    }

    fn listen(&mut self, key: Key, owner: O) {
        let mut socket = socket();
        if socket.listen((IpAddress::Ipv4(*key.to.ip()), key.to.port())).is_err() {
            return;
        }
        let handle = self.sockets.add(socket);
        self.connections.insert(key, Connection::new(handle, owner));
    }

    fn state(&self, connection: &Connection<O>) -> State {
        self.sockets.get::<Socket<'_>>(connection.handle).state()
    }

    fn forget(&mut self, key: &Key) {
        if let Some(connection) = self.connections.remove(key) {
            self.sockets.remove(connection.handle);
        }
    }

    fn move_bytes(&mut self, cx: &mut Context<'_>, carrier: &mut impl Carrier<O>) {
        for _ in 0..ROUNDS {
            let mut moved = false;
            for (key, connection) in &mut self.connections {
                let socket = self.sockets.get_mut::<Socket<'_>>(connection.handle);
                if let Some(stream) = connection.established(socket) {
                    carrier.open(key, &mut connection.owner, stream);
                }
                moved |= connection.pump(socket, cx);
            }
            self.send(carrier);
            if !moved {
                return self.forget_closed();
            }
        }
        cx.waker().wake_by_ref();
    }

    fn send(&mut self, carrier: &mut impl Carrier<O>) {
        // Answers to what arrived are made there and then.
        if carrier.has_room() {
            let now = self.now();
            self.interface.poll_egress(now, &mut self.device, &mut self.sockets);
        }
        self.device.leaving.drain(..).for_each(|packet| carrier.send(&packet));
        carrier.sent();
    }

    fn forget_closed(&mut self) {
        let is_over = |connection: &Connection<O>| self.state(connection) == State::Closed;
        let over: Vec<Key> = self.connections.iter().filter(|(_, it)| is_over(it)).map(|(key, _)| *key).collect();
        over.iter().for_each(|key| self.forget(key));
    }
}

fn socket() -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; BUFFER]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.set_timeout(Some(ACKNOWLEDGE));
    socket.set_keep_alive(Some(KEEP_ALIVE));
    socket.set_nagle_enabled(false);
    socket.set_congestion_control(CongestionControl::Reno);
    socket
}

/// Whose connection a packet is of, and whether it begins one.
fn key(packet: &[u8]) -> Option<(Key, Opening)> {
    let read = Ipv4::read(packet).ok()?;
    let flow = Flow::of(&read);
    let (from, to) = flow.ports?;
    let key = Key { from: SocketAddrV4::new(read.source, from), to: SocketAddrV4::new(read.destination, to) };
    Some((key, flow.opening))
}
