//! Partners: routes, mutual TLS, admission, connection pools, failover.
//!
//! - [`listen`]: sockets, TLS as server, HTTP; every request comes with its [`listen::Connection`], which knows whom it is from.
//! - [`admission`]: the rules behind that (design section 4), pure.
//! - [`route`]: where a call goes (PTP section 8.3), pure.
//! - [`Partners`]: calls to partners, over [`dial`].
//! - [`control`]: node/refresh, net/refresh and the MPIs `mesh.net.*` (PTP sections 11 and 12).
//! - [`intake`]: what goes to the operator.
//! - [`Remarks`]: what works on a route and ought to be known all the same, pure.
//! - `bundle`: what nodes of our kind speak with each other where calls are small.
//! - [`diagnose`]: why a route does not work.
//! - [`LoopGuard`]: calls that go round in circles (PTP section 11.5).
//!
//! What a call does is the business of the rooms above.

pub mod admission;
mod bundle;
pub mod control;
pub mod diagnose;
pub mod dial;
mod error;
mod http2_sizes;
pub mod intake;
pub mod listen;
mod loop_guard;
mod partners;
mod question;
mod remarks;
pub mod route;
mod sharing;
#[cfg(test)]
mod testing;
mod tls;

pub use error::{RouteError, Sent};
pub use loop_guard::{Circulation, LoopGuard, MDC};
pub use partners::{
    AddressState, Kind, Partners, Place, Settings, ShownAddress, Slip, WaitUntil, Went, was_not_processed,
};
pub use remarks::{Remark, Remarks};
pub use tls::{ByChain, Judge, NameCheck, Offer, Outside, Shown};
