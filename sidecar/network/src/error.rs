//! Why a call does not reach a partner. Knows its code (PTP section 13.1), whose fault it is, and whether it surely did not
//! arrive; callers decide by these, never by the text.

use mesh_core::{Code, Fault, InstId, NodeId, ProtocolError, Retry};
use mesh_pki::ChainProblem;

/// Why a call does not reach a partner, or may not have reached it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Neither this node nor a partner has that node id.
    #[error("no route to node {node}: add a MeshRoute, or call net/refresh")]
    UnknownNode {
        /// The id that was asked for.
        node: NodeId,
    },
    /// Neither this node nor a partner has that institution id.
    #[error("no route to institution {inst}: add a MeshRoute, or call net/refresh")]
    UnknownInst {
        /// The id that was asked for.
        inst: InstId,
    },
    /// The urn names somebody unknown.
    #[error("no route to {label}, which the urn names: add a MeshRoute, or call net/refresh")]
    UnknownLabel {
        /// The urn's node label.
        label: String,
    },
    /// The route is there and switched off.
    #[error("the route to {node} is disabled: enable it (spec.disabled of its MeshRoute, or net/refresh)")]
    Disabled {
        /// The partner.
        node: NodeId,
    },
    /// The route has ended.
    #[error(
        "the route to {node} has expired: extend it (spec.expiresAt of its MeshRoute, or expire_at in net/refresh)"
    )]
    Expired {
        /// The partner.
        node: NodeId,
    },
    /// The call came by here too often.
    #[error(
        "CirculateBreak: the call passed this node {seen} times and was stopped: look for routes or registrations that lead in a circle"
    )]
    Loop {
        /// How often.
        seen: usize,
    },
    /// The route has no address at all.
    #[error("the route to {node} has no address: only the partner can call; add one to reach it from here")]
    NoAddress {
        /// The partner.
        node: NodeId,
    },
    /// An address cannot be read.
    #[error("address {address} cannot be used: {rule}")]
    BadAddress {
        /// The address as it was given.
        address: String,
        /// What it must be.
        rule: &'static str,
    },
    /// No address accepts a connection.
    #[error(
        "{node} is unreachable at {address} ({reason}): check the address, the firewall, and that the partner runs"
    )]
    Unreachable {
        /// The partner.
        node: NodeId,
        /// The address that was tried last.
        address: String,
        /// What happened there.
        reason: String,
    },
    /// A sidecar's gateway does not answer.
    #[error(
        "the node's gateway does not answer at {address} ({reason}): see whether its pod runs; the call waited for it"
    )]
    GatewayAway {
        /// The address.
        address: String,
        /// What happened there.
        reason: String,
    },
    /// The partner's certificate does not hold.
    #[error("{node} at {address} cannot be trusted: {problem}")]
    Untrusted {
        /// The partner.
        node: NodeId,
        /// Where.
        address: String,
        /// What is wrong with its chain.
        problem: ChainProblem,
    },
    /// The partner ended the handshake, or something between us did.
    #[error("{node} at {address} broke off the TLS handshake ({reason}): ask the partner whether it trusts our root")]
    Refused {
        /// The partner.
        node: NodeId,
        /// Where.
        address: String,
        /// What it said.
        reason: String,
    },
    /// Our own pair cannot be used.
    #[error("our own certificate cannot be shown to {node} ({reason}): check the key's kind")]
    OwnPair {
        /// The partner.
        node: NodeId,
        /// What the TLS stack said.
        reason: String,
    },
    /// No answer in time.
    #[error("{node} did not answer in time")]
    Timeout {
        /// The partner.
        node: NodeId,
        /// Whether the request may have left.
        sent: Sent,
    },
    /// The connection broke while the call was under way.
    #[error("the connection to {node} broke before the answer came ({reason})")]
    Broken {
        /// The partner.
        node: NodeId,
        /// What happened.
        reason: String,
        /// Whether the request may have left.
        sent: Sent,
    },
    /// What came back is no HTTP.
    #[error("{node} answered with something that is no HTTP ({reason}): is the port right?")]
    NotHttp {
        /// The partner.
        node: NodeId,
        /// What the reader stumbled on.
        reason: String,
    },
    /// Too many calls wait for this partner.
    #[error("{limit} calls to {node} are under way already: the partner is too slow, or too much is asked of it")]
    Crowded {
        /// The partner.
        node: NodeId,
        /// The bound.
        limit: usize,
    },
}

/// Whether any of a request may have reached the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Surely nothing.
    Nothing,
    /// Perhaps.
    Perhaps,
}

impl ProtocolError for RouteError {
    fn code(&self) -> Code {
        match self {
            Self::UnknownNode { .. } | Self::UnknownInst { .. } | Self::UnknownLabel { .. } => Code::NOT_WOVEN,
            Self::Disabled { .. } => Code::ROUTE_DISABLED,
            Self::Expired { .. } => Code::ROUTE_EXPIRED,
            Self::Loop { .. } => Code::LOOP,
            Self::BadAddress { .. } => Code::BAD_ADDRESS,
            Self::NoAddress { .. }
            | Self::Unreachable { .. }
            | Self::GatewayAway { .. }
            | Self::Broken { .. }
            | Self::Crowded { .. } => Code::UNREACHABLE,
            Self::Untrusted { .. } | Self::Refused { .. } | Self::OwnPair { .. } => Code::CERTIFICATE,
            Self::Timeout { .. } => Code::TIMEOUT,
            Self::NotHttp { .. } => Code::UNKNOWN,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::UnknownNode { .. }
            | Self::UnknownInst { .. }
            | Self::UnknownLabel { .. }
            | Self::Disabled { .. }
            | Self::Expired { .. }
            | Self::Loop { .. } => Fault::Caller,
            Self::NoAddress { .. } | Self::BadAddress { .. } | Self::OwnPair { .. } => Fault::Ours,
            Self::Unreachable { .. }
            | Self::GatewayAway { .. }
            | Self::Untrusted { .. }
            | Self::Refused { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::NotHttp { .. }
            | Self::Crowded { .. } => Fault::Peer,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Timeout { sent: Sent::Perhaps, .. } | Self::Broken { sent: Sent::Perhaps, .. } => Retry::Unknown,
            Self::NotHttp { .. } => Retry::Unknown,
            Self::Unreachable { .. }
            | Self::GatewayAway { .. }
            | Self::Untrusted { .. }
            | Self::Refused { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::Crowded { .. } => Retry::Safe,
            Self::UnknownNode { .. }
            | Self::UnknownInst { .. }
            | Self::UnknownLabel { .. }
            | Self::Disabled { .. }
            | Self::Expired { .. }
            | Self::Loop { .. }
            | Self::NoAddress { .. }
            | Self::BadAddress { .. }
            | Self::OwnPair { .. } => Retry::Useless,
        }
    }
}

impl RouteError {
    /// Whether another address of the same partner may do better: nothing arrived, and the fault is the address's.
    pub(crate) fn is_of_address(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Untrusted { .. } | Self::Refused { .. } | Self::BadAddress { .. } => true,
            Self::Broken { sent, .. } => *sent == Sent::Nothing,
            _ => false,
        }
    }
}
