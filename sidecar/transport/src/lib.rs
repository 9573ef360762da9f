//! PTP channels: sessions, queues, and the HTTP and gRPC fronts.
//!
//! `queue/` is the pure core, `channels/` the service around it, `front/` what speaks HTTP and gRPC. Routes, certificates
//! and connections are the network room's; who may call what beyond the channels is decided by the program's table.

mod channels;
mod error;
mod front;
mod kept;
mod log;
mod queue;
mod shared;
mod sync;

pub use channels::{Channels, Delivery, Key, Lease, Levels, Page, QueueRow, SessionRow, Unread};
pub use error::TransportError;
pub use front::{Front, Op, Peers, path_of, refused, refused_mpi};
pub use queue::{Draft, MessageId, Metadata, NoMessageId, Numbered, Origin, Reader};
pub use shared::{Begin, Landed, Opened, Ours, Owner, OwnerError, Owners, Place, SessionLog, Theirs};
