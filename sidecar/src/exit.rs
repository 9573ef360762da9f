//! How the program ends. The numbers are part of its interface: scripts branch on them.

use std::{fmt, process::ExitCode};

use mesh_core::Code;

/// Why a command did not do what it was asked. Success is 0, wrong usage is 2 (clap's own).
#[derive(Debug, thiserror::Error)]
pub(crate) enum Exit {
    /// 1: the node answered, and refused; or a configuration breaks a rule.
    #[error("{0}")]
    Refused(String),
    /// 3: no node answered.
    #[error("{0}")]
    Unreachable(String),
    /// 4: the node answered, and there was no message.
    #[error("nothing there")]
    Empty,
    /// 5: this machine did not do it: a file, a port, a limit.
    #[error("{0}")]
    Local(String),
}

impl Exit {
    /// A node's refusal.
    pub(crate) fn refused(code: Code, message: &str) -> Self {
        Self::Refused(format!("{code} {message}"))
    }

    /// A failure of this machine while it did `what`.
    pub(crate) fn local(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::Local(format!("{what}: {error}"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Refused(_) => 1,
            Exit::Unreachable(_) => 3,
            Exit::Empty => 4,
            Exit::Local(_) => 5,
        })
    }
}
