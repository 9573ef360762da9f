//! How the gateways of one node share work: who is there, under which number, and what they say to each other (Grid section 7,
//! design section 5). No cluster protocol of our own: NATS carries, keeps, and decides who is first.
//!
//! ```text
//! fabric.rs   what joins gateways, whatever carries it
//! memory.rs   in one process
//! nats/       over NATS
//! link/       what gateways say to each other, numbered, so that a loss is noticed (pure)
//! member/     who is there (pure)
//! names.rs    names within NATS
//! ```

mod error;
mod fabric;
mod link;
mod member;
mod memory;
mod names;
mod nats;

pub use error::BackplaneError;
pub use fabric::{Fabric, Inward};
pub use memory::{Hub, Memory};
pub use nats::{Nats, Settings, Standing};

/// How many numbers there are: an id of the grid has ten bits for them.
const NUMBERS: u16 = 1024;
