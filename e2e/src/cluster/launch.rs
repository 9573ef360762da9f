//! Starts a cluster's programs and watches them become ready.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::process::Process;
use super::state::State;
use crate::wait;

/// Everything is ready within 10 s on two idle cores; a machine under load gets this long.
const READY: Duration = Duration::from_secs(90);

/// The programs of `e2e/cluster`, in the order of nobody.
const PROGRAMS: [&str; 7] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"];

/// Starts programs for one cluster.
pub struct Launcher {
    /// The cluster's folder.
    pub state: State,
    /// The network namespace that they run in; none: the machine's own.
    netns: Option<String>,
    started: Vec<(&'static str, Child)>,
}

impl Launcher {
    /// For the cluster in `state`, whose programs get built if they are not yet.
    ///
    /// # Errors
    /// When the programs cannot be built.
    pub fn new(state: State, netns: Option<&str>) -> Result<Self> {
        let programs = build()?;
        for name in PROGRAMS {
            symlink(programs.join(name), state.path("bin").join(name))
                .with_context(|| format!("cannot link {name}"))?;
        }
        Ok(Self { state, netns: netns.map(str::to_owned), started: Vec::new() })
    }

    /// `program` with the cluster's namespace around it. A word without slash is looked for in the cluster's `bin` first.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let ours = self.state.path("bin").join(program);
        let program = if ours.exists() { ours } else { PathBuf::from(program) };
        let Some(netns) = &self.netns else { return Command::new(program) };
        // Not `ip netns exec`: that makes a mount namespace, and containerd and kubelet must see each other's mounts.
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{netns}")).arg(program);
        command
    }

    /// Starts a program; its output goes to `log/PROGRAM.log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self, program: &'static str, args: &[String]) -> Result<()> {
        let log = File::create(self.log(program)).with_context(|| format!("cannot create the log of {program}"))?;
        let mut command = self.command(program);
        command.args(args).current_dir(self.state.root()).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        // A group of its own, so that Ctrl-C reaches the supervisor alone and things end in order.
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start {program}"))?;
        if let Some(process) = Process::of(child.id()) {
            self.state.note(program, process)?;
        }
        self.started.push((program, child));
        Ok(())
    }

    fn log(&self, program: &str) -> PathBuf {
        self.state.path(&format!("log/{program}.log"))
    }

    /// Asks until `look` is content; gives up early when a program has ended.
    ///
    /// # Errors
    /// When the time is over or a program ended, with the end of its log.
    pub async fn ready(&mut self, what: &str, mut look: impl FnMut(&Self) -> Result<()>) -> Result<()> {
        let result = wait::until(what, READY, || {
            let looked = match self.ended() {
                Some(ended) => Ok(Some(ended)),
                None => look(self).map(|()| None),
            };
            std::future::ready(looked)
        });
        match result.await? {
            Some(ended) => bail!("waited for {what}, but {ended}"),
            None => Ok(()),
        }
    }

    /// The first program that has ended, with the end of its log.
    pub fn ended(&mut self) -> Option<String> {
        let mut done = self.started.iter_mut().filter_map(|(name, child)| Some((*name, child.try_wait().ok()??)));
        let (name, status) = done.next()?;
        let log = self.log(name);
        Some(format!("{name} ended ({status}); its log {} ends:\n{}", log.display(), tail(&log)))
    }

    /// Runs kubectl as the cluster's administrator and gives its output.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut command = self.command("kubectl");
        let output = command.arg("--kubeconfig").arg(self.state.path("etc/admin.kubeconfig")).args(args).output()?;
        ensure!(
            output.status.success(),
            "kubectl {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<()> {
        run(self.command(program), program, args)
    }
}

/// Runs a command to its end, outside of any namespace.
///
/// # Errors
/// When it fails, with what it said.
pub fn run(mut command: Command, name: &str, args: &[&str]) -> Result<()> {
    let output = command.args(args).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {name}: is it installed?"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} {}: {} ({})", args.join(" "), said.trim(), output.status);
    Ok(())
}

/// The folder of the programs, built on the first call on a machine.
fn build() -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/build.sh");
    let output = Command::new(&script).stderr(Stdio::inherit()).output().context("cannot run e2e/cluster/build.sh")?;
    ensure!(output.status.success(), "the programs of the test cluster could not be built ({})", output.status);
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
