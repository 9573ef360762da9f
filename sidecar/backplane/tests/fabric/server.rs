//! A NATS server of the test's own.

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// A server with JetStream, its folder, and the port that it keeps when it is started again.
pub(crate) struct Server {
    folder: TempDir,
    pub(crate) port: u16,
    program: PathBuf,
    process: Child,
}

impl Server {
    /// Starts one. `more` stands in its configuration beside what every one has.
    pub(crate) fn start(more: &str) -> Result<Self> {
        Self::start_with(more, &[])
    }

    /// The same with files in its folder, which `more` names by `FOLDER/`.
    pub(crate) fn start_with(more: &str, files: &[(&str, &str)]) -> Result<Self> {
        // Whoever dials at the same time may be given the port that was free.
        let tries = (0..4).find_map(|_| Self::start_once(program(), more, files).ok());
        tries.map_or_else(|| Self::start_once(program(), more, files), Ok)
    }

    /// One of the oldest version that gateways work with.
    #[allow(dead_code, reason = "of the nodes' tests")]
    pub(crate) fn oldest() -> Result<Self> {
        let program =
            env::var_os("NATS_SERVER_OLDEST").context("NATS_SERVER_OLDEST names none; e2e/test.sh builds it")?;
        Self::start_once(program.into(), "", &[])
    }

    fn start_once(program: PathBuf, more: &str, files: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for (name, content) in files {
            fs::write(folder.path().join(name), content)?;
        }
        let more = more.replace("FOLDER", &folder.path().to_string_lossy());
        Self::start_at(program, free_port()?, folder, &more)
    }

    /// Three servers that are one.
    pub(crate) fn three() -> Result<Vec<Self>> {
        let routes = (0..3).map(|_| free_port()).collect::<Result<Vec<_>>>()?;
        let urls: Vec<String> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let start = |(n, route): (usize, &u16)| {
            let cluster = format!("name: three, listen: \"127.0.0.1:{route}\", routes: [{}]", urls.join(", "));
            let more = format!("server_name: n{n}\ncluster {{ {cluster} }}");
            Self::start_at(program(), free_port()?, tempfile::tempdir()?, &more)
        };
        routes.iter().enumerate().map(start).collect()
    }

    fn start_at(program: PathBuf, port: u16, folder: TempDir, more: &str) -> Result<Self> {
        configure(&folder, port, more)?;
        let process = run(&program, &folder, port)?;
        Ok(Self { folder, port, program, process })
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts it again with what it had on disk.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.process = run(&self.program, &self.folder, self.port)?;
        Ok(())
    }

    /// Has it read another configuration while it runs: who may no more do what it did is cut off.
    #[allow(dead_code, reason = "of the nodes' tests")]
    pub(crate) fn reload(&mut self, more: &str) -> Result<()> {
        configure(&self.folder, self.port, more)?;
        let sent = Command::new("kill").args(["-HUP", &self.process.id().to_string()]).status()?;
        ensure!(sent.success(), "kill -HUP");
        Ok(())
    }

    /// Ends it, and starts the version of all other tests with what it had on disk.
    #[allow(dead_code, reason = "of the nodes' tests")]
    pub(crate) fn upgrade(&mut self) -> Result<()> {
        self.kill()?;
        self.program = program();
        self.start_again()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Writes what it is to read.
fn configure(folder: &TempDir, port: u16, more: &str) -> Result<()> {
    let store = folder.path().join("store");
    let config = format!(
        "listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{}\", max_mem: 64M, max_file: 256M }}\n{more}\n",
        store.display()
    );
    Ok(fs::write(folder.path().join("nats.conf"), config)?)
}

fn run(program: &Path, folder: &TempDir, port: u16) -> Result<Child> {
    let mut process = Command::new(program)
        .arg("-c")
        .arg(folder.path().join("nats.conf"))
        .arg("-l")
        .arg(folder.path().join("log"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("nats-server is not there: NATS_SERVER names it, or PATH has it; e2e/test.sh builds it")?;
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        ensure!(process.try_wait()?.is_none(), "nats-server has ended: {}", log());
        ensure!(start.elapsed() < Duration::from_secs(60), "nats-server does not listen: {}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(process)
}

/// The kernel gives a port that was given just now to nobody else for a while.
/// A port that is free, and that the system gives to no connection meanwhile: a server that was killed comes back to it.
fn free_port() -> Result<u16> {
    /// Begins somewhere else in each process, for several runs may go on at the same time, and far from where nodes of the same one begin.
    static NEXT: AtomicU32 = AtomicU32::new(10_000);
    let (first, most) = (std::process::id(), 20_000);
    let ports = (0..most).map(|_| 10_000 + first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % most);
    let mut ports = ports.filter_map(|port| u16::try_from(port).ok());
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).context("no port is free")
}

fn program() -> PathBuf {
    env::var_os("NATS_SERVER").map_or_else(|| "nats-server".into(), PathBuf::from)
}
