//! The commands for people: each is one call of a node, and says what came of it.

mod admin;
mod channel;
mod check;
mod client;
mod diagnose;
mod directory;
mod grid;
mod invoke;
mod message;
mod outbound;
mod progress;
mod queue;
mod ready;
mod register;
mod route;
mod service;
mod status;
mod tls;
mod tunnel;
mod verify;

use std::future::Future;

pub(crate) use channel::{peek, pop, push, release};
pub(crate) use check::config;
pub(crate) use diagnose::route as diagnose_route;
pub(crate) use directory::directory;
pub(crate) use grid::grid;
pub(crate) use invoke::exec;
pub(crate) use queue::ls as queue_ls;
pub(crate) use ready::ready;
pub(crate) use register::register;
pub(crate) use route::route;
pub(crate) use service::ls as service_ls;
pub(crate) use status::status;
pub(crate) use tunnel::tunnel;
pub(crate) use verify::verify;

use crate::exit::Exit;

/// Runs one call on this thread.
fn block_on(call: impl Future<Output = Result<(), Exit>>) -> Result<(), Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| Exit::local("no runtime", e))?.block_on(call)
}

/// Prints a value for programs.
fn print_json(value: &impl serde::Serialize) -> Result<(), Exit> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Exit::local("the answer cannot be shown", e))?;
    println!("{text}");
    Ok(())
}
