//! Which address a node gets (NC section 5), and which networks can be behind one. Pure: no clock, no disk; the ledger writes down
//! what is chosen here.

mod network;
mod pool;
mod subnet;

pub use network::{Network, NotANetwork, Unroutable};
pub use pool::Pool;
pub use subnet::{NotASubnet, Subnet};
