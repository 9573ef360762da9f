//! Connections of a node to the server's own address, made by a TCP of the node's own.
#![expect(clippy::redundant_closure_for_method_calls, reason = "the method alone fits one lifetime, the closure any")]
#![allow(clippy::disallowed_methods, reason = "loopback, in tests")]

use std::{net::Ipv4Addr, sync::Arc, task::Waker, time::Duration};

use crds::{Forward, Tunnel};
use mesh_websocket::{Data, Part, Read, Reader, Reading, Sender, Texts};
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    socket::tcp::{Socket, SocketBuffer, State},
    time::Instant as Moment,
    wire::{HardwareAddress, IpAddress, IpCidr},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::{sleep, timeout},
};

use super::{Doors, serve};
use crate::{
    addresses::Subnet,
    hub::{Hub, Peer, Wakes},
    packet::made,
    seam::PeerId,
    tcp::Device,
    testing::{Office, tunnel},
};

const NODE: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 3);
const LONG: Duration = Duration::from_secs(120);

/// A node with a TCP connection.
struct Node {
    hub: Arc<Hub>,
    peer: Arc<Peer>,
    reader: Reader,
    device: Device,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    start: tokio::time::Instant,
}

/// A server whose own address is served, and its control plane.
async fn world(tunnel: &Tunnel) -> (Arc<Office>, Arc<Hub>) {
    let office = Office::new();
    let hub = Hub::new(Arc::clone(&office) as Arc<_>, tunnel);
    let doors = Doors::new(Arc::clone(&office) as Arc<_>, tunnel, Vec::new);
    tokio::spawn(serve(Arc::clone(&hub), doors, 1400));
    (office, hub)
}

impl Node {
    /// Connects to a port of the server's own address.
    async fn connect(hub: &Arc<Hub>, port: u16) -> Self {
        let peer = Peer::new(PeerId(1), ([127, 0, 0, 1], 1).into(), Arc::default());
        hub.begin(&peer, Some(NODE)).await.unwrap();
        assert!(hub.connect(&peer, NODE, b"{}"));
        let mut device = Device::new(1400);
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut device, Moment::ZERO);
        interface.update_ip_addrs(|all| all.push(IpCidr::new(IpAddress::Ipv4(NODE), 24)).unwrap());
        let buffer = || SocketBuffer::new(vec![0; 64 * 1024]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.connect(interface.context(), (IpAddress::v4(10, 1, 1, 1), port), 40_000).unwrap();
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        let (hub, reader, start) = (Arc::clone(hub), Reader::default(), tokio::time::Instant::now());
        Self { hub, peer, reader, device, interface, sockets, handle, start }
    }

    /// Sends what TCP has to send, and takes in what has come.
    fn step(&mut self) {
        let now = Moment::from_micros(i64::try_from(self.start.elapsed().as_micros()).unwrap());
        while let Some(out) = self.peer.take(Waker::noop()) {
            out.pieces.iter().for_each(|piece| self.reader.extend(piece));
        }
        let reading = Reading { texts: Texts::Bytes, sender: Sender::Server, ..Reading::messages(1 << 20) };
        while let Some(read) = self.reader.next(reading).unwrap() {
            if let Read::Part(Part { data: Data::Binary(packet), .. }) = read {
                self.device.arrived = Some(packet.to_vec());
                self.interface.poll(now, &mut self.device, &mut self.sockets);
            }
        }
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        let mut wakes = Wakes::default();
        self.device.leaving.drain(..).for_each(|packet| self.hub.forward(&self.peer, &packet, &mut wakes));
        wakes.wake(&self.hub);
    }

    /// Goes on until something is so.
    async fn until(&mut self, done: impl Fn(&Socket<'_>) -> bool) {
        let going = async {
            while !done(self.sockets.get::<Socket<'_>>(self.handle)) {
                self.step();
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, going).await.expect("in time");
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Sends bytes, and reads as many.
    async fn echoed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (mut sent, mut come) = (0, Vec::new());
        let going = async {
            while come.len() < bytes.len() {
                let socket = self.socket();
                sent += socket.send_slice(&bytes[sent..]).unwrap();
                while socket.can_recv() {
                    let piece = socket.recv(|piece| (piece.len(), piece.to_vec())).unwrap();
                    come.extend(piece);
                }
                self.step();
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, going).await.expect("in time");
        come
    }
}

async fn echo(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let mut bytes = [0; 4096];
    while let Ok(size @ 1..) = stream.read(&mut bytes).await {
        stream.write_all(&bytes[..size]).await.unwrap();
    }
    stream.shutdown().await.unwrap();
}

#[tokio::test]
async fn port_6440_gets_the_connection_with_the_node_it_is_of() {
    let (office, hub) = world(&tunnel()).await;
    let mut node = Node::connect(&hub, 6440).await;
    node.until(|socket| socket.may_send()).await;
    for _ in 0..100 {
        node.step();
        tokio::task::yield_now().await;
    }
    let (stream, peer, from) = office.visits.lock().pop().expect("one came");
    assert_eq!((peer, from), (PeerId(1), (NODE, 40_000).into()));
    tokio::spawn(echo(stream));
    let bytes: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(node.echoed(&bytes).await, bytes);
    node.socket().close();
    node.until(|socket| matches!(socket.state(), State::TimeWait | State::Closed)).await;
}

#[tokio::test]
async fn a_forward_leads_to_its_target_and_other_ports_nowhere() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = target.local_addr().unwrap().to_string();
    tokio::spawn(async move { echo(target.accept().await.unwrap().0).await });
    let forwarding = Tunnel { forwards: vec![Forward { port: 80, address }], ..tunnel() };
    let (_, hub) = world(&forwarding).await;
    let mut node = Node::connect(&hub, 80).await;
    node.until(|socket| socket.may_send()).await;
    assert_eq!(node.echoed(b"hello").await, b"hello");
    hub.leave(&node.peer);
    let mut other = Node::connect(&hub, 81).await;
    // Refused, and not left waiting.
    other.until(|socket| socket.state() == State::Closed).await;
}

#[tokio::test]
async fn a_forward_to_a_listener_of_this_node_is_refused() {
    let own = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = own.local_addr().unwrap();
    let forwarding = Tunnel { forwards: vec![Forward { port: 80, address: address.to_string() }], ..tunnel() };
    let office = Office::new();
    let hub = Hub::new(Arc::clone(&office) as Arc<_>, &forwarding);
    let doors = Doors::new(office as Arc<_>, &forwarding, move || vec![address]);
    tokio::spawn(serve(Arc::clone(&hub), doors, 1400));
    let mut node = Node::connect(&hub, 80).await;
    node.until(|socket| matches!(socket.state(), State::Closed | State::CloseWait)).await;
    assert!(timeout(Duration::from_millis(200), own.accept()).await.is_err());
}

/// The kind of the last packet that a node was sent: the flags of TCP.
async fn flags(node: &Peer) -> u8 {
    let going = async {
        let mut reader = Reader::default();
        let reading = Reading { texts: Texts::Bytes, sender: Sender::Server, ..Reading::messages(1 << 20) };
        loop {
            while let Some(out) = node.take(Waker::noop()) {
                out.pieces.iter().for_each(|piece| reader.extend(piece));
            }
            while let Some(read) = reader.next(reading).unwrap() {
                if let Read::Part(Part { data: Data::Binary(packet), .. }) = read
                    && let Some(flags) = packet.get(33)
                {
                    return *flags;
                }
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, going).await.expect("in time")
}

/// Each of LiteKube's nodes keeps a connection to 6440: the 257th was refused.
#[tokio::test]
async fn each_of_three_hundred_nodes_has_its_connection_to_the_register_plane() {
    let office = Office::of(Subnet::new(Ipv4Addr::new(10, 1, 0, 1), 22).unwrap());
    let hub = Hub::new(Arc::clone(&office) as Arc<_>, &tunnel());
    let doors = Doors::new(Arc::clone(&office) as Arc<_>, &tunnel(), Vec::new);
    tokio::spawn(serve(Arc::clone(&hub), doors, 1400));
    let mut nodes = Vec::new();
    for n in 1..=300_u32 {
        let own = Ipv4Addr::from_bits(u32::from_be_bytes([10, 1, 0, 1]) + 2 * n);
        let node = Peer::new(PeerId(n.into()), ([127, 0, 0, 1], 1).into(), Arc::default());
        hub.begin(&node, Some(own)).await.unwrap();
        assert!(hub.connect(&node, own, b"{}"));
        let (mut wakes, syn) = (Wakes::default(), made::tcp(own.octets(), [10, 1, 0, 1], (40_000, 6440), 2, &[]));
        hub.forward(&node, &syn, &mut wakes);
        wakes.wake(&hub);
        nodes.push(node);
    }
    for node in &nodes {
        assert_eq!(flags(node).await, 0x12, "SYN and ACK");
    }
}

#[tokio::test]
async fn the_servers_own_address_begins_anew_when_it_panicked() {
    let (office, hub) = world(&tunnel()).await;
    office.breaks.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut node = Node::connect(&hub, 6440).await;
    node.until(|socket| socket.may_send()).await;
    // Its connection is not known any more, which it hears when it says something.
    node.socket().send_slice(b"x").unwrap();
    node.until(|socket| socket.state() == State::Closed).await;
    assert!(!office.breaks.load(std::sync::atomic::Ordering::Relaxed) && office.visits.lock().is_empty());
    hub.leave(&node.peer);
    let mut again = Node::connect(&hub, 6440).await;
    again.until(|socket| socket.may_send()).await;
    timeout(LONG, async {
        while office.visits.lock().is_empty() {
            again.step();
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("in time");
}
