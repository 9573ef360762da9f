//! PTP channels: sessions, queues, and the HTTP and gRPC fronts.
//!
//! `queue/` is the pure core, `channels/` the service around it, `front/` what speaks HTTP and gRPC. Routes, certificates
//! and connections are the network room's; who may call what beyond the channels is decided by the program's table.

mod channels;
mod error;
mod front;
#[allow(dead_code, unreachable_pub, unused_imports, reason = "the channels take it up in the commit that follows")]
mod log;
mod queue;
mod sync;

pub use channels::{Channels, Delivery, Key, Lease, Levels, Page, QueueRow, SessionRow};
pub use error::TransportError;
pub use front::{Front, Op, Peers};
pub use queue::{Draft, MessageId, Metadata, NoMessageId, Numbered, Origin, Reader};
