//! Redis without snapshots; durable means `appendfsync always`.

use anyhow::Result;

use super::install::packaged;
use crate::{
    process::{Probe, Server, free_port},
    work::folder,
};

/// Starts a Redis, durable or in memory only.
pub(crate) fn redis(durable: bool) -> Result<Server> {
    let (program, home, port) = (packaged("redis-server", "redis-server")?, folder("redis")?, free_port()?);
    let set = |command: &mut std::process::Command| {
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(home);
        command.args(["--appendonly", if durable { "yes" } else { "no" }, "--appendfsync", "always"]);
        // A rewrite of its log in the middle of a round would count against it.
        command.args(["--auto-aof-rewrite-percentage", "0"]);
    };
    Server::start(&program, set, port, Probe::Accepts)
}
