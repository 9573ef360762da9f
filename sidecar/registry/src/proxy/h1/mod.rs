//! HTTP/1.1 towards a service, by a short way: the call's own task writes the request and reads the answer, on a connection
//! that is the call's alone until its answer has ended.
//!
//! ```text
//! head.rs      heads, and where an answer ends
//! chunks.rs    bodies in chunks
//! upload.rs    the request on its way out
//! exchange.rs  one request and its answer, both ways at once
//! wire.rs      the connection that carries them
//! ```
//!
//! An upgrade to a WebSocket goes through hyper (`pool.rs`); everything else comes here.

mod chunks;
mod exchange;
mod head;
mod upload;
mod wire;

pub(super) use self::{
    exchange::{Answer, Outcome, send},
    wire::{Age, Wire, here},
};

/// Whose fault a call is that broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The caller's, whose own body broke off.
    Caller,
    /// The service's.
    Service,
}
