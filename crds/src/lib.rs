//! The API of `interconn.dev/v1alpha1` and the snapshot that the sidecar runs on.
//!
//! Types, schema, laws and validation only: no I/O, no clock. The operator, the sidecar and the file a person writes by hand
//! all read the same types, so that a node means the same thing on Kubernetes and on bare metal.

mod bytesize;
mod cidr;
mod columns;
mod condition;
pub mod definitions;
pub mod intake;
mod law;
mod names;
mod node;
mod pattern;
pub mod read;
mod refs;
mod registration;
mod route;
mod shape;
pub mod snapshot;
mod span;
pub mod validate;
mod violation;
pub mod yaml;

pub use bytesize::ByteSize;
pub use condition::{ACCEPTED, Condition, ConditionStatus, REACHABLE, READY, RECONCILING, STALLED, TRUSTED};
pub use node::*;
pub use refs::*;
pub use registration::*;
pub use route::*;
pub use span::Span;
pub use violation::Violation;

/// The API group of every kind.
pub const GROUP: &str = "interconn.dev";
/// The only version so far.
pub const VERSION: &str = "v1alpha1";
/// The label that every object written for a node carries, with the node's name as its value.
pub const NODE_LABEL: &str = "interconn.dev/node";
/// The id that SDKs send for "no node in particular" (PTP section 8.2).
pub const PLACEHOLDER_NODE: &str = "LX0000000000000";
/// The id that SDKs send for "no institution in particular" (PTP section 8.2).
pub const PLACEHOLDER_INSTITUTION: &str = "JG0000000000000000";
/// The port of the data plane.
pub const DATA_PORT: u16 = 7304;
/// The port on which backends call the grid.
pub const GRID_PORT: u16 = 6789;
/// The port of the tunnel (NC section 4).
pub const TUNNEL_PORT: u16 = 6441;
/// The port of the tunnel's register plane, which the server's tunnel address answers itself (NC section 2).
pub const REGISTER_PORT: u16 = 6440;
/// The port of the tunnel's bootstrap service.
pub const BOOTSTRAP_PORT: u16 = 6439;
/// The port of probes, metrics and the command line's calls.
pub const ADMIN_PORT: u16 = 7305;
