//! All TCP connections of one address: packets that arrived, what connections have to move, packets that leave, and the next time
//! at which something is due. Whoever has it polls it from one task.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
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
use crate::{
    packet::{Flow, Ipv4, Opening},
    shares::Shares,
};

/// Bytes on their way in one direction of a connection that carries what somebody else makes: 64 KiB fill 50 Mbit/s at 10 ms.
pub(crate) const LARGE: usize = 64 * 1024;
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

/// What a connection is owned by.
pub(crate) trait Owned {
    /// By whom connections are counted.
    type Whose: Eq + Hash;

    /// Whose it is.
    fn whose(&self) -> Self::Whose;
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
pub(crate) struct Stack<O: Owned> {
    address: Ipv4Addr,
    device: Device,
    interface: Interface,
    sockets: SocketSet<'static>,
    /// What is of no connection is refused here, without a look at all those that there are.
    none: SocketSet<'static>,
    /// Bytes on their way in each direction of a connection.
    buffer: usize,
    connections: HashMap<Key, Connection<O>>,
    /// Of those that are not over, and need not give way.
    shares: Shares<O::Whose>,
    next_port: u16,
    start: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl<O: Owned> Stack<O> {
    /// Without connections, each of which will have `buffer` bytes on their way in each direction.
    pub(crate) fn new((address, prefix): (Ipv4Addr, u8), mtu: u16, buffer: usize) -> Self {
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
            none: SocketSet::new(Vec::new()),
            buffer,
            connections: HashMap::new(),
            shares: Shares::default(),
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

    /// How many connections there are, and whose. It takes as long with few as with many: whoever floods asks at each packet.
    pub(crate) fn shares(&self) -> &Shares<O::Whose> {
        &self.shares
    }

    /// Whether all that connections of an owner had to say has arrived, and each has been closed from here.
    pub(crate) fn has_delivered(&self, owner: &O) -> bool
    where
        O: PartialEq,
    {
        let mut own = self.connections.values().filter(|connection| connection.owner == *owner);
        own.all(|connection| matches!(self.state(connection), State::FinWait2 | State::TimeWait | State::Closed))
    }

    /// Makes room for one more connection where there are enough: of the owners that have the most the one gives way that was idle for the
    /// longest. `false`: one of those is `whose` itself. All connections are looked at only where one gives way.
    pub(crate) fn give_way_to(&mut self, whose: &O::Whose) -> bool {
        let most = self.shares.most();
        if self.shares.of(whose) >= most {
            return false;
        }
        let of_most = |it: &Connection<O>| it.has_place && self.shares.of(&it.owner.whose()) == most;
        let of_most = self.connections.iter().filter(|(_, it)| of_most(it));
        let Some((key, idle)) = of_most.min_by_key(|(_, it)| it.moved) else { return false };
        // The other end is told with the next packets, and then it is forgotten.
        let (key, handle) = (*key, idle.handle);
        self.sockets.get_mut::<Socket<'_>>(handle).abort();
        self.give_back(&key);
        true
    }

    /// One packet. Where it begins a connection, `admit` says whose that is, if it may be.
    pub(crate) fn arrive(&mut self, packet: Vec<u8>, admit: impl FnOnce(&mut Self, &Key) -> Option<O>) {
        let read = key(&packet);
        if let Some((key, Opening::Begins)) = &read
            && !self.connections.contains_key(key)
            && let Some(owner) = admit(self, key)
        {
            self.listen(*key, owner);
        }
        let is_of_none = read.as_ref().is_some_and(|(key, _)| !self.connections.contains_key(key));
        let now = self.now();
        let sockets = if is_of_none { &mut self.none } else { &mut self.sockets };
        self.device.arrived = Some(packet);
        while self.interface.poll_ingress_single(now, &mut self.device, sockets) != PollIngressSingleResult::None {}
        self.device.arrived = None;
        if let Some((key, _)) = read {
            self.settle(&key);
        }
    }

    /// After a packet of a connection.
    fn settle(&mut self, key: &Key) {
        match self.connections.get(key).map(|it| self.state(it)) {
            // What looked like the beginning was none, or was taken back (RFC 9293 section 3.10.7.4): it waits for whoever comes now,
            // and that may be somebody else.
            Some(State::Listen) => self.forget(key),
            Some(State::Closed) => self.give_back(key),
            _ => {}
        }
    }

    /// Begins a connection. `Err`: it cannot be, and here is the owner.
    pub(crate) fn connect(&mut self, to: SocketAddrV4, owner: O) -> Result<(), O> {
        let Some(port) = self.free_port(to) else { return Err(owner) };
        let mut socket = socket(self.buffer);
        let remote = (IpAddress::Ipv4(*to.ip()), to.port());
        if socket.connect(self.interface.context(), remote, port).is_err() {
            return Err(owner);
        }
        let key = Key { from: to, to: SocketAddrV4::new(self.address, port) };
        self.add(key, socket, owner);
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
        let mut socket = socket(self.buffer);
        if socket.listen((IpAddress::Ipv4(*key.to.ip()), key.to.port())).is_err() {
            return;
        }
        self.add(key, socket, owner);
    }

    fn add(&mut self, key: Key, socket: Socket<'static>, owner: O) {
        self.shares.take(owner.whose());
        let handle = self.sockets.add(socket);
        self.connections.insert(key, Connection::new(handle, owner));
    }

    /// The place of a connection is free, if it has one.
    fn give_back(&mut self, key: &Key) {
        if let Some(connection) = self.connections.get_mut(key).filter(|it| it.has_place) {
            connection.has_place = false;
            self.shares.give_back(&connection.owner.whose());
        }
    }

    fn state(&self, connection: &Connection<O>) -> State {
        self.sockets.get::<Socket<'_>>(connection.handle).state()
    }

    fn forget(&mut self, key: &Key) {
        self.give_back(key);
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
                if connection.pump(socket, cx) {
                    connection.moved = Instant::now();
                    moved = true;
                }
            }
            self.send(carrier);
            if !moved {
                return self.forget_closed();
            }
        }
        self.forget_closed();
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

fn socket(size: usize) -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; size]);
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
