//! The orderly end (design section 6): readiness fails, the node keeps serving while load balancers notice, then
//! connections are told to go and calls under way may finish. A second signal ends it at once.

use std::{future::Future, io};

use mesh_core::{Drain, config::Settings};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

use super::{BackplanePlace, rooms::Rooms};
use crate::{admin::Phase, exit::Exit};

/// Clients of this gateway would be taken for another's: it ends, and is another one when it comes again.
const FENCED: &str = "another gateway has the number of this one, which was away for too long: start it again";

/// The signals that ask for the end.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to listen; from here on the process does not end by itself.
    pub(crate) fn listen() -> Result<Self, Exit> {
        let listen = || -> io::Result<Self> {
            Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
        };
        listen().map_err(|e| Exit::local("no signals", e))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Runs `step` to its end, or to the next signal. Says whether it reached its end.
    pub(super) async fn unless_again(&mut self, step: impl Future<Output = ()>) -> bool {
        tokio::select! {
            () = step => true,
            () = self.next() => false,
        }
    }
}

/// Waits for a signal, or until another gateway has this one's number, then brings the node to its end.
///
/// # Errors
/// Nobody asked for the end: whoever started the process starts it again.
pub(crate) async fn wait(
    signals: &mut Signals,
    drain: &Drain,
    phase: &Phase,
    settings: &Settings,
    (rooms, backplane): (&Rooms, &BackplanePlace),
) -> Result<(), Exit> {
    let is_fenced = signals.unless_again(backplane.fenced()).await;
    let outcome = if is_fenced { Err(Exit::Local(FENCED.into())) } else { Ok(()) };
    phase.draining();
    rooms.stop_health();
    tracing::info!(delay = ?settings.drain_delay, limit = ?settings.drain_limit, "asked to end: not ready any more, still serving");
    let orderly = signals
        .unless_again(async {
            tokio::time::sleep(settings.drain_delay).await;
            rooms.answer_waiting();
            let end = Instant::now() + settings.drain_limit;
            // While they can still connect. Nearly all say it within a moment, and calls that are under way go on meanwhile.
            rooms.leases_ended(settings.drain_limit / 2).await;
            match drain.run(end.saturating_duration_since(Instant::now())).await {
                0 => tracing::info!("every connection has ended"),
                busy => tracing::warn!(busy, "the time is up, what is still under way is cut"),
            }
            rooms.settled().await;
        })
        .await;
    if !orderly {
        tracing::warn!("asked to end again: ending at once");
    }
    // A second signal cuts even this: what is not kept by then is lost.
    let kept = signals.unless_again(keep_unread(rooms, settings)).await;
    if !kept {
        tracing::warn!("asked to end again: unread messages that were not kept yet are lost with this process");
    }
    backplane.leave().await;
    // After all that matters more.
    rooms.end_traces().await;
    outcome
}

/// Keeps what nobody has read for the next start, where `MESH_HOME` is on a disk.
async fn keep_unread(rooms: &Rooms, settings: &Settings) {
    let unread = rooms.keep_unread(Instant::now() + settings.drain_limit).await;
    if unread.kept > 0 {
        tracing::info!(messages = unread.kept, "unread messages are kept in MESH_HOME for the next start");
    }
    if unread.lost > 0 {
        tracing::warn!(messages = unread.lost, bytes = unread.lost_bytes, "unread messages are lost with this process");
    }
}
