//! Logs and metrics of the process. Neither ever holds a payload, a key or a token: types that carry those have a
//! `Debug` that shows nothing.

mod log;
mod process;

pub(crate) use log::{LEVEL_RULE, levels};
pub use log::{LevelHandle, LogProblem, init};
pub use process::register as register_process;
