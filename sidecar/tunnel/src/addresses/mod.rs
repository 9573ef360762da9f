//! Which address a node gets (NC section 5). Pure: no clock, no disk; the ledger writes down what is chosen here.

mod pool;
mod subnet;

pub use pool::Pool;
pub use subnet::{NotASubnet, Subnet};
