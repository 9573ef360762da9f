//! The network controller at its least, in Go (`peer/legacy/`), built into the cache by its recipe.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::{
    install::{cache, find, run},
    pair,
};
use crate::process::{Probe, Server, free_port};

/// What it is built from.
const RECIPE: [&str; 5] = [
    include_str!("legacy/go.mod"),
    include_str!("legacy/go.sum"),
    include_str!("legacy/main.go"),
    include_str!("legacy/hub.go"),
    include_str!("legacy/tokens.go"),
];

/// Packets between WebSockets, a channel for each peer.
pub(crate) fn go_hub() -> Result<Server> {
    start("hub")
}

/// GetToken, with certificates that are made as ours are.
pub(crate) fn go_tokens() -> Result<Server> {
    start("tokens")
}

/// The limit of every hub: bytes between two TLS connections, whatever they are.
pub(crate) fn bytes_alone() -> Result<Server> {
    Server::own("wss", &[&pair()?.display().to_string()], Probe::Accepts)
}

fn start(role: &str) -> Result<Server> {
    let (program, folder, port) = (built()?, pair()?, free_port()?);
    let set = |command: &mut Command| {
        command.args([role, &port.to_string()]).arg(folder).stderr(std::process::Stdio::null());
    };
    Server::start(&program, set, port, Probe::Accepts)
}

fn built() -> Result<PathBuf> {
    let hash = Sha256::digest(RECIPE.concat());
    let hash = hash.iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let program = cache()?.join(format!("bench-{hash}")).join("legacy");
    if !program.exists() {
        ensure!(find("go").is_some(), "it is written in Go, and there is no go");
        println!("building {} (half a minute, once)", program.display());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer/legacy");
        // A name of its own until it is whole.
        let part = program.with_extension("part");
        let build = ["build", "-mod=readonly", "-o"];
        run(Command::new("go").args(build).arg(&part).arg(".").current_dir(source).env("GOTOOLCHAIN", "local"))?;
        std::fs::rename(&part, &program).context("the program of the cache")?;
    }
    Ok(program)
}
