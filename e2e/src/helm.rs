//! Helm, as people use it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Helm on one cluster. `HELM` names the program; without it the one of `PATH` is taken.
pub struct Helm {
    program: PathBuf,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// On the cluster of a kubeconfig, or on the one that `KUBECONFIG` names.
    #[must_use]
    pub fn on(kubeconfig: Option<&Path>) -> Self {
        let program = std::env::var_os("HELM").map_or_else(|| "helm".into(), PathBuf::from);
        Self { program, kubeconfig: kubeconfig.map(Path::to_owned) }
    }

    /// Runs it and gives back what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        Ok(self.run_aloud(args)?.0)
    }

    /// Runs it and gives back what it printed, and what it said beside that: what pods of its hooks said is in there.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn run_aloud(&self, args: &[&str]) -> Result<(String, String)> {
        let mut command = Command::new(&self.program);
        command.args(args);
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let output = command.output().with_context(|| {
            format!("cannot run {}: run the tests by `make test`, or set HELM", self.program.display())
        })?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "helm {}: {}", args.join(" "), said.trim());
        Ok((String::from_utf8_lossy(&output.stdout).into_owned(), said))
    }
}

/// The folder of our chart.
#[must_use]
pub fn chart() -> String {
    format!("{}/../charts/interconn", env!("CARGO_MANIFEST_DIR"))
}
