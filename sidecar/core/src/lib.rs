//! What every room of the sidecar stands on.
//!
//! Plain types that the rooms share ([`NodeId`], [`Code`], [`CallContext`], [`Caller`], [`Body`]), the configuration
//! [`Snapshot`] and its holder [`Live`], the table of [`mpi`]s that rooms register in, and [`Drain`].
//! It knows the API types (`crds`) and certificates (`mesh-pki`), and no room.

mod body;
mod caller;
mod code;
pub mod config;
mod context;
mod drain;
#[cfg(test)]
mod fuzz;
mod grid;
pub mod grpc;
mod host;
mod ids;
pub mod json;
mod live;
pub mod mpi;
mod own_gateway;
pub mod private;
mod refusal;
mod snapshot;
pub mod store;
pub mod telemetry;
mod urn;
mod workers;

pub use body::{Body, BoxError, Piped};
pub use caller::Caller;
pub use code::Code;
pub use context::{CallContext, HeaderProblem};
pub use crds::snapshot::Role;
pub use drain::{Drain, Drained};
pub use grid::GridSetup;
pub use host::is_host_name;
pub use ids::{InstId, NodeId, SessionId, Topic};
pub use live::Live;
pub use refusal::{Fault, ProtocolError, Refusal, Retry};
pub use snapshot::{ConfigProblem, Leaf, Network, Node, Origin, Parts, Route, Snapshot, Standing};
pub use urn::Urn;
pub use workers::{Crew, Seat, Workers, household};
