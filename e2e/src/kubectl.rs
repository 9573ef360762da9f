//! kubectl, as people use it: manifests go in as text, and what it says comes back.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Runs kubectl on the cluster that `KUBECONFIG` names; `input` is what `-f -` reads.
///
/// # Errors
/// When kubectl fails, with what it said.
pub fn kubectl(args: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new("kubectl");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot run kubectl")?;
    // Its output is small: kubectl reads all of its input before it answers.
    child.stdin.take().context("kubectl has no input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl {}: {}", args.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Applies a manifest.
///
/// # Errors
/// When kubectl fails, with what it said.
pub fn apply(manifest: &str) -> Result<()> {
    kubectl(&["apply", "--server-side", "-f", "-"], manifest).map(drop)
}
