//! Takes a cluster down, also one whose supervisor was killed: everything needed is read from its folder and from `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::process::{self, Process};
use super::state::State;
use crate::wait;

/// A killed process is gone in milliseconds, unless the disk or the memory of the machine is at its end.
const GONE: Duration = Duration::from_secs(20);

/// Clears the clusters that killed runs left.
///
/// # Errors
/// When something of them cannot be removed.
pub async fn leftovers() -> Result<()> {
    for state in State::orphans() {
        crate::say(&format!("clearing what a killed run left in {}", state.root().display()));
        down(&state).await?;
    }
    Ok(())
}

/// Ends a cluster's programs and containers, takes its mounts, network namespaces and control groups away, and removes its
/// folder. A cluster for tests needs no orderly end: what holds state is thrown away.
///
/// # Errors
/// When something cannot be removed.
pub async fn down(state: &State) -> Result<()> {
    let root = state.root().display().to_string();
    // The programs first: a kubelet that lives would start again what we end.
    end("programs", &state.noted()).await?;
    let shims = process::called_with(&format!("{root}/run/containerd.sock"))?;
    end("containers", &process::descendants(&shims)?).await?;
    unmount_below(state.root())?;
    if let Ok(name) = fs::read_to_string(state.path("run/netns")) {
        let _ = Command::new("ip").args(["netns", "del", name.trim()]).stderr(Stdio::null()).status();
    }
    remove_cgroups(&state.path("kubelet/pods"));
    match fs::remove_dir_all(state.root()) {
        // Somebody else clears the same leftover.
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("cannot remove {root}")),
    }
}

async fn end(what: &str, processes: &[Process]) -> Result<()> {
    for process in processes {
        process.kill();
    }
    wait::until(&format!("the {what} of the test cluster to end"), GONE, || {
        let left: Vec<u32> = processes.iter().filter(|p| p.alive()).map(|p| p.pid).collect();
        std::future::ready(if left.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("alive: {left:?}")) })
    })
    .await
}

/// Unmounts what lies below `root`, deepest first.
fn unmount_below(root: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mounts").context("cannot read the mount table")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let below: BTreeSet<PathBuf> = points.filter(|p| p.starts_with(root)).collect();
    for point in below.iter().rev() {
        let status = Command::new("umount").arg("-l").arg(point).stderr(Stdio::null()).status()?;
        ensure!(status.success(), "cannot unmount {}", point.display());
    }
    Ok(())
}

/// Removes the control groups of this cluster's pods, and then those above them that nobody else uses: removing one that
/// is in use fails, which is as it should be.
fn remove_cgroups(pods: &Path) {
    let uids: BTreeSet<String> =
        fs::read_dir(pods).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    let Ok(hierarchies) = fs::read_dir("/sys/fs/cgroup") else { return };
    let tops = hierarchies.flatten().map(|e| e.path().join("kubepods")).chain(["/sys/fs/cgroup/kubepods".into()]);
    for top in tops {
        for class in [top.join("besteffort"), top.join("burstable"), top.clone()] {
            for pod in fs::read_dir(&class).into_iter().flatten().flatten() {
                let name = pod.file_name().into_string().unwrap_or_default();
                if name.strip_prefix("pod").is_some_and(|uid| uids.contains(uid)) {
                    remove_tree(&pod.path());
                }
            }
            let _ = fs::remove_dir(&class);
        }
    }
}

/// A control group is removed by removing its folder, which must hold no group any more; its files do not count.
fn remove_tree(group: &Path) {
    for child in fs::read_dir(group).into_iter().flatten().flatten() {
        if child.metadata().is_ok_and(|m| m.is_dir() && m.nlink() > 0) {
            remove_tree(&child.path());
        }
    }
    let _ = fs::remove_dir(group);
}
