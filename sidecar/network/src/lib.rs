//! Partners: routes, mutual TLS, admission, connection pools, failover.
//!
//! - [`listen`]: sockets, TLS as server, HTTP; every request comes with its [`listen::Connection`], which knows whom it is from.
//! - [`admission`]: the rules behind that (design section 4), pure.
//! - [`route`]: where a call goes (PTP section 8.3), pure.
//! - [`LoopGuard`]: calls that go round in circles (PTP section 11.5).
//!
//! What a call does is the business of the rooms above.

pub mod admission;
mod error;
pub mod listen;
mod loop_guard;
pub mod route;
mod tls;

pub use error::{RouteError, Sent};
pub use loop_guard::{Circulation, LoopGuard, MDC};
