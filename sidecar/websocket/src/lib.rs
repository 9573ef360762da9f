//! WebSocket as RFC 6455 and RFC 7692 have it, without a socket: bytes in, frames out, and the other way.
//!
//! ```text
//! client.rs      the same request as a client makes it, and what it is answered
//! handshake.rs   the request that becomes a WebSocket, and what it agrees on
//! frame.rs       one frame's head; masks; frames to be sent
//! reader.rs      bytes to frames or whole messages, and which bytes break the protocol
//! utf8.rs        text that is cut anywhere
//! deflate.rs     permessage-deflate
//! close.rs       why a connection ends
//! ```
//! Ours and not a library's, because a frame for a thousand subscribers is encoded once and shared, and because a client that
//! is idle must cost next to nothing: no buffer belongs to it.

mod client;
mod close;
mod deflate;
mod frame;
mod handshake;
mod reader;
mod utf8;

pub use client::{Ask, Switched};
pub use close::{Close, CloseCode};
pub use deflate::{Deflate, deflated};
pub use frame::{Opcode, encode, put, put_masked};
pub use handshake::{Agreed, MOST_OF_HEAD, Offer, Refused, accept_key};
pub use reader::{Data, Part, Read, Reader, Reading, Sender, Texts};
