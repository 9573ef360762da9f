//! The log: one line an event on standard error, as text or JSON, with a level that can be changed while it runs.

use std::{io, str::FromStr};

use tracing_subscriber::{
    Layer as _, Registry,
    filter::Targets,
    fmt,
    layer::SubscriberExt as _,
    reload,
    util::{SubscriberInitExt as _, TryInitError},
};

use crate::config::LogFormat;

/// What is logged unless `MESH_LOG` says otherwise.
const DEFAULT: &str = "info";

/// Changes the level while the process runs.
#[derive(Clone)]
pub struct LevelHandle(reload::Handle<Targets, Registry>);

/// A level that cannot be read, or a log that somebody else set up.
#[derive(Debug, thiserror::Error)]
pub enum LogProblem {
    /// Not a level.
    #[error("{0} is no log level: write error, warn, info, debug or trace, or pairs such as info,mesh_network=debug")]
    Level(String),
    /// The log is not ours to change.
    #[error("the log cannot be set up: {0}")]
    Setup(String),
}

/// Sets up the log of the process. A level that cannot be read is reported and replaced by the default: a log setting
/// must not keep a node from serving.
///
/// # Errors
/// Somebody set up a log before.
pub fn init(level: Option<&str>, format: LogFormat) -> Result<LevelHandle, LogProblem> {
    let parsed = level.map(targets).transpose();
    let first = match &parsed {
        Ok(Some(targets)) => targets.clone(),
        Ok(None) | Err(_) => targets(DEFAULT)?,
    };
    let (filter, handle) = reload::Layer::new(first);
    let lines = match format {
        LogFormat::Text => fmt::layer().with_writer(io::stderr).with_ansi(false).boxed(),
        LogFormat::Json => fmt::layer().with_writer(io::stderr).json().flatten_event(true).boxed(),
    };
    let setup = |e: TryInitError| LogProblem::Setup(e.to_string());
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().map_err(setup)?;
    if let Err(problem) = parsed {
        tracing::warn!("MESH_LOG: {problem}; {DEFAULT} is used");
    }
    Ok(LevelHandle(handle))
}

impl LevelHandle {
    /// Changes the level.
    ///
    /// # Errors
    /// The text is no level.
    pub fn set(&self, level: &str) -> Result<(), LogProblem> {
        self.0.reload(targets(level)?).map_err(|e| LogProblem::Setup(e.to_string()))
    }

    /// The level in force.
    #[must_use]
    pub fn get(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }
}

impl std::fmt::Debug for LevelHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LevelHandle({})", self.get())
    }
}

fn targets(text: &str) -> Result<Targets, LogProblem> {
    Targets::from_str(text).map_err(|_| LogProblem::Level(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_or_pairs_of_room_and_word() {
        for good in ["warn", "info,mesh_network=debug", "off"] {
            assert!(targets(good).is_ok(), "{good}");
        }
        assert!(targets("mesh_network=loud").is_err());
    }
}
