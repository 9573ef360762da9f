//! The folder of one cluster: everything that it writes, and who looks after it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::process::Process;
use crate::wait;

/// The file that names the supervisor.
const SUPERVISOR: &str = "supervisor";

/// The folder of a cluster.
#[derive(Clone, Debug)]
pub struct State {
    root: PathBuf,
}

/// Longer than a run of the node tier.
const TURN: Duration = Duration::from_secs(900);

/// Waits until no other cluster with a node is on this machine, and keeps others waiting for as long as the file is held;
/// the kernel lets go of it with the process.
///
/// # Errors
/// When the other one does not end.
pub async fn turn() -> Result<File> {
    fs::create_dir_all(State::home())?;
    let path = State::home().join("node.lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        crate::say("another test cluster with a node runs on this machine: waiting for its end");
        let what = format!("another test cluster to end; fuser {} names it", path.display());
        wait::until(&what, TURN, || std::future::ready(file.try_lock().context("it still runs"))).await?;
    }
    Ok(file)
}

impl State {
    /// Where all clusters of this machine lie. Short, for a socket's path may have 107 characters.
    #[must_use]
    pub fn home() -> PathBuf {
        std::env::temp_dir().join("interconn-e2e")
    }

    /// A new folder, owned by the calling process.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(tier: &str) -> Result<Self> {
        let name = format!("{tier}-{}", std::process::id());
        // Under a hidden name until it says who looks after it, or another start would take it for an orphan.
        let hidden = Self { root: Self::home().join(format!(".{name}")) };
        for folder in ["bin", "pki", "etc", "log", "run", "cni"] {
            let folder = hidden.path(folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let me =
            Process::of(std::process::id()).context("this process is not in /proc: the test cluster needs Linux")?;
        hidden.write(SUPERVISOR, &me.line())?;
        let state = Self { root: Self::home().join(name) };
        fs::rename(hidden.root(), state.root()).with_context(|| format!("cannot create {}", state.root.display()))?;
        Ok(state)
    }

    /// The folders whose supervisor is gone.
    #[must_use]
    pub fn orphans() -> Vec<Self> {
        let Ok(entries) = fs::read_dir(Self::home()) else { return Vec::new() };
        entries
            .flatten()
            .map(|e| e.path())
            .filter(|p| p.is_dir())
            .map(|root| Self { root })
            .filter(|s| !s.supervised())
            .collect()
    }

    fn supervised(&self) -> bool {
        let line = fs::read_to_string(self.path(SUPERVISOR)).unwrap_or_default();
        Process::parse(&line).is_some_and(Process::alive)
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file or folder in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The same, as text for a command line.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file in it.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(&self, name: &str, content: &str) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Notes a process that [`super::teardown`] has to end.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn note(&self, name: &str, process: Process) -> Result<()> {
        self.write(&format!("run/{name}.pid"), &process.line())
    }

    /// The processes noted so far that are still alive.
    #[must_use]
    pub fn noted(&self) -> Vec<Process> {
        let Ok(entries) = fs::read_dir(self.path("run")) else { return Vec::new() };
        let notes = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "pid"));
        notes.filter_map(|p| Process::parse(&fs::read_to_string(p).ok()?)).filter(|p| p.alive()).collect()
    }
}
