//! The servers under load: processes of their own, ended when dropped.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::connection::Connection;

/// A server that is ready.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts `command` and waits until `probe` is answered.
    pub(crate) fn start(mut command: Command, port: u16, probe: &str) -> Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context(format!("{command:?}"))?;
        let mut server = Self { address: (Ipv4Addr::LOCALHOST, port).into(), child };
        let probe = format!("GET {probe} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        let limit = Instant::now() + Duration::from_secs(20);
        while Connection::open(server.address).and_then(|mut c| c.exchange(probe.as_bytes()).map(|_| ())).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{command:?} ended: {status}");
            }
            if Instant::now() > limit {
                bail!("{command:?} does not answer {probe:?}");
            }
            #[allow(clippy::disallowed_methods, reason = "the bench has nothing else to do")]
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// `mesh start --server` with a home of its own.
    pub(crate) fn mesh(home: &Path) -> Result<Self> {
        let (data, admin) = (free_port()?, free_port()?);
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesh"));
        command
            .args(["start", "--server"])
            .env("MESH_HOME", home)
            .env("PLUGIN_PROXY_TRANSPORT_Y", format!("127.0.0.1:{data}"))
            .env("MESH_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
            .env("MESH_LOG", "warn");
        Self::start(command, data, "/stats")
    }

    /// This program, as the server `name`.
    pub(crate) fn own(name: &str) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([name, &port.to_string()]);
        Self::start(command, port, "/stats")
    }

    /// CPU time of the process and the children that it waited for; nginx's worker is the child of its master.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut ticks = ticks(self.child.id())?;
        for child in children(self.child.id())? {
            ticks += self::ticks(child)?;
        }
        // USER_HZ is 100 on every Linux that Rust runs on.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Resident memory, in KiB.
    pub(crate) fn rss(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for child in children(self.child.id()).unwrap_or_default() {
            let _ = Command::new("kill").arg(child.to_string()).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on right now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn ticks(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold spaces; the fields after it do not. utime and stime are the 12th and 13th of them.
    let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Ok(fields.get(11).context("utime")?.parse::<u64>()? + fields.get(12).context("stime")?.parse::<u64>()?)
}

fn children(pid: u32) -> Result<Vec<u32>> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(text.split_whitespace().filter_map(|p| p.parse().ok()).collect())
}
