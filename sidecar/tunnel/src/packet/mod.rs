//! IPv4 packets: what a switch has to read of them, and the little that it changes.
//!
//! Pure: bytes in, values or bytes out. Whatever a peer sends is read here, so nothing indexes, and nothing panics.
//!
//! ```text
//! ipv4.rs       the header, checked against the packet's length
//! transport.rs  ports and flags, as far as policy needs them
//! checksum.rs   the Internet checksum, whole and by difference
//! mss.rs        the largest segment that a TCP connection may agree on
//! echo.rs       the answer to a ping
//! batch.rs      packets that came in one message
//! ```

pub(crate) mod batch;
mod checksum;
mod echo;
mod ipv4;
mod mss;
mod transport;

pub(crate) use echo::echo_reply;
pub(crate) use ipv4::{Ipv4, Malformed, Protocol};
pub(crate) use mss::{clamped, segment};
pub(crate) use transport::{Flow, Opening};

#[cfg(test)]
mod fuzz;
#[cfg(test)]
pub(crate) mod made;
