//! The fronts of the channels: HTTP in its dialects, gRPC, and the generic service. They decode, make one call, and encode.
//!
//! `dialect` tells what a request speaks, `decode` and `encode` are its two ends, `exchange` is the service in between
//! that serves a call here or passes it on by `hop`.

mod admission;
mod answered;
mod aside;
mod body;
mod call;
mod chunks;
mod claim;
mod decode;
mod dialect;
mod elsewhere;
mod encode;
mod ended;
mod exchange;
mod flow;
mod frames;
#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod fuzz;
mod gateway;
mod generic;
mod grpc;
mod hop;
mod http;
mod intake;
mod involved;
mod json;
mod kuscia;
mod leases;
mod message_id;
mod op;
mod owner;
mod patience;
mod peers;
mod query;
mod refused;
mod retries;
mod settle;
mod stream;
mod trace;
mod wrapped;

use std::sync::Arc;

use mesh_core::{
    Live,
    mpi::{self, Table},
};

use self::exchange::Exchange;
pub use self::{
    op::{Op, path_of},
    peers::Peers,
    refused::{refused, refused_mpi},
};
use crate::Channels;

/// Says that a message was given out before (PTP section 8.4). Lower case, as header names are kept.
const REDELIVERED: &str = "x-ptp-redelivered";
/// Names the lease of a message that another node of our kind pops (PTP section 8.4).
const LEASE: &str = "x-ptp-lease";
/// Says to a node of our kind that this one ends and nothing came of the call: it may ask whoever comes next.
const ENDS: &str = "x-ptp-ends";
/// The id of a push between nodes of our kind (PTP section 8.4).
const MESSAGE_ID: &str = "x-ptp-message-id";

/// The fronts of the channels. `P` carries calls to partners.
#[derive(Debug)]
pub struct Front<P> {
    exchange: Exchange<P>,
    peers: Arc<P>,
    mpis: Table,
}

impl<P: Peers> Front<P> {
    /// The fronts of `channels`, and of the MPIs that all rooms registered.
    #[must_use]
    pub fn new(channels: Arc<Channels>, peers: Arc<P>, live: Arc<Live>, mpis: Table) -> Arc<Self> {
        Arc::new(Self { exchange: Exchange::new(channels, live, Arc::clone(&peers)), peers, mpis })
    }

    /// Whether a generic call with this urn is one of this node's own MPIs, which no registration takes over.
    #[must_use]
    pub fn serves(&self, urn: &str) -> bool {
        let name = mpi::name_of_urn(urn);
        Op::of_mpi(&name).is_some() || self.mpis.knows(&name)
    }

    /// Waits, when the node ends and its clients are gone, until other nodes know what became of their messages; not for long.
    pub async fn settled(&self) {
        self.exchange.settled().await;
    }
}
