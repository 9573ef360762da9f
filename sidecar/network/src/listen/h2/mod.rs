//! HTTP/2, by prior knowledge and over TLS; gRPC rides on it. The `h2` crate keeps the protocol, its windows and its bounds;
//! what is here serves the streams that it hands out, and knows of each answer whether it went out to its end.
//!
//! ```text
//! connection.rs  reads, begins each request where it was read, writes -> silence.rs
//! call.rs        one request until its answer is handed over
//!   arriving.rs  the body of a request
//!   expected.rs  whether its client waits to be told to send it
//!   answer.rs    head, pieces and trailers of an answer
//! tap.rs         the bytes in both directions, looked at in passing -> frames.rs
//! ledger.rs      what they say of answers that somebody waits to settle
//! ```
//! The crate says nothing of a stream once its last frame is handed over: neither when that was written, nor that its client
//! gave it up. Both stand in the frames that pass, so the tap reads their heads.

mod answer;
mod arriving;
mod call;
mod connection;
mod expected;
mod frames;
#[cfg(test)]
mod fuzz;
mod ledger;
mod silence;
mod tap;

use std::{sync::Arc, time::Duration};

use mesh_core::BoxError;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use self::{connection::Http2, ledger::Ledger, silence::Silence, tap::Tap};
use super::{
    Limits, Serve,
    handler::Handler,
    rare::{Rare, until_end},
    wire::Stream,
};

/// What the end of a connection gets beside the time that it lingers: the goodbye of TLS must still be written.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves a connection until its end.
///
/// # Errors
/// What went wrong with it, for the log.
pub(super) async fn serve<S: Serve>(
    stream: Stream,
    handler: Arc<Handler<S>>,
    limits: Limits,
    rare: &mut Rare,
) -> Result<(), BoxError> {
    let (ledger, silence) = (Arc::<Ledger>::default(), Silence::new(limits.ping));
    let (tap, back) = Tap::new(stream, Arc::clone(&ledger), silence.heard());
    let ended = {
        let conn = std::pin::pin!(Http2::new(tap, handler, limits, ledger, silence));
        until_end(conn, rare, Http2::finish).await
    };
    let (Some(ended), Some(mut stream)) = (ended, back.take()) else { return Ok(()) };
    // However it ended: a reset that is still on its way says that its client has not read what was written last.
    let _ = timeout(limits.linger + GOODBYE, stream.shutdown()).await;
    Ok(ended?)
}
