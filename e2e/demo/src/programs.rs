//! The programs that take part, as cargo built them beside this one.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

/// The path of a program that was built together with this one.
pub(crate) fn path(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("where am I")?;
    let path = own.with_file_name(name);
    if !path.exists() {
        bail!("{} is not there: run make demo, which builds it", path.display());
    }
    Ok(path)
}

/// A command that sees nothing of the caller's own settings, and ends with this program.
pub(crate) fn command(name: &str) -> Result<Command> {
    let mut command = Command::new(path(name)?);
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// Runs a command to its end; what it said is the error if it fails.
pub(crate) async fn run(mut command: Command) -> Result<String> {
    let output = command.output().await.with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
