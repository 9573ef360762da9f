//! The folder of one cluster: everything that it writes, and who looks after it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::process::Process;

/// The file that names the supervisor.
const SUPERVISOR: &str = "supervisor";

/// The folder of a cluster.
#[derive(Clone, Debug)]
pub struct State {
    root: PathBuf,
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
        let root = Self::home().join(format!("{tier}-{}", std::process::id()));
        for folder in ["bin", "pki", "etc", "log", "run", "cni"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let state = Self { root };
        let me =
            Process::of(std::process::id()).context("this process is not in /proc: the test cluster needs Linux")?;
        state.write(SUPERVISOR, &me.line())?;
        Ok(state)
    }

    /// The folders whose supervisor is gone.
    #[must_use]
    pub fn orphans() -> Vec<Self> {
        let Ok(entries) = fs::read_dir(Self::home()) else { return Vec::new() };
        entries.flatten().map(|e| Self { root: e.path() }).filter(|s| !s.supervised()).collect()
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
