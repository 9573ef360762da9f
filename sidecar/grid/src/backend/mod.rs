//! Connections of backends: what waits for each of them, what it consumes, and what it may do (G-17, G-21).
//!
//! ```text
//! permit.rs    what a caller may do
//! session.rs   one connection: events for it, tags that it holds, its errors in a row
//! ```

mod permit;
mod session;

pub use permit::Permit;
pub(crate) use session::Delivery;
pub use session::{Credit, Outgoing, Session};
