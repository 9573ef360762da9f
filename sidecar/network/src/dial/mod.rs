//! Sockets to partners: an address read, resolved, guarded, connected, and wrapped in TLS.
//!
//! The only place of the house that connects to what came from outside (design section 4, "Addresses that come from outside").

mod address;
mod connect;
mod egress;
mod guard;
mod proxy;
mod resolve;
mod tags;

pub(crate) use address::shown;
pub use address::{Address, Speaks};
pub(crate) use connect::{Dialler, Failure, Link, Target};
pub use egress::Egress;
pub use guard::{Given, refusal};
pub use proxy::Proxy;
pub use resolve::Resolver;
pub use tags::Tags;
