//! `mesh directory`.

use std::time::Duration;

use clap::Subcommand;

use super::{Output, span};

#[derive(Debug, clap::Args)]
pub(crate) struct Directory {
    #[command(subcommand)]
    pub(crate) command: DirectoryCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DirectoryCommand {
    /// Tokens with which central systems write and read.
    Token(DirectoryToken),
}

#[derive(Debug, clap::Args)]
pub(crate) struct DirectoryToken {
    #[command(subcommand)]
    pub(crate) command: DirectoryTokenCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DirectoryTokenCommand {
    /// Issue a token for a central system. It is shown once, alone.
    Issue(TokenIssue),
    /// List the tokens, without their secrets.
    Ls(TokenLs),
    /// Revoke all tokens of a central system.
    Revoke(TokenOf),
}

#[derive(Debug, clap::Args)]
pub(crate) struct TokenIssue {
    /// The central system's id.
    #[arg(long, value_name = "ID")]
    pub(crate) csid: String,
    /// How long it holds; until it is revoked if not given.
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) ttl: Option<Duration>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TokenLs {
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TokenOf {
    /// The central system's id.
    #[arg(long, value_name = "ID")]
    pub(crate) csid: String,
}
