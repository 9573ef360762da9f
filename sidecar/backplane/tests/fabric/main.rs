//! What holds of whatever joins gateways, in memory and over a real NATS; and what happens when NATS has its bad days.
//!
//! ```text
//! conformance.rs   what holds of each implementation
//! faults.rs        servers that are killed, links that are cut, credentials that are wrong
//! room.rs          a room that notes what it hears
//! server.rs        a NATS server of the test's own
//! cut.rs           a link to it that can be cut
//! held.rs          a link to it on which single messages are held
//! sessions/        which gateway owns a session, and what the next owner finds of it
//! ```

#![expect(clippy::disallowed_methods, reason = "tests dial servers of their own, and may block")]

mod conformance;
mod cut;
mod faults;
mod held;
mod room;
mod server;
mod sessions;
