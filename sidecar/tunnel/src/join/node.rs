//! All of a node together, in one task: its link, which is opened again when it ends, and its TCP, which outlives the link. A
//! connection through the tunnel stalls while the link is away and goes on when it is back, if that takes less than a minute.

use std::{
    future::poll_fn,
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use tokio::{
    io::DuplexStream,
    net::TcpStream,
    sync::oneshot,
    time::{Instant, sleep},
};

use super::{
    JoinError, Member,
    backoff::Backoff,
    dial, ending,
    link::{Ended, Link},
    machine::Machine,
    open::{Opened, open},
    renew::{self, Renewing},
    ways::{Entering, Ways, carry},
};
use crate::{
    tcp::{Carrier, Key, LARGE, Owned, Stack},
    tun::Plan,
};

/// What both ends of a tunnel take where the server does not say it (NC section 4).
const MTU: u16 = 1400;
/// Connections at a time; with their buffers that is 128 MiB at most.
const MOST: usize = 1024;
/// Of these, connections that others in the tunnel made, so that this machine's own always find a place.
const MOST_LEAVING: usize = 768;
/// And those that one of them made, so that it does not take the place of the others.
const MOST_OF_ONE: usize = 256;
/// Packets that are taken in before others of the thread have their turn.
const PACKETS_IN_A_ROW: usize = 256;
/// Words of the server on networks that are shown: as many as a node announces.
const MOST_SAID: usize = 16;
/// Certificates are looked at this often; they have months left when they are due.
const RENEWAL_CHECK: Duration = Duration::from_secs(3600);
/// A certificate that ends and cannot be renewed is spoken of this often: no log is read more often for it.
const REMINDER: Duration = Duration::from_secs(24 * 3600);

/// Keeps a node's tunnel open until `stop`, and then closes it. Certificates that are renewed are kept in `folder`.
///
/// # Errors
/// [`JoinError::Refused`]: the server does not know the node any more.
pub async fn run(
    member: Arc<Member>,
    folder: &Path,
    ways: Ways,
    stop: impl Future<Output = ()>,
) -> Result<(), JoinError> {
    let mut node = Node::new(member, folder, ways);
    tokio::select! {
        refused = poll_fn(|cx| node.poll(cx)) => Err(JoinError::Refused(refused)),
        () = stop => {
            if let State::Open(link) = node.state {
                link.close().await;
            }
            Ok(())
        }
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<Opened, Ended>> + Send>>;

/// The link, or what becomes one.
enum State {
    Opening(Opening),
    Open(Box<Link>),
}

/// Whose a connection is.
enum Owner {
    /// An application's of this machine, until the connection is there.
    Entering(Option<TcpStream>),
    /// That of another node, by its address.
    Leaving(Ipv4Addr),
    /// This node's own, which asks for certificates.
    Renewing(Option<oneshot::Sender<DuplexStream>>),
}

impl Owned for Owner {
    /// Another node; none is this machine.
    type Whose = Option<Ipv4Addr>;

    fn whose(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Leaving(from) => Some(*from),
            Self::Entering(_) | Self::Renewing(_) => None,
        }
    }
}

/// A node.
struct Node {
    member: Arc<Member>,
    folder: PathBuf,
    ways: Ways,
    state: State,
    /// What the server called the link, for the one after it.
    session: Option<String>,
    /// TCP at the node's address, once it has one.
    stack: Option<(Ipv4Addr, Stack<Owner>)>,
    /// In its place, where the machine itself is in the tunnel.
    machine: Option<Machine>,
    /// The one that the server gave last.
    address: Option<Ipv4Addr>,
    backoff: Backoff,
    renewing: Option<Renewing>,
    next_look: Instant,
    next_reminder: Instant,
}

impl Node {
    fn new(member: Arc<Member>, folder: &Path, ways: Ways) -> Self {
        let state = State::Opening(Box::pin(open(Arc::clone(&member), None, Arc::clone(&ways.networks))));
        Self {
            member,
            folder: folder.to_owned(),
            ways,
            state,
            session: None,
            stack: None,
            machine: None,
            address: None,
            backoff: Backoff::default(),
            renewing: None,
            next_look: Instant::now(),
            next_reminder: Instant::now(),
        }
    }

    /// Goes on for ever, unless the server refuses the node: then it says why.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        self.remind();
        loop {
            match std::task::ready!(self.poll_once(cx)) {
                Ok(()) => {}
                // The server does not say which of them it refuses.
                Err(Ended::Refused(why)) => {
                    let word = ending::word(&self.member, SystemTime::now());
                    return Poll::Ready(word.map_or(why.clone(), |word| format!("{why}; {word}")));
                }
                Err(Ended::Later(why)) => self.again(&why),
            }
        }
    }

    /// Says that the certificate ends, at the start and once a day.
    fn remind(&mut self) {
        if Instant::now() < self.next_reminder {
            return;
        }
        self.next_reminder = Instant::now() + REMINDER;
        if let Some(word) = ending::word(&self.member, SystemTime::now()) {
            tracing::warn!(tunnel = self.member.tunnel(), "{word}");
        }
    }

    /// Ready where the state has changed.
    fn poll_once(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        match &mut self.state {
            State::Opening(opening) => {
                if let Poll::Ready(opened) = opening.as_mut().poll(cx) {
                    return Poll::Ready(opened.and_then(|opened| self.opened(opened)));
                }
                if let Some(machine) = &mut self.machine {
                    machine.discard(cx);
                }
                // What is under way keeps its time, and is sent again once the link is back.
                if let Some((_, stack)) = &mut self.stack {
                    stack.poll(cx, &mut Way { link: None, ways: &self.ways });
                }
                Poll::Pending
            }
            State::Open(_) => self.poll_open(cx).map(Err),
        }
    }

    fn opened(&mut self, Opened { link, address, prefix, mtu, session, routes }: Opened) -> Result<(), Ended> {
        if !self.ways.networks.is_empty() {
            said_of(routes.as_deref());
        }
        let mtu = mtu.unwrap_or(MTU);
        if let Some(confines) = self.ways.device {
            // Whatever the server is, the machine is not its to route.
            confines.hold(address, prefix).map_err(|e| Ended::Refused(e.to_string()))?;
            let plan = Plan { address, prefix, mtu };
            if self.machine.as_ref().is_none_or(|machine| !machine.is(plan)) {
                self.machine = Some(Machine::new(plan).map_err(|e| Ended::Refused(e.to_string()))?);
            }
        } else if self.stack.as_ref().is_none_or(|(known, _)| *known != address) {
            let mut stack = Stack::new((address, prefix), mtu, LARGE);
            if !self.ways.networks.is_empty() {
                stack.answer_for_all();
            }
            self.stack = Some((address, stack));
        }
        tracing::info!(%address, tunnel = self.member.tunnel(), "{} joined the tunnel", self.member.name());
        self.session = session;
        self.address = Some(address);
        self.state = State::Open(Box::new(link));
        Ok(())
    }

    fn again(&mut self, why: &str) {
        if let State::Open(link) = &self.state {
            self.backoff.lasted(link.since.elapsed());
        }
        let pause = self.backoff.pause(rand::random());
        tracing::warn!(tunnel = self.member.tunnel(), ?pause, "the tunnel is away: {why}; it is tried again");
        let (member, before) = (Arc::clone(&self.member), self.session.clone());
        let networks = Arc::clone(&self.ways.networks);
        self.state = State::Opening(Box::pin(async move {
            sleep(pause).await;
            open(member, before, networks).await
        }));
    }

    /// Asks for new certificates when they are due. The link looks at its clock often enough for this.
    fn poll_renewal(&mut self, cx: &mut Context<'_>) {
        if let Some(renewing) = &mut self.renewing {
            let Poll::Ready(renewed) = renewing.as_mut().poll(cx) else { return };
            self.renewing = None;
            match renewed.and_then(|member| member.keep(&self.folder).map(|()| member).map_err(|e| e.to_string())) {
                Ok(member) => {
                    tracing::info!("the certificates of this node are renewed");
                    self.member = Arc::new(member);
                }
                Err(why) => tracing::warn!("the certificates of this node are not renewed: {why}; it is tried again"),
            }
        }
        if Instant::now() < self.next_look {
            return;
        }
        self.next_look = Instant::now() + RENEWAL_CHECK;
        let Ok(to) = self.member.register.parse::<SocketAddrV4>() else { return };
        if !renew::is_due(&self.member, self.address, SystemTime::now()) {
            return;
        }
        let member = Arc::clone(&self.member);
        if self.machine.is_some() {
            cx.waker().wake_by_ref();
            self.renewing = Some(Box::pin(async move {
                let stream = dial::tcp(&to.ip().to_string(), to.port()).await?;
                renew::renewed(&member, stream).await
            }));
            return;
        }
        let Some((_, stack)) = &mut self.stack else { return };
        let (give, given) = oneshot::channel();
        if stack.connect(to, Owner::Renewing(Some(give))).is_ok() {
            cx.waker().wake_by_ref();
            self.renewing = Some(Box::pin(async move {
                let stream = given.await.map_err(|_| "the register plane refuses the connection".to_owned())?;
                renew::renewed(&member, stream).await
            }));
        }
    }

    /// Comes back when the link is over.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.poll_renewal(cx);
        if let (State::Open(link), Some(machine)) = (&mut self.state, &mut self.machine) {
            return machine.poll(link, &self.ways, cx);
        }
        let (State::Open(link), Some((_, stack))) = (&mut self.state, &mut self.stack) else { return Poll::Pending };
        let mut packets = 0;
        while let Poll::Ready(packet) = link.poll_packet(cx) {
            match packet {
                Ok(packet) if self.ways.takes(stack.address(), &packet) => {
                    stack.arrive(packet.into(), |stack, key| admit(&self.ways, stack, key));
                }
                Ok(_) => {}
                Err(ended) => return Poll::Ready(ended),
            }
            packets += 1;
            if packets == PACKETS_IN_A_ROW {
                cx.waker().wake_by_ref();
                break;
            }
        }
        while stack.shares().all() < MOST
            && let Poll::Ready(Some(Entering { tcp, to })) = self.ways.entering.poll_recv(cx)
        {
            // Where it cannot be, the application's connection ends here.
            let _ = stack.connect(to, Owner::Entering(Some(tcp)));
        }
        stack.poll(cx, &mut Way { link: Some(link), ways: &self.ways });
        link.poll_write(cx)
    }
}

/// Shows what the server makes of the networks that this node announced: `network=word`, with commas between them.
fn said_of(routes: Option<&str>) {
    let Some(routes) = routes else {
        return tracing::warn!("the server knows nothing of networks behind nodes: --routes has no effect");
    };
    for (network, word) in routes.split(',').take(MOST_SAID).filter_map(|said| said.trim().split_once('=')) {
        match word {
            "in-force" => tracing::info!(network, "the network behind this node is in force"),
            "waits" => tracing::warn!(network, "waits for an administrator: `mesh tunnel route approve` on the server"),
            "taken" => tracing::warn!(network, "is not in force: it overlaps that of another node"),
            _ => tracing::warn!(network, "is not in force: the server refuses it"),
        }
    }
}

/// Whether a connection of another node may be.
fn admit(ways: &Ways, stack: &Stack<Owner>, key: &Key) -> Option<Owner> {
    let from = *key.from.ip();
    let shares = stack.shares();
    let leaving = shares.all().saturating_sub(shares.of(&None));
    let has_room = shares.all() < MOST && leaving < MOST_LEAVING && shares.of(&Some(from)) < MOST_OF_ONE;
    (has_room && ways.has(stack.address(), key.to)).then_some(Owner::Leaving(from))
}

/// Where packets and connections go.
struct Way<'w> {
    link: Option<&'w mut Link>,
    ways: &'w Ways,
}

impl Carrier<Owner> for Way<'_> {
    /// Without a link packets are lost, as on any bad line.
    fn has_room(&self) -> bool {
        self.link.as_ref().is_none_or(|link| link.has_room())
    }

    fn send(&mut self, packet: &[u8]) {
        if let Some(link) = &mut self.link {
            link.push(packet);
        }
    }

    fn sent(&mut self) {}

    fn open(&mut self, key: &Key, owner: &mut Owner, stream: DuplexStream) {
        match owner {
            Owner::Entering(tcp) => {
                if let Some(tcp) = tcp.take() {
                    carry(tcp, stream);
                }
            }
            Owner::Leaving(_) => self.ways.leave(key.to, stream),
            Owner::Renewing(give) => {
                // Where nobody waits for it any more, it ends.
                let _ = give.take().map(|give| give.send(stream));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{join::Exposed, packet::made};

    const OWN: [u8; 4] = [10, 1, 1, 3];
    const SYN: u8 = 0x02;

    /// A node's TCP to which others open connections to port 80, each from a port of its own.
    struct Open(Stack<Owner>, Ways);

    impl Open {
        /// How many more are there after so many were tried.
        fn tried(&mut self, from: [u8; 4], count: u16) -> usize {
            let before = self.0.shares().all();
            for port in 1..=count {
                let packet = made::tcp(from, OWN, (port, 80), SYN, &[]);
                self.0.arrive(packet, |stack, key| admit(&self.1, stack, key));
            }
            self.0.shares().all() - before
        }
    }

    #[tokio::test]
    async fn one_node_does_not_take_the_connections_of_others_nor_all_of_them_this_machines() {
        let exposed = vec![Exposed { port: 80, to: ("127.0.0.1".into(), 9) }];
        let ways = Ways::open(&[], exposed, Vec::new()).await.unwrap();
        let mut open = Open(Stack::new((OWN.into(), 24), MTU, LARGE), ways);
        assert_eq!(open.tried([10, 1, 1, 5], 1000), MOST_OF_ONE);
        assert_eq!(open.tried([10, 1, 1, 7], 100), 100);
        assert_eq!(open.tried([10, 1, 1, 9], 1000), MOST_OF_ONE);
        assert_eq!(open.tried([10, 1, 1, 11], 1000), MOST_LEAVING - 2 * MOST_OF_ONE - 100);
        assert_eq!(open.tried([10, 1, 1, 13], 1), 0);
        let to = SocketAddrV4::new([10, 1, 1, 13].into(), 80);
        assert!(open.0.connect(to, Owner::Entering(None)).is_ok());
    }
}
