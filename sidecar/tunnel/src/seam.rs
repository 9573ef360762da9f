//! Where the two halves of the room meet.
//!
//! The hub, which has the sockets of port 6441, asks the [`Desk`], which has the ledger. The desk tells the hub through
//! [`Sessions`] whom to cut off, and asks it for figures. Plain types: neither knows how the other works.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use traces::Span;

use crate::addresses::{Network, Subnet, Unroutable};

/// An edge node, by its number in the ledger: never its token, which is a secret. A number is never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// How far a node has come (NC section 2, connState).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnState {
    /// No live socket.
    #[default]
    Idle,
    /// A socket, and no address yet.
    Init,
    /// A socket that packets go through.
    Connected,
}

impl ConnState {
    /// The number on the wire.
    pub fn wire(self) -> i32 {
        match self {
            Self::Idle => -1,
            Self::Init => 1,
            Self::Connected => 3,
        }
    }
}

/// Who asks to be let in.
#[derive(Clone, Copy, Debug)]
pub struct Knock<'a> {
    /// The header `Node-Token`, as it came.
    pub token: &'a str,
    /// The client certificate, if one was shown, and behind it what came with it. TLS has proved that the client has its key, and
    /// nothing else.
    pub chain: &'a [CertificateDer<'a>],
    /// Where it comes from, for the rate limit.
    pub source: IpAddr,
}

/// What became of a knock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Which node it is.
    pub peer: PeerId,
    /// Its address, if it has one from before. Else one is set aside for it until its state is [`ConnState::Idle`].
    pub address: Option<Ipv4Addr>,
    /// Its labels, for policy and routes.
    pub labels: Arc<BTreeMap<String, String>>,
    /// In which authority the chain ends that it showed, as SHA-256 in hex; `None`: it showed no certificate.
    pub authority: Option<String>,
}

/// Why a node is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// For ever: answered after the 101 with close 1000 `invalid token <t>` (NC section 4).
    #[error("the token is unknown, reserved, or the certificate is not good or another node's")]
    Invalid,
    /// For now: 503 before the upgrade.
    #[error("the node waits for an administrator: `mesh tunnel approve` on the server")]
    Waits,
    /// For now: 503 before the upgrade.
    #[error("no address is free")]
    NoAddress,
    /// For now: 503 before the upgrade.
    #[error("too many attempts from there")]
    Busy,
}

impl Denied {
    /// In a few words, for traces.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Invalid => "invalid token",
            Self::Waits => "waits for an administrator",
            Self::NoAddress => "no address",
            Self::Busy => "too many attempts",
        }
    }
}

/// Why an admitted node gets no address after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// The node was unregistered meanwhile.
    #[error("the node is not registered any more")]
    Gone,
    /// All are taken.
    #[error("no address is free")]
    Exhausted,
    /// The state could not be written.
    #[error("the address could not be written to disk")]
    Unwritten,
}

/// A stream of bytes that is no socket of this machine.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What the hub asks the control plane.
pub trait Desk: Send + Sync {
    /// Whether this token may have a session. Reads memory only, but for the first certificate that an imported node shows in strict
    /// mode, which is written down. That one token has one live session is the hub's business.
    ///
    /// # Errors
    /// See [`Denied`].
    fn admit(&self, knock: &Knock<'_>) -> Result<Admission, Denied>;

    /// The address of a node whose handshake came; chosen and written to disk if it has none. Blocks for as long as the disk
    /// takes where the node has none: callers that must not block use a blocking task.
    ///
    /// # Errors
    /// See [`NoAddress`].
    fn address(&self, peer: PeerId) -> Result<Ipv4Addr, NoAddress>;

    /// Says how far the node has come; never blocks. The hub says it of the session that is the node's live one and of no older
    /// one, in the order in which it happens.
    fn state(&self, peer: PeerId, state: ConnState);

    /// The networks behind a node that an administrator approved for it. Reads memory only.
    fn approved(&self, peer: PeerId) -> Vec<Network>;

    /// The networks that an administrator approved for any node, there or away. Reads memory only.
    fn all_approved(&self) -> Vec<Network>;

    /// Whether nodes whose chains end in this authority are let in. Reads memory only.
    fn trusts(&self, authority: &str) -> bool;

    /// The network, and the server's own address in it.
    fn subnet(&self) -> Subnet;

    /// The TLS of port 6441 as it is now; asked at each connection, because certificates and CAs change while it runs.
    fn tls(&self) -> Arc<rustls::ServerConfig>;

    /// Begins a span, where traces are on.
    fn span(&self, name: &'static str) -> Option<Span>;

    /// The port of the register plane that nodes are told: 6440, unless its listener is at another one.
    fn register_port(&self) -> u16;

    /// Serves a connection that a node made to the register plane at the server's tunnel address, to its end. It counts as the node's,
    /// never as local.
    fn register_plane(&self, stream: Box<dyn Stream>, peer: PeerId, from: SocketAddr);
}

/// Why a session ends that the control plane ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The node was unregistered, or its certificate denied: its token is worth nothing any more.
    Unregistered,
    /// The session only: the node may come again.
    Kicked,
}

/// What a live session has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Whose it is.
    pub peer: PeerId,
    /// Where it comes from.
    pub from: SocketAddr,
    /// Since when it is connected.
    pub since: SystemTime,
    /// Packets from the node.
    pub packets_in: u64,
    /// Packets to the node.
    pub packets_out: u64,
    /// Bytes of packets from the node.
    pub bytes_in: u64,
    /// Bytes of packets to the node.
    pub bytes_out: u64,
    /// Packets that were dropped, for any reason.
    pub dropped: u64,
    /// The last round trip of a ping.
    pub round_trip: Option<Duration>,
}

/// What became of a network that a node announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Packets go there by way of the node.
    InForce,
    /// Nobody has approved it.
    Waits,
    /// It cannot be behind any node.
    Refused(Unroutable),
    /// It overlaps what another node has in force.
    Taken(PeerId),
}

impl Standing {
    /// In one word, for lists and for the node itself.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::InForce => "in-force",
            Self::Waits => "waits",
            Self::Refused(_) => "refused",
            Self::Taken(_) => "taken",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InForce => f.write_str("in force"),
            Self::Waits => f.write_str("nobody has approved it"),
            Self::Refused(why) => why.fmt(f),
            Self::Taken(peer) => write!(f, "it overlaps a network that {peer} has in force"),
        }
    }
}

/// A network that a live session announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Whose it is.
    pub peer: PeerId,
    /// The network.
    pub network: Network,
    /// What became of it.
    pub standing: Standing,
}

/// What has moved since the start, of sessions that are over too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Packets from nodes.
    pub packets_in: u64,
    /// Packets to nodes.
    pub packets_out: u64,
    /// Bytes of packets from nodes.
    pub bytes_in: u64,
    /// Bytes of packets to nodes.
    pub bytes_out: u64,
    /// Packets that were dropped, by the reason's word.
    pub dropped: Vec<(&'static str, u64)>,
    /// Sessions that ended because their node gave no sign of life.
    pub dead: u64,
    /// Sessions that another socket of their node took over.
    pub taken_over: u64,
}

/// What the control plane asks the hub.
pub trait Sessions: Send + Sync {
    /// Ends the live session of a node, if it has one: nothing passes any more when this returns. Never blocks.
    fn cut(&self, peer: PeerId, why: Cut);

    /// The same for all nodes whose chains end in this authority, which may come again with another. Answers whose sessions ended.
    fn cut_of(&self, authority: &str) -> Vec<PeerId>;

    /// Ends one for a node that asked for it through its own tunnel: it hears the answer first. Until its connections to the server
    /// are done, for 5 s at most, it reaches the server's own address and nothing else. Never blocks.
    fn part(&self, peer: PeerId, why: Cut);

    /// Other networks are approved: what is in force is found out anew, and counts from the next packet on.
    fn reroute(&self);

    /// The networks that live sessions announced, by node.
    fn routes(&self) -> Vec<Route>;

    /// The live sessions, by node.
    fn figures(&self) -> Vec<Figures>;

    /// What has moved since the start.
    fn moved(&self) -> Moved;

    /// Whether the machine is in the network by a TUN device now; `None`: it was never to be.
    fn device_is_up(&self) -> Option<bool>;
}
