//! The servers under load: processes of their own, ended when dropped, and also when this process dies.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getrlimit, kill_process, set_parent_process_death_signal, setrlimit,
};

use crate::{client::Http, load::pause};

/// A server answers its first probe within this, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ports from 10000 on that servers of the bench take: below 32768, where Linux takes those of connections from.
const PORTS: u32 = 20_000;

/// A server that is ready.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where a node tells of itself, and what one must show there.
    pub(crate) admin: Option<(SocketAddr, PathBuf)>,
    child: Child,
}

/// How to see that a server is ready.
#[derive(Clone, Copy)]
pub(crate) enum Probe {
    /// This path answers 200.
    Get(&'static str),
    /// The port accepts.
    Accepts,
}

impl Server {
    /// Starts a program and waits until it is ready.
    ///
    /// It is started through this program's `guard`, which asks the kernel to end it when its parent dies: so nothing
    /// stays behind after Ctrl-C, whatever it is.
    pub(crate) fn start(program: &Path, set: impl FnOnce(&mut Command), port: u16, probe: Probe) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("guard").arg(program);
        set(&mut command);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut server = Self { address: (Ipv4Addr::LOCALHOST, port).into(), admin: None, child };
        server.ready(program, probe)?;
        Ok(server)
    }

    /// `mesh start --server` with a home of its own; `file` is its configuration.
    pub(crate) fn mesh(home: &Path, file: Option<&str>) -> Result<Self> {
        Self::mesh_with(home, file, &[])
    }

    /// The same with more in its environment.
    pub(crate) fn mesh_with(home: &Path, file: Option<&str>, more: &[(&str, String)]) -> Result<Self> {
        let (data, admin) = (free_port()?, free_port()?);
        let config = home.join("config.yaml");
        if let Some(text) = file {
            fs::write(&config, text)?;
        }
        let set = |command: &mut Command| {
            command
                .args(["start", "--server"])
                .env("MESH_HOME", home)
                .env("PLUGIN_PROXY_TRANSPORT_Y", format!("127.0.0.1:{data}"))
                .env("MESH_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
                .env("MESH_DRAIN_DELAY", "0s")
                .env("MESH_LOG", "error")
                .envs(more.iter().map(|(name, value)| (name, value)));
            if file.is_some() {
                command.arg("--config").arg(&config);
            }
        };
        let mut server = Self::start(&program(), set, data, Probe::Get("/stats"))?;
        server.admin = Some(((Ipv4Addr::LOCALHOST, admin).into(), home.join("admin.token")));
        Ok(server)
    }

    /// This program, as the server `name`.
    pub(crate) fn own(name: &str, arguments: &[&str], probe: Probe) -> Result<Self> {
        Self::own_at(free_port()?, name, arguments, probe)
    }

    /// The same on this port: it is back where it was.
    pub(crate) fn own_at(port: u16, name: &str, arguments: &[&str], probe: Probe) -> Result<Self> {
        let set = |command: &mut Command| {
            command.arg(name).arg(port.to_string()).args(arguments);
        };
        Self::start(&env::current_exe()?, set, port, probe)
    }

    /// What `mesh` prints that is called on this node's machine.
    pub(crate) fn command(&self, words: &[&str]) -> Result<String> {
        let (admin, token) = self.admin.as_ref().context("no node of ours")?;
        let mut command = Command::new(program());
        command.args(words).env("MESH_HOME", token.parent().context("no home")?);
        let output = command.env("MESH_ADMIN_LISTEN", admin.to_string()).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "mesh {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn ready(&mut self, program: &Path, probe: Probe) -> Result<()> {
        let limit = Instant::now() + PATIENCE;
        loop {
            let answered = match probe {
                Probe::Get(path) => Http::open(self.address).and_then(|mut c| {
                    c.exchange(format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").as_bytes()).map(|_| ())
                }),
                Probe::Accepts => Http::open(self.address).map(|_| ()),
            };
            let Err(error) = answered else { return Ok(()) };
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended: {status}", program.display());
            }
            if Instant::now() > limit {
                return Err(error.context(format!("{} is not ready", program.display())));
            }
            pause(Duration::from_millis(20));
        }
    }

    /// CPU time of the process and of its children; nginx's workers are the children of its master.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut ticks = ticks(self.child.id())?;
        for child in children(self.child.id())? {
            ticks += self::ticks(child)?;
        }
        Ok(from_ticks(ticks))
    }

    /// Resident memory, in KiB.
    pub(crate) fn rss(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Server {
    /// Asks first, so that a master ends its workers; what does not listen is killed.
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let limit = Instant::now() + Duration::from_secs(2);
        while Instant::now() < limit && matches!(self.child.try_wait(), Ok(None)) {
            pause(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `mesh`. Another build of it may be measured with the same bench.
fn program() -> PathBuf {
    env::var_os("BENCH_MESH").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_mesh")), PathBuf::from)
}

/// Becomes the program that the words name, which then ends when the bench does.
pub(crate) fn guard(words: &[&str]) -> Result<()> {
    let (program, arguments) = words.split_first().context("guard what?")?;
    set_parent_process_death_signal(Some(Signal::TERM))?;
    Err(anyhow!(Command::new(program).args(arguments).exec()).context((*program).to_owned()))
}

/// How many files this process may open, after it has asked for all that it may ask for.
pub(crate) fn open_files() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// A port that nobody listens on right now, and that the system gives to no connection: it lies below those that it takes for them.
pub(crate) fn free_port() -> Result<u16> {
    /// Begins somewhere else in each process, for several runs may go on at the same time.
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(std::process::id()));
    let mut ports =
        (0..PORTS).filter_map(|_| u16::try_from(10_000 + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS).ok());
    ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).context("no port is free")
}

/// CPU time of the load generator itself.
pub(crate) fn own_cpu() -> Result<Duration> {
    Ok(from_ticks(ticks(std::process::id())?))
}

/// How many cores there are to use.
pub(crate) fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64)
}

/// USER_HZ is 100 on every Linux that Rust runs on.
fn from_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
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
