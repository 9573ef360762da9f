//! Where the servers under load keep their files: one folder a run, removed at its end.

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result};

const PREFIX: &str = "interconn-bench-";

/// A fresh folder named `name` in this run's own.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let own = own();
    fs::create_dir_all(&own)?;
    let folder = (0..).map(|n| own.join(format!("{name}-{n}"))).find(|f| !f.exists()).context("no free name")?;
    fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// Removes this run's folder.
pub(crate) fn remove() {
    let _ = fs::remove_dir_all(own());
}

/// Removes what runs left that were killed: folders whose process is no more.
pub(crate) fn tidy() {
    for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|n| n.strip_prefix(PREFIX)).and_then(|p| p.parse::<u32>().ok());
        if pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn own() -> PathBuf {
    env::temp_dir().join(format!("{PREFIX}{}", std::process::id()))
}
