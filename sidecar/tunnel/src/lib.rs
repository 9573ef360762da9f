//! The network controller: edge nodes behind NAT join with a token and get an address in a private network (the NC contract).
//!
//! Two halves that meet in [`seam`] and nowhere else. The control plane knows who a node is: its tokens, its address, its
//! certificates, and the gRPC services that hand them out. The data plane moves packets between the nodes that the control
//! plane let in.

pub mod addresses;
pub mod authority;
pub mod control;
pub mod hub;
pub mod inside;
pub mod join;
pub mod ledger;
pub mod legacy;
pub mod listen;
mod packet;
pub mod seam;
mod shares;
mod tcp;
#[cfg(test)]
mod testing;
pub mod tokens;
pub mod tun;
