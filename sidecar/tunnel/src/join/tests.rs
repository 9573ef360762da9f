//! A whole server and whole nodes of ours in one process, over real sockets.
#![allow(clippy::disallowed_methods, reason = "loopback, in tests")]

mod legacy;

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::{Duration, SystemTime},
};

use crds::Tunnel;
use mesh_core::{Drain, Workers, store::Store};
use mesh_pki::{CertificateInfo, RequestedKey};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{Confines, Exposed, Forwarded, JoinError, Member, Ticket, Ways, enrol, run};
use crate::{
    authority::{Authority, Clock, Forgotten, Places},
    control::{Certificates, Control, FrontDesk, Pem, Port, Ports, Roles, Setup, Takeover},
    hub::Hub,
    inside::{self, Doors},
    ledger::Mint,
    listen,
    seam::{ConnState, Cut, Desk, PeerId, Sessions},
    testing::tunnel,
};

/// A busy machine.
const LONG: Duration = Duration::from_secs(120);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The first two nodes.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 3);
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 5);

/// Where the register plane is told to be: a node reaches it there, wherever its listener is moved to.
const MOVED: u16 = 7440;

/// A server.
struct World {
    _home: tempfile::TempDir,
    drain: Drain,
    control: Arc<Control>,
    hub: Arc<Hub>,
    bootstrap: SocketAddr,
}

impl World {
    async fn new() -> Self {
        Self::with(Certificates::Optional, &Tunnel { interconnection: true, ..tunnel() }).await
    }

    async fn with(certificates: Certificates, tunnel: &Tunnel) -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(home.path()).unwrap());
        let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        bound.set_nonblocking(true).unwrap();
        let bootstrap = bound.local_addr().unwrap();
        let nodes = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let setup = Setup {
            home: home.path().to_owned(),
            places: Places {
                advertise: Ipv4Addr::LOCALHOST,
                subnet: tunnel.subnet.parse().unwrap(),
                bound: vec![Ipv4Addr::LOCALHOST.into()],
            },
            ports: Ports { tunnel: nodes.local_addr().unwrap().port(), register: MOVED, bootstrap: bootstrap.port() },
            roles: Roles::Joint,
            certificates,
            address_lease: None,
            limits: tunnel.limits,
        };
        // Authorities that are older than what they issue.
        Authority::open(Arc::clone(&store), &setup.places, SystemTime::now() - 400 * DAY).unwrap();
        let (control, drain) = (Arc::new(Control::open(setup, &store).unwrap()), Drain::new());
        control.serve(Port::Bootstrap, bound, &drain.handle()).unwrap();
        let desk: Arc<dyn Desk> = Arc::new(FrontDesk::new(Arc::clone(&control), drain.handle()).unwrap());
        let hub = Hub::new(Arc::clone(&desk), tunnel);
        control.set_sessions(Arc::clone(&hub) as Arc<dyn Sessions>);
        tokio::spawn(inside::serve(Arc::clone(&hub), Doors::new(desk, tunnel, Vec::new), tunnel.mtu));
        tokio::spawn(listen::serve(nodes, Arc::clone(&hub), Workers::here(), drain.handle()));
        Self { _home: home, drain, control, hub, bootstrap }
    }

    fn ticket(&self, legacy: bool) -> Ticket {
        let minted = self.control.ledger().mint(Mint { legacy, ..Mint::default() }, 0).unwrap();
        format!("{}@{}", self.control.whole(&minted.secret, legacy), self.bootstrap).parse().unwrap()
    }

    async fn enrolled(&self) -> Arc<Member> {
        Arc::new(enrol(&self.ticket(false)).await.unwrap())
    }

    async fn until(&self, node: u64, state: ConnState) {
        let is_so = || self.control.ledger().node(PeerId(node)).is_some_and(|node| node.state == state);
        eventually("the node's state", is_so).await;
    }
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("{what} is not as it shall be"));
}

/// A node that runs until it is told to stop.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), JoinError>>,
}

async fn running(member: &Arc<Member>, exposed: Vec<Exposed>) -> Running {
    started(member, Ways::open(&[], exposed, Vec::new()).await.unwrap())
}

fn started(member: &Arc<Member>, ways: Ways) -> Running {
    let (stop, stopped) = oneshot::channel();
    let member = Arc::clone(member);
    let task = tokio::spawn(async move {
        // Nothing is renewed, and so nothing is kept.
        let nowhere = std::path::Path::new("/nonexistent");
        run(member, nowhere, ways, async { drop(stopped.await) }).await
    });
    Running { stop, task }
}

/// Something that answers each connection with what it says.
async fn echo() -> (String, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tcp.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    ("127.0.0.1".into(), port)
}

/// A node with a port of loopback that leads into the tunnel.
async fn entrance(member: &Arc<Member>, to: SocketAddrV4) -> (SocketAddr, Running) {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let ways = Ways::open(&[Forwarded { listen, to }], Vec::new(), Vec::new()).await.unwrap();
    (ways.listening[0], started(member, ways))
}

async fn says(tcp: &mut TcpStream, bytes: &[u8]) {
    let (mut read, mut write) = tcp.split();
    let mut heard = vec![0; bytes.len()];
    let both = async { tokio::join!(write.write_all(bytes), read.read_exact(&mut heard)) };
    let (written, read) = timeout(LONG, both).await.expect("the echo comes in time");
    written.unwrap();
    read.unwrap();
    assert!(heard == bytes, "the echo is another");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_ours_carry_tcp_to_each_other_and_leave_in_order() {
    let world = World::new().await;
    let (one, other) = (world.enrolled().await, world.enrolled().await);
    let serving = running(&one, vec![Exposed { port: 80, to: echo().await }]).await;
    world.until(1, ConnState::Connected).await;
    let (at, calling) = entrance(&other, SocketAddrV4::new(FIRST, 80)).await;
    let mut tcp = TcpStream::connect(at).await.unwrap();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    says(&mut tcp, &bytes).await;
    assert_eq!(world.control.ledger().node(PeerId(2)).unwrap().row.address, Some(SECOND));
    // A port that leads nowhere refuses.
    let (nowhere, _third) = entrance(&world.enrolled().await, SocketAddrV4::new(FIRST, 81)).await;
    let mut refused = TcpStream::connect(nowhere).await.unwrap();
    assert!(timeout(LONG, refused.read(&mut [0])).await.expect("in time").is_ok_and(|read| read == 0));
    for node in [serving, calling] {
        node.stop.send(()).unwrap();
        node.task.await.unwrap().unwrap();
    }
    world.until(1, ConnState::Idle).await;
    world.until(2, ConnState::Idle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_goes_on_when_the_tunnel_was_away_for_a_moment() {
    let world = World::new().await;
    let (one, other) = (world.enrolled().await, world.enrolled().await);
    let _serving = running(&one, vec![Exposed { port: 80, to: echo().await }]).await;
    world.until(1, ConnState::Connected).await;
    let (at, _calling) = entrance(&other, SocketAddrV4::new(FIRST, 80)).await;
    let mut tcp = TcpStream::connect(at).await.unwrap();
    says(&mut tcp, b"before").await;
    world.hub.cut(PeerId(1), Cut::Kicked);
    world.hub.cut(PeerId(2), Cut::Kicked);
    says(&mut tcp, b"the same connection").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_known_any_more_ends() {
    let world = World::new().await;
    let member = world.enrolled().await;
    let node = running(&member, Vec::new()).await;
    world.until(1, ConnState::Connected).await;
    world.control.unregister(PeerId(1)).unwrap();
    let ended = timeout(LONG, node.task).await.expect("in time").unwrap();
    assert!(matches!(ended, Err(JoinError::Refused(_))), "{ended:?}");
    // And one that was away meanwhile: its certificate is denied.
    let late = running(&member, Vec::new()).await;
    let ended = timeout(LONG, late.task).await.expect("in time").unwrap();
    assert!(matches!(ended, Err(JoinError::Refused(_))), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_authority_ends_the_tunnels_of_its_nodes_and_of_no_other() {
    let world = World::new().await;
    let old = world.enrolled().await;
    let _old = running(&old, Vec::new()).await;
    world.until(1, ConnState::Connected).await;
    let replaced = world.control.authority().join.authority_sha256();
    let brought = super::made::authority(SystemTime::now());
    let pem = Pem { certificate: brought.certificate_pem().into(), key: brought.key().expose().into() };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().try_into().unwrap();
    world.control.take_over(&Takeover { join: Some(pem), ..Takeover::default() }, now).unwrap();
    let _new = running(&world.enrolled().await, Vec::new()).await;
    world.until(2, ConnState::Connected).await;
    let begun = |node| world.control.figures().iter().find(|live| live.peer == PeerId(node)).map(|live| live.since);
    let (first, second) = (begun(1), begun(2));
    assert!(first.is_some() && second.is_some());
    let forgotten = world.control.forget_authority(&replaced, Clock::Unsure).unwrap();
    assert_eq!(forgotten, (Forgotten::Done, vec![PeerId(1)]));
    world.until(1, ConnState::Idle).await;
    assert_eq!((begun(1), begun(2)), (None, second));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_strict_mode_a_certificate_of_another_node_opens_no_tunnel() {
    let world = World::with(Certificates::Required, &tunnel()).await;
    let (one, other) = (world.enrolled().await, world.enrolled().await);
    let mixed = Arc::new(Member { token: one.token.clone(), ..Member::clone(&other) });
    let node = running(&mixed, Vec::new()).await;
    let ended = timeout(LONG, node.task).await.expect("in time").unwrap();
    assert!(matches!(ended, Err(JoinError::Refused(_))), "{ended:?}");
    let _own = running(&one, Vec::new()).await;
    world.until(1, ConnState::Connected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_joins_once_and_a_wrong_pin_is_told_nothing() {
    let world = World::new().await;
    let ticket = world.ticket(false);
    let wrong = Ticket { pin: Some("0".repeat(64)), ..ticket.clone() };
    assert!(matches!(enrol(&wrong).await, Err(JoinError::Unreachable(_))));
    assert!(world.control.ledger().nodes().is_empty());
    let member = enrol(&ticket).await.unwrap();
    assert_eq!((member.name(), member.register.as_str()), ("n1", "10.1.1.1:7440"));
    let once = Mint { max_uses: Some(1), ..Mint::default() };
    let minted = world.control.ledger().mint(once, 0).unwrap();
    let once: Ticket = format!("{}@{}", minted.secret.expose(), world.bootstrap).parse().unwrap();
    enrol(&once).await.unwrap();
    assert!(matches!(enrol(&once).await, Err(JoinError::Refused(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn legacy_tokens_join_and_so_do_the_keys_that_a_legacy_server_makes() {
    let world = World::new().await;
    enrol(&world.ticket(true)).await.unwrap();
    // As a server of LiteKube answers: the certificates name nobody.
    let setup = world.control.setup();
    let answer = proto::nc::GetTokenResponse {
        code: "200".into(),
        network_server_ip: "127.0.0.1".into(),
        network_server_port: setup.ports.tunnel.to_string(),
        ..legacy_answer(&world).await
    };
    let member = enrol::read_legacy(answer).unwrap();
    let _node = running(&Arc::new(member), Vec::new()).await;
    world.until(2, ConnState::Connected).await;
    let refused = proto::nc::GetTokenResponse { code: "400".into(), message: "x\n".into(), ..Default::default() };
    let refused = enrol::read_legacy(refused).unwrap_err();
    assert_eq!(refused.to_string(), "the server refused: 400 x");
    world.drain.run(Duration::ZERO).await;
}

/// What GetToken answers.
async fn legacy_answer(world: &World) -> proto::nc::GetTokenResponse {
    let calls = enrol::calls(&world.ticket(true)).await.unwrap();
    enrol::get_token(&calls, &world.ticket(true), "127.0.0.1").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_in_the_last_third_of_their_life_are_renewed_through_the_tunnel_and_kept() {
    let world = World::new().await;
    let mut member = enrol(&world.ticket(false)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let keys = [&member.registered.key, &member.join.key]
        .map(|key| RequestedKey::from_pem(&RequestedKey::ask_for(key).unwrap()).unwrap());
    let past = SystemTime::now() - 300 * DAY;
    let aged = world.control.authority().for_node((PeerId(1), FIRST), (&keys[0], &keys[1]), past).unwrap();
    (member.registered.certificate, member.join.certificate) = aged;
    let left = |member: &Member| {
        [&member.registered, &member.join].map(|papers| {
            let info = CertificateInfo::from_pem(&papers.certificate).unwrap();
            info.not_after.duration_since(SystemTime::now()).unwrap() / (24 * 3600)
        })
    };
    assert!(left(&member).iter().all(|left| left.as_secs() < 66));
    member.keep(folder.path()).unwrap();
    let (place, ways) = (folder.path().to_owned(), Ways::open(&[], Vec::new(), Vec::new()).await.unwrap());
    let node = tokio::spawn(async move { run(Arc::new(member), &place, ways, std::future::pending()).await });
    let is_renewed = || {
        let kept = Member::load(folder.path()).unwrap().unwrap();
        left(&kept).iter().all(|left| left.as_secs() > 363)
    };
    eventually("the certificates that are kept", is_renewed).await;
    node.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_addresses_of_the_internet_gets_no_device_of_a_machine_that_did_not_ask_for_it() {
    let world = World::with(Certificates::Optional, &Tunnel { subnet: "203.0.113.1/24".into(), ..tunnel() }).await;
    let member = world.enrolled().await;
    let ways = Ways::open(&[], Vec::new(), Vec::new()).await.unwrap().by_device(Confines::Private);
    let ended = timeout(LONG, started(&member, ways).task).await.expect("in time").unwrap();
    let Err(JoinError::Refused(why)) = ended else { panic!("{ended:?}") };
    assert!(why.contains("203.0.113.3/24") && why.contains("--tun-public"), "{why}");
}
