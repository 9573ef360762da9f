//! The application of the node tier. It knows nothing of Kubernetes: its node is at `127.0.0.1:7304`, and that is all.
//!
//! `bank push` sends numbered messages at a steady rate, `bank pop` takes what comes, `bank idle` waits to be called
//! ([`load`]). All of them keep a [`Ledger`] and show it on 8080 beside a small service ([`service`]); asked to end, they close it and
//! wait until it is read. `bank ask` makes one call for a test that stands outside ([`ask`]), `bank measure` times many ([`measure`]),
//! `bank socket` holds a WebSocket ([`socket`]), `bank user` and `bank backend` are the two sides of a grid ([`grid`]).

mod ask;
mod grid;
mod load;
mod measure;
mod service;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use e2e::ledger::Ledger;
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// So long a program that was asked to end waits until somebody reads its closed book; most tests do without it.
const READ: Duration = Duration::from_secs(30);
/// Whoever reads it gets it whole, at the second try if the first answer was lost.
const ANSWERED: Duration = Duration::from_secs(10);

#[derive(Parser)]
#[command(about = "An application that works at its own node and keeps books")]
struct Args {
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Pushes at a steady rate.
    Push(load::Load),
    /// Pops what comes.
    Pop(load::Load),
    /// Waits to be called.
    Idle,
    /// Makes one call and prints status and answer.
    Ask(ask::Ask),
    /// Pushes and pops by turns and prints how long each took.
    Measure(measure::Measure),
    /// Holds a WebSocket until it is ended, and opens another.
    Socket(socket::Socket),
    /// Says something to a grid, as an end user.
    User(grid::User),
    /// Consumes from the grid of its node.
    Backend(grid::Backend),
}

type Books = Arc<Mutex<Ledger>>;

/// A book to which nothing is added any more, and whether it was read.
#[derive(Clone, Default)]
struct Closing {
    closed: CancellationToken,
    read: CancellationToken,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let work = match Args::parse().work {
        Work::Ask(ask) => return ask.run().await,
        Work::Measure(measure) => return measure.run().await,
        Work::Socket(socket) => return socket.run().await,
        Work::User(user) => return user.run().await,
        Work::Backend(backend) => return backend.run().await,
        work => work,
    };
    let (books, end) = (Books::default(), CancellationToken::new());
    let mut asked = signal(SignalKind::terminate())?;
    let closing = Closing::default();
    tokio::spawn(service::serve(Arc::clone(&books), closing.clone()));
    let told = end.clone();
    tokio::spawn(async move {
        asked.recv().await;
        told.cancel();
    });
    match work {
        Work::Push(load) => load.push(&books, &end).await?,
        Work::Pop(load) => load.pop(&books, &end).await?,
        _ => end.cancelled().await,
    }
    closing.closed.cancel();
    // One that ends by itself is waited for.
    if end.is_cancelled() && timeout(READ, closing.read.cancelled()).await.is_ok() {
        tokio::time::sleep(ANSWERED).await;
    }
    Ok(())
}
