//! Sockets to partners: an address read, resolved, guarded, connected, and wrapped in TLS.
//!
//! The only place of the house that connects to what came from outside (design section 4, "Addresses that come from outside").

mod address;
mod connect;
mod egress;
mod first;
mod guard;
mod proxy;
mod resolve;
mod socket;
mod tags;
mod way_out;

pub(crate) use address::shown_url;
pub use address::{Address, Speaks, shown};
pub use connect::Stream;
pub(crate) use connect::{CONNECT, CONNECT_OF_SEVERAL, Dialler, Failure, Link, Target, socket_of};
pub use egress::Egress;
pub use first::open_first;
pub use guard::{Given, is_loopback, refusal};
pub use proxy::Proxy;
pub use resolve::Resolver;
pub use socket::{Patience, Unopened, open};
pub use tags::Tags;
pub use way_out::WayOut;
