//! A node of ours at the other end: it joins a network controller, ours or a legacy one, keeps its tunnel open, and carries TCP
//! connections of this machine through it, without any privilege (NC sections 2, 4 and 8). By a device it puts the machine itself in.
//!
//! ```text
//! ticket.rs     the text that a person was given: a token, and where it is good (pure)
//! member.rs     what a node was given when it joined, and the file that keeps it
//! trust.rs      which servers it speaks with
//! dial.rs       a connection with TLS to one of the three ports
//! enrol.rs      joining: our way, with keys that stay here, or the legacy one
//! link.rs       the tunnel's connection: packets in and out, and whether it lives
//! incoming.rs   what comes by it, from bytes to packets (pure)
//! open.rs       from nothing to a link with an address
//! renew.rs      new certificates in time
//! ending.rs     what is said of those that end (pure)
//! backoff.rs    when to try again (pure)
//! ways.rs       which local ports lead into the tunnel, and which of the tunnel's lead here
//! confines.rs   into which networks a server may put this machine (pure)
//! machine.rs    this machine in the tunnel by a TUN device, where it is asked for
//! node.rs       all of it together
//! ```

mod backoff;
mod confines;
mod dial;
mod ending;
mod enrol;
#[cfg(test)]
mod fuzz;
mod incoming;
mod link;
mod machine;
#[cfg(test)]
mod made;
mod member;
mod node;
mod open;
mod renew;
#[cfg(test)]
mod tests;
mod ticket;
mod trust;
mod ways;

use mesh_core::private::NotPrivate;

pub use self::{
    confines::Confines,
    enrol::enrol,
    member::Member,
    node::run,
    ticket::{NotATicket, Ticket},
    ways::{Exposed, Forwarded, NotAWay, Ways},
};

/// Why a node does not join, or does not stay.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The server says no, and will say so again.
    #[error("{0}")]
    Refused(String),
    /// The server is not there, or not now.
    #[error("{0}")]
    Unreachable(String),
    /// What the node was given cannot be kept or read.
    #[error(transparent)]
    Kept(#[from] NotPrivate),
    /// This machine: a port, a key, a file's content.
    #[error("{0}")]
    Local(String),
}
