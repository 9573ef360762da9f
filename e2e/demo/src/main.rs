//! `make demo`: two banks on one machine. Their resources are rendered, a node of each is started, a file goes from one to
//! the other over mutual TLS, a service is called across, and everything is taken down again.
//!
//! Only the programs of this repository take part: `mesh-operator`, `mesh`, and a small service that this one answers
//! itself. Whatever way it ends, Ctrl-C included, the nodes end with it.

mod bank;
mod programs;
mod service;
mod story;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let told = tokio::select! {
        told = story::tell() => told,
        // The story is dropped here, and every process that it started with it.
        () = asked_to_stop() => Err(anyhow::anyhow!("stopped; the nodes were ended")),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn asked_to_stop() {
    let listen = |kind| signal(kind).ok();
    let (mut interrupt, mut terminate, mut hangup) =
        (listen(SignalKind::interrupt()), listen(SignalKind::terminate()), listen(SignalKind::hangup()));
    tokio::select! {
        Some(()) = async { interrupt.as_mut()?.recv().await } => {}
        Some(()) = async { terminate.as_mut()?.recv().await } => {}
        Some(()) = async { hangup.as_mut()?.recv().await } => {}
        else => std::future::pending().await,
    }
}
