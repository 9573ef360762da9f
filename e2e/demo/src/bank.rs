//! A bank: its node as a process, and its applications' calls at that node's own port.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::programs;

/// A node starts in well under a second; a busy machine may take longer.
const START: Duration = Duration::from_secs(20);

/// A node of a bank.
pub(crate) struct Bank {
    node: Child,
    /// The port that applications and partners call.
    pub(crate) data: SocketAddr,
    log: PathBuf,
}

impl Bank {
    /// Starts the node on a rendered configuration, and waits until it is ready. The admin port is the next one.
    pub(crate) async fn start(name: &str, configuration: &Path, port: u16, state: &Path) -> Result<Self> {
        let (data, admin) = (loopback(port), loopback(port + 1));
        let log = state.join(format!("{name}.log"));
        let mut command = programs::command("mesh")?;
        command
            .args(["start", "--server"])
            .env("MESH_CONFIG_DIR", configuration)
            .env("MESH_HOME", state.join(name))
            .env("PLUGIN_PROXY_TRANSPORT_Y", data.to_string())
            .env("MESH_ADMIN_LISTEN", admin.to_string())
            // Nobody else is told that this node goes.
            .env("MESH_DRAIN_DELAY", "0s")
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let mut bank = Self { node: command.spawn()?, data, log };
        let ready = timeout(START, bank.ready(admin)).await;
        match ready {
            Ok(ready) => ready.map(|()| bank),
            Err(_) => bail!("{name} is not ready after {START:?}: {}", bank.said()),
        }
    }

    async fn ready(&mut self, admin: SocketAddr) -> Result<()> {
        loop {
            if let Some(status) = self.node.try_wait()? {
                bail!("the node ended ({status}): {}", self.said());
            }
            if get(admin, "/readyz", "").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// A command of an application of this bank: it talks to its own node and to nobody else.
    pub(crate) fn application(&self, args: &[&str]) -> Result<Command> {
        let mut command = programs::command("mesh")?;
        command.args(args).env("MESH_ADDRESS", self.data.to_string());
        Ok(command)
    }

    /// Asks the node to end, and waits for it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = self.node.id().context("the node has ended by itself")?;
        let sent = Command::new("kill").arg(pid.to_string()).status().await?;
        if !sent.success() || timeout(Duration::from_secs(10), self.node.wait()).await.is_err() {
            self.node.kill().await?;
        }
        Ok(())
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default().trim().to_owned()
    }
}

/// A GET, and everything that was answered.
#[allow(clippy::disallowed_methods, reason = "loopback, to a port that the demo itself opened")]
pub(crate) async fn get(to: SocketAddr, path: &str, headers: &str) -> Result<String> {
    let mut stream = TcpStream::connect(to).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

pub(crate) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
