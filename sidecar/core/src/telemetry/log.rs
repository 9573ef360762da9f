//! The log: one line an event on standard error, as text or JSON, with a level that can be changed while it runs.

use std::{io, str::FromStr};

use tracing_subscriber::{
    Layer as _, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    reload,
    util::{SubscriberInitExt as _, TryInitError},
};

use crate::config::LogFormat;

/// What is logged unless `MESH_LOG` says otherwise.
const DEFAULT: &str = "info";

/// What a log level is, for messages.
pub(crate) const LEVEL_RULE: &str =
    "a log level: off, error, warn, info, debug or trace, or pairs such as info,mesh_network=debug";

/// Changes the level while the process runs.
#[derive(Clone)]
pub struct LevelHandle(reload::Handle<Targets, Registry>);

/// A level that cannot be read, or a log that somebody else set up.
#[derive(Debug, thiserror::Error)]
pub enum LogProblem {
    /// Not a level.
    #[error("{0} is not {LEVEL_RULE}")]
    Level(String),
    /// The log is not ours to change.
    #[error("the log cannot be set up: {0}")]
    Setup(String),
}

/// Sets up the log of the process.
///
/// # Errors
/// A level that cannot be read, or somebody set up a log before.
pub fn init(level: Option<&str>, format: LogFormat) -> Result<LevelHandle, LogProblem> {
    let (filter, handle) = reload::Layer::new(targets(level.unwrap_or(DEFAULT))?);
    let lines = match format {
        LogFormat::Text => fmt::layer().with_writer(io::stderr).with_ansi(false).boxed(),
        LogFormat::Json => fmt::layer().with_writer(io::stderr).json().flatten_event(true).boxed(),
    };
    let setup = |e: TryInitError| LogProblem::Setup(e.to_string());
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().map_err(setup)?;
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
    levels(text).ok_or_else(|| LogProblem::Level(text.to_owned()))
}

/// Reads a level. A word alone must be one: the filter itself would take `verbose` for a crate, and log nothing else.
pub(crate) fn levels(text: &str) -> Option<Targets> {
    let is_plain = |part: &str| part.contains('=') || LevelFilter::from_str(part.trim()).is_ok();
    text.split(',').all(is_plain).then(|| Targets::from_str(text).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_or_pairs_of_room_and_word() {
        for good in ["warn", "info,mesh_network=debug", "off"] {
            assert!(targets(good).is_ok(), "{good}");
        }
        for bad in ["mesh_network=loud", "verbose", "info,mesh_network"] {
            assert!(targets(bad).is_err(), "{bad}");
        }
    }
}
