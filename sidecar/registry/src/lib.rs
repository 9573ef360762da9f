//! Registrations and the reverse proxy that routes to them (PTP sections 8.5, 10 and 13.2).
//!
//! A registration comes in by HTTP, by an MPI or with the configuration ([`Registry`]); what it offers is compiled into a
//! routing table; [`Proxy`] finds a call's instance there and streams it through. This room knows nothing of queues, and
//! leaves to the listener who the caller is, and to `mesh-network` how a partner is reached.
//!
//! Who wires it: make a [`Registry`] with the store and the listeners' addresses, add its MPIs with
//! [`Registry::add_mpis`], hand `POST /v1/interconn/registry/register` to [`Registry::register`], spawn [`Registry::run`]
//! on the drain, and give every other path that is not [`is_reserved`] to [`Proxy::forward`], which also passes calls on
//! to partners; what it answers `None` to is nobody's.

mod address;
mod balance;
mod catalogue;
mod clock;
mod decode;
mod dial;
mod egress;
mod error;
mod front;
#[cfg(test)]
mod fuzz;
mod instance;
mod journal;
mod kept;
mod lenient;
mod listing;
mod load;
mod metrics;
mod offer;
mod path;
mod permanent;
mod permit;
mod persistent;
mod proxy;
mod registration;
mod registry;
mod routes;
mod shared;
mod table;
mod watch;

pub use address::Address;
pub use balance::{Group, Member, Wish};
pub use catalogue::WallTime;
pub use error::RegistryError;
pub use instance::{Instance, InstanceState, Load};
pub use listing::{Listed, ListedService, Page, Unrouted};
pub use metrics::Metrics;
pub use path::is_reserved;
pub use permit::Registrant;
pub use proxy::{Generic, Proxy};
pub use registration::{Content, Key, Kind, Reference, Registration, Service};
pub use registry::{InstanceStatus, Reach, Registry};
pub use shared::Others;
pub use table::{Leaf, Table};
