//! How the gateways of one node share work: who is there, under which number, and what they say to each other (Grid section 7,
//! design section 5). No cluster protocol of our own: NATS carries, keeps, and decides who is first.
//!
//! ```text
//! fabric.rs   what joins gateways, whatever carries it
//! lines.rs    one fabric for several rooms
//! memory.rs   in one process
//! nats/       over NATS
//! link/       what gateways say to each other, numbered, so that a loss is noticed (pure)
//! member/     who is there (pure)
//! session/    which gateway owns a session, and the log from which the next owner takes over
//! names.rs    names within NATS
//! ```

mod error;
mod fabric;
mod lines;
mod link;
mod member;
mod memory;
mod names;
mod nats;
mod session;

pub use error::BackplaneError;
pub use fabric::{Fabric, Inward};
pub use lines::Lines;
pub use memory::{Hub, Memory};
pub use nats::{Nats, Settings, Standing, Tls};
pub use session::{Begin, Company, Hold, Landed, Log, Owner, Peer, Place, SessionError, Sessions};

/// How many numbers there are: an id of the grid has ten bits for them.
const NUMBERS: u16 = 1024;
