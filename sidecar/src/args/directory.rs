//! `mesh directory` and `mesh verify`.

use std::{path::PathBuf, time::Duration};

use clap::{Subcommand, ValueEnum};

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
    /// Show one record: a central system, a data system by its address, or an adapter class.
    Get(DirectoryGet),
    /// List all central systems, adapter classes or data systems, or those that fit.
    Ls(DirectoryLs),
    /// Search adapter classes, or with --class the central systems that offer one.
    Search(DirectorySearch),
    /// Show what became of a central system, entry by entry.
    History(DirectoryHistory),
    /// Print what changes, a line for each entry, until it is interrupted.
    Watch(DirectoryWatch),
    /// Print the whole log, for `mesh verify`.
    Export(DirectoryExport),
    /// Make the store of this machine's node of an exported log, where it is gone and its keys are not.
    Import(DirectoryImport),
    /// Make the store of this machine's node, which is stopped, as small as what is in it.
    Compact,
}

/// Which directory is asked, and by whom.
#[derive(Debug, clap::Args)]
pub(crate) struct DirectoryCall {
    /// The nodes to call, with commas between: the first that accepts a connection is used.
    #[arg(long, env = "MESH_ADDRESS", default_value = "127.0.0.1:7304")]
    pub(crate) address: String,
    /// A token of the directory.
    #[arg(long, env = "MESH_DIRECTORY_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DirectoryGet {
    /// The id, the address (it has a dot), or with --class the name.
    pub(crate) name: String,
    /// An adapter class.
    #[arg(long)]
    pub(crate) class: bool,
    /// With the proof that the record is there, or that none is.
    #[arg(long)]
    pub(crate) proof: bool,
    #[command(flatten)]
    pub(crate) call: DirectoryCall,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DirectorySearch {
    /// Central systems that offer this class.
    #[arg(long, conflicts_with_all = ["protocol", "protocol_version"])]
    pub(crate) class: Option<String>,
    /// Classes of this protocol.
    #[arg(long)]
    pub(crate) protocol: Option<String>,
    /// Classes of this version of it.
    #[arg(long)]
    pub(crate) protocol_version: Option<String>,
    #[command(flatten)]
    pub(crate) call: DirectoryCall,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DirectoryLs {
    /// What is listed.
    #[arg(value_enum, default_value_t = Listed::CentralSystems)]
    pub(crate) what: Listed,
    /// Data systems of this central system, or adapter classes that it offers.
    #[arg(long, value_name = "ID")]
    pub(crate) csid: Option<String>,
    /// Data systems that use this class, or central systems that offer it.
    #[arg(long)]
    pub(crate) class: Option<String>,
    /// Adapter classes of this protocol.
    #[arg(long)]
    pub(crate) protocol: Option<String>,
    /// Adapter classes of this version of it.
    #[arg(long)]
    pub(crate) protocol_version: Option<String>,
    #[command(flatten)]
    pub(crate) call: DirectoryCall,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Listed {
    /// Central systems that are connected.
    CentralSystems,
    /// Adapter classes that somebody offers.
    AdapterClasses,
    /// Data systems.
    DataSystems,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DirectoryHistory {
    /// The central system's id.
    pub(crate) csid: String,
    #[command(flatten)]
    pub(crate) call: DirectoryCall,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DirectoryWatch {
    /// The first revision; what comes from now on if not given.
    #[arg(long, value_name = "REVISION")]
    pub(crate) from: Option<u64>,
    /// Only this central system.
    #[arg(long, value_name = "ID")]
    pub(crate) csid: Option<String>,
    #[command(flatten)]
    pub(crate) call: DirectoryCall,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DirectoryExport {
    #[command(flatten)]
    pub(crate) call: DirectoryCall,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DirectoryImport {
    /// What `mesh directory export` printed; `-` is standard input.
    pub(crate) file: PathBuf,
    /// A key that may replace lost ones (recoveryKeys).
    #[arg(long, value_name = "KEY")]
    pub(crate) recovery_key: Vec<String>,
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

/// Whom to believe comes with the call, and from elsewhere than the file: who made the one may have made the other.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// An exported log, a receipt, or what `mesh directory get --proof` printed; `-` is standard input.
    pub(crate) file: PathBuf,
    /// The key that signs the log's checkpoints, as `GET /datanet/v1` shows it (logKey).
    #[arg(long, value_name = "KEY", required_unless_present = "identity")]
    pub(crate) log_key: Option<String>,
    /// The key that signs entries for holders of tokens (directoryKey); a log is not verified without it, and of one entry the signer is not compared.
    #[arg(long, value_name = "KEY")]
    pub(crate) directory_key: Option<String>,
    /// What `GET /datanet/v1` answered: where the certificate of its node holds by --root, log key and directory key are those that it signed.
    #[arg(long, value_name = "FILE", requires = "root", requires = "node")]
    pub(crate) identity: Option<PathBuf>,
    /// The id of that node: below one root others may have certificates, too.
    #[arg(long, value_name = "ID", requires = "identity")]
    pub(crate) node: Option<String>,
    /// The roots of that node, PEM.
    #[arg(long, value_name = "FILE", requires = "identity")]
    pub(crate) root: Option<PathBuf>,
    /// A key that may replace lost ones (recoveryKeys).
    #[arg(long, value_name = "KEY")]
    pub(crate) recovery_key: Vec<String>,
    /// The key of a witness.
    #[arg(long, value_name = "KEY")]
    pub(crate) witness: Vec<String>,
    /// How many witnesses must have cosigned.
    #[arg(long, default_value_t = 0, value_name = "WITNESSES")]
    pub(crate) quorum: usize,
    /// A checkpoint that was kept before: the log must continue it.
    #[arg(long, value_name = "FILE")]
    pub(crate) remembered: Option<PathBuf>,
}
