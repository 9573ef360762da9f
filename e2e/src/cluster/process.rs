//! Processes by number: who is alive, who descends from whom, and ending exactly those.
//!
//! A number alone is no name, since the kernel gives it out again; with the start time it is one.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

/// A process, by its number and when the kernel started it (in clock ticks since boot).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// The number.
    pub pid: u32,
    started: u64,
}

/// What `/proc/PID/stat` tells of a process.
struct Stat {
    state: char,
    parent: u32,
    started: u64,
    ticks: u64,
}

/// What `/proc` counts a processor's time in, by the second: the same on every Linux that Kubernetes runs on.
const TICKS: u64 = 100;

fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().trim_end_matches(" kB").parse().ok()
}

fn stat(pid: u32) -> Option<Stat> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold blanks and brackets; the fields begin after the last one.
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        ticks: fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?,
    })
}

impl Process {
    /// The living process of this number.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|s| Self { pid, started: s.started })
    }

    /// Whether it still runs; one that waits only to be reaped does not.
    #[must_use]
    pub fn alive(self) -> bool {
        stat(self.pid).is_some_and(|s| s.started == self.started && s.state != 'Z')
    }

    /// Ends it at once. Nothing happens when it is gone already, whoever has its number now.
    pub fn kill(self) {
        if self.alive() {
            let _ = Command::new("kill").args(["-KILL", &self.pid.to_string()]).stderr(Stdio::null()).status();
        }
    }

    /// The bytes of memory that it really uses.
    ///
    /// # Errors
    /// When it is gone.
    pub fn resident(self) -> Result<u64> {
        Ok(self.status("VmRSS:")? * 1024)
    }

    /// Those of them that it wrote itself; the others are pages of its program, of which a debug build has many.
    ///
    /// # Errors
    /// When it is gone.
    pub fn anonymous(self) -> Result<u64> {
        Ok(self.status("RssAnon:")? * 1024)
    }

    /// How often it has slept until something woke it: idle, that is how often its timers ran.
    ///
    /// # Errors
    /// When it is gone.
    pub fn wakeups(self) -> Result<u64> {
        let mut all = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid)).context("the process is gone")?.flatten() {
            let text = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            all += field(&text, "voluntary_ctxt_switches:").unwrap_or_default();
        }
        Ok(all)
    }

    /// The processor's time that it has used so far.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu(self) -> Result<Duration> {
        let used = stat(self.pid).filter(|s| s.started == self.started).context("the process is gone")?.ticks;
        Ok(Duration::from_millis(used * 1000 / TICKS))
    }

    fn status(self, name: &str) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid)).context("the process is gone")?;
        field(&text, name).with_context(|| format!("/proc has no {name}"))
    }

    /// Sends it a signal, by its name. Nothing happens when it is gone.
    pub fn signal(self, name: &str) {
        if self.alive() {
            let _ = Command::new("kill").args([&format!("-{name}"), &self.pid.to_string()]).status();
        }
    }

    /// As a line for a file.
    #[must_use]
    pub fn line(self) -> String {
        format!("{} {}", self.pid, self.started)
    }

    /// From a line of [`Process::line`].
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (pid, started) = line.trim().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, started: started.parse().ok()? })
    }
}

fn all() -> Result<Vec<u32>> {
    let entries = fs::read_dir("/proc").context("cannot list /proc: the test cluster needs Linux")?;
    Ok(entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect())
}

/// The processes whose command line contains `text`.
///
/// # Errors
/// Where there is no `/proc`.
pub fn called_with(text: &str) -> Result<Vec<Process>> {
    let matches = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
            let words = String::from_utf8_lossy(&line).replace('\0', " ");
            words.contains(text)
        })
    };
    Ok(all()?.into_iter().filter(matches).filter_map(Process::of).collect())
}

/// All that descend from `roots`, the roots included, children first.
///
/// # Errors
/// Where there is no `/proc`.
pub fn descendants(roots: &[Process]) -> Result<Vec<Process>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in all()? {
        if let Some(s) = stat(pid) {
            children.entry(s.parent).or_default().push(pid);
        }
    }
    let mut found: Vec<u32> = roots.iter().map(|p| p.pid).collect();
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children.get(&pid).into_iter().flatten());
        next += 1;
    }
    Ok(found.into_iter().rev().filter_map(Process::of).collect())
}
