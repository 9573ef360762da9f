//! etcd, a single member as a node of ours is: each write is synced before it is answered, and each read asks the leader.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Result;

use super::install::etcd as installed;
use crate::process::{Probe, Server, free_port};

/// Bytes that it may keep: a million records with their history are more than its usual 2 GiB allow.
const QUOTA: &str = "8589934592";

/// Starts etcd with what `home` has.
pub(crate) fn etcd(home: &Path) -> Result<Server> {
    let (program, port, peers) = (installed()?, free_port()?, free_port()?);
    let (clients, peers) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
    let set = |command: &mut Command| {
        command
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .arg("--initial-cluster")
            .arg(format!("default={peers}"))
            .args(["--quota-backend-bytes", QUOTA, "--logger", "zap", "--log-level", "error", "--data-dir"])
            .arg(home)
            .stderr(Stdio::null());
    };
    Server::start(&program, set, port, Probe::Get("/health"))
}
