//! Port 6441: TLS, a WebSocket, and IP packets in its text messages (NC section 4).
//!
//! ```text
//! accept.rs      the loop, and one connection until it is a session
//! head.rs        which requests become a WebSocket, and how the others are answered (pure)
//! handshake.rs   the JSON that asks for an address and gives it (pure)
//! session.rs     a connection whose node is admitted, to its end
//! writing.rs     frames that were fetched from the hub and are not written yet
//! clock.rs       what is due when: pings, the end of patience (pure)
//! drain.rs       the orderly end: legacy nodes are the last
//! ```

mod accept;
mod clock;
mod drain;
#[cfg(test)]
mod fuzz;
pub(crate) mod handshake;
pub(crate) mod head;
mod session;
#[cfg(test)]
mod tests;
mod writing;

pub use accept::serve;
