//! TCP in this process, over packets that somebody else carries: at the server's own address, and at that of a node of ours.
//!
//! ```text
//! stack.rs        packets in and out, and all connections
//! connection.rs   one of them: what TCP received goes into a stream, and the other way
//! device.rs       the network card that the TCP library thinks it has
//! ```

mod connection;
mod device;
#[cfg(test)]
mod fuzz;
mod stack;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use self::device::Device;
pub(crate) use self::stack::{Carrier, Key, LARGE, Owned, Stack};
