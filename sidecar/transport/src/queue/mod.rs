//! The pure core of the channels: one session's queues, waiting calls, leases and budgets.
//!
//! No clock, no lock, no task: time comes in as a value, and what is to be done outside (whom to wake, which budget is
//! short) goes out in [`Effects`]. `channels/` is the shell that locks, sleeps and wakes. Keeps PTP section 9.

mod budget;
#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod fuzz;
mod involved;
mod keys;
mod loan;
mod look;
mod message;
mod message_id;
mod queues;
mod ready;
mod release;
mod remains;
mod room;
mod row;
mod session;
mod tombstones;
mod topics;
mod unread;
mod waiters;
mod writing;

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod model;

pub(crate) use budget::{Budget, Charge, Permit, Turn};
pub(crate) use loan::{Lacking, Loan, take_both};
pub use message::{Draft, Metadata, Origin, Reader};
pub(crate) use message::{Landed, Message, Served};
pub(crate) use message_id::{LONGEST_RETRY, REMEMBERED, REMEMBERED_FOR};
pub use message_id::{MessageId, NoMessageId, Numbered};
pub(crate) use release::Releasing;
pub(crate) use remains::Remains;
pub(crate) use room::Coming;
pub(crate) use session::{Bounds, Effects, Outcome, Popped, Pushed, Session, Setting, Short, Standing, Ticket};
pub(crate) use tombstones::Tombstones;
pub(crate) use topics::Cursor;
pub(crate) use writing::{Lacks, Write};
