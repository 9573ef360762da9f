//! The pure core of the channels: one session's queues, waiting calls, leases and budgets.
//!
//! No clock, no lock, no task: time comes in as a value, and what is to be done outside (whom to wake, which budget is
//! short) goes out in [`Effects`]. `channels/` is the shell that locks, sleeps and wakes. Keeps PTP section 9.

mod budget;
mod message;
mod message_id;
mod queues;
mod release;
mod room;
mod session;
mod tombstones;

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod model;

pub(crate) use budget::{Budget, Permit, Turn};
pub(crate) use message::Served;
pub use message::{Draft, Metadata, Origin, Reader};
pub use message_id::{MessageId, NoMessageId, Numbered};
pub(crate) use room::Coming;
pub(crate) use session::{Bounds, Effects, Outcome, Popped, Pushed, Session, Setting, Short, Ticket};
pub(crate) use tombstones::Tombstones;
