//! Why a caller is neither local nor a partner. The texts name the remedy.

use mesh_core::{Code, Fault, NodeId, ProtocolError, Retry};
use mesh_pki::ChainProblem;

/// Why a caller is nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Plain text that does not come from this machine.
    #[error(
        "plain text from {peer} is refused: speak TLS with a client certificate, or list its network in MESH_PLAINTEXT_FROM"
    )]
    PlainText {
        /// Where it comes from.
        peer: std::net::IpAddr,
    },
    /// Plain text that somebody passed on.
    #[error(
        "a plain-text request that carries {header} was passed on by a proxy and does not count as local: call the node directly, or let the proxy speak TLS with a client certificate (MESH_PLAINTEXT_FROM does not help)"
    )]
    Forwarded {
        /// The header that says so.
        header: String,
    },
    /// A web page's request.
    #[error("{what} shows that a web page asks: applications call {remedy}")]
    Browser {
        /// The header and its value.
        what: String,
        /// What to do instead.
        remedy: &'static str,
    },
    /// TLS without a client certificate.
    #[error("no client certificate was shown: present one that ends in the roots of a route here")]
    NoCertificate,
    /// No route knows the chain's root.
    #[error("the client certificate of {subject} ends in no route's roots ({problem})")]
    UnknownRoot {
        /// Whose certificate.
        subject: String,
        /// What the nearest route found.
        problem: ChainProblem,
    },
    /// Several partners have this root, and the leaf does not say which one it is.
    #[error(
        "the root {root} serves several partners and the certificate names none of them: have it issued for <node id>.trustbe.cn"
    )]
    Ambiguous {
        /// The root's subject.
        root: String,
    },
    /// A certificate of ours that names no partner.
    #[error("a certificate that this node issued names no partner with a route here")]
    OwnRoot,
    /// TLS to a sidecar, which is there for the applications of its pod alone.
    #[error("this is a sidecar, which serves the applications of its own pod: call the node at its gateway {gateway}")]
    Sidecar {
        /// Where the gateway is.
        gateway: String,
    },
    /// The chain ended during the connection.
    #[error("the client certificate ended while the connection was open: connect again with a new one")]
    CertificateEnded,
    /// The partner's route is switched off.
    #[error("the route of {node} is disabled here")]
    Disabled {
        /// The partner.
        node: NodeId,
    },
    /// The partner's route has ended.
    #[error("the route of {node} has expired here")]
    Expired {
        /// The partner.
        node: NodeId,
    },
    /// A partner speaks for somebody else.
    #[error("the call claims to come from {claimed}, the certificate is {node}'s")]
    ForeignSource {
        /// The id that was claimed.
        claimed: String,
        /// The partner.
        node: NodeId,
    },
}

impl ProtocolError for Denied {
    fn code(&self) -> Code {
        match self {
            Self::Disabled { .. } => Code::ROUTE_DISABLED,
            Self::Expired { .. } => Code::ROUTE_EXPIRED,
            Self::PlainText { .. }
            | Self::Forwarded { .. }
            | Self::Browser { .. }
            | Self::NoCertificate
            | Self::UnknownRoot { .. }
            | Self::Ambiguous { .. }
            | Self::OwnRoot
            | Self::Sidecar { .. }
            | Self::CertificateEnded
            | Self::ForeignSource { .. } => Code::UNAUTHORISED,
        }
    }

    fn fault(&self) -> Fault {
        Fault::Caller
    }

    fn retry(&self) -> Retry {
        Retry::Useless
    }
}

impl Denied {
    /// Whether the answer is HTTP 403 with a bare text rather than a code (PTP section 13.2): plain text that is not local.
    #[must_use]
    pub fn is_plain_text(&self) -> bool {
        matches!(self, Self::PlainText { .. } | Self::Forwarded { .. } | Self::Browser { .. })
    }
}
