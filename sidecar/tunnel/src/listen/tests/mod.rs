//! Port 6441 over real sockets: a node that speaks TLS and WebSocket by itself, as a legacy client does.

mod ends;
mod joins;
mod packets;
mod refusals;
mod second;
pub(crate) mod world;
