//! Holds a pod's namespaces until it is told to end. What it is asked to reap does not exist: in a pod without a shared
//! process namespace it is alone.

use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let (mut end, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! { _ = end.recv() => {} _ = interrupt.recv() => {} }
    Ok(())
}
