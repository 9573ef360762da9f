//! Who is calling, as far as it was proven.

use std::{net::IpAddr, sync::Arc};

use crate::Route;

/// Who sent a request. Decided anew for each request, because a route may have been disabled since the handshake.
#[derive(Clone, Debug)]
pub enum Caller {
    /// An application of this node, by plain text from the same machine or a trusted address (design section 4).
    Local,
    /// A sidecar of this node, by a member certificate. It passes on what the applications of its pod ask for.
    Member {
        /// Where its connection comes from: its pod.
        from: IpAddr,
    },
    /// Another gateway of this node, by the node's own leaf. It passes calls on to the owner of their session, and nothing else.
    Gateway,
    /// A partner, by a certificate that ends in its route's roots (or by a route that asks for none).
    Partner(Arc<Route>),
    /// Anybody else.
    Stranger,
}

impl Caller {
    /// The partner's route, if it is one.
    #[must_use]
    pub fn partner(&self) -> Option<&Arc<Route>> {
        match self {
            Self::Partner(route) => Some(route),
            Self::Local | Self::Member { .. } | Self::Gateway | Self::Stranger => None,
        }
    }

    /// Whether it is an application of this node.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local)
    }

    /// Whether it is another node, or a sidecar or another gateway of this one.
    #[must_use]
    pub fn is_node(&self) -> bool {
        matches!(self, Self::Partner(_) | Self::Member { .. } | Self::Gateway)
    }
}
