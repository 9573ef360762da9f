//! The command line, as `mesh --help` shows it.

mod directory;
mod grid;
mod register;
mod route;
mod tunnel;

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use directory::{
    Directory, DirectoryCall, DirectoryCommand, DirectoryGet, DirectoryHistory, DirectoryImport, DirectoryLs,
    DirectorySearch, DirectoryTokenCommand, DirectoryWatch, Listed, Verify,
};
pub(crate) use grid::{
    ApiCall, Grid, GridClose, GridCommand, GridInfo, GridLs, GridPublish, GridSend, GridTail, Message,
};
pub(crate) use register::{Attr, Proto, Register};
pub(crate) use route::{Proof, Route, RouteAdd, RouteCommand, RouteLs, RouteOf, RouteRm, RouteWith, Terms};
pub(crate) use tunnel::{
    AuthorityCommand, Behind, BehindCommand, TokenCommand, TokenCreate, Tunnel, TunnelApprove, TunnelCommand,
    TunnelDeny, TunnelImport, TunnelJoin, TunnelKick, TunnelPolicy,
};

/// Said at the end of the help: scripts branch on it.
const CODES: &str = "\
Exit codes:
  0  done
  1  refused: by the node, with its code; or a configuration that breaks a rule
  2  wrong usage
  3  no node answered, or none was ready in time
  4  nothing there: pop or peek ended without a message
  5  this machine failed: a file, a port, a limit";

/// The Interconn mesh: a node, and the commands to talk to one.
#[derive(Debug, Parser)]
#[command(name = "mesh", version, after_help = CODES, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// What this process was called with; it ends with the help or the error that the words deserve.
    pub(crate) fn of_process() -> Self {
        if std::env::args_os().nth(1).is_none_or(|word| word != "start") {
            return Self::parse();
        }
        let Alone { command: Node::Start(start) } = Alone::parse();
        Self { command: Command::Start(start) }
    }
}

/// The command that runs a node, without the others: to describe all of them touches megabytes of the program that a node would
/// keep resident and never use.
#[derive(Debug, Parser)]
#[command(name = "mesh", version, propagate_version = true)]
struct Alone {
    #[command(subcommand)]
    command: Node,
}

#[derive(Debug, Subcommand)]
enum Node {
    /// Run a node.
    Start(Start),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node.
    Start(Start),
    /// Show what the node on this machine is doing.
    Status(Status),
    /// Wait until the node on this machine is ready.
    Ready(Ready),
    /// Put a message into a queue.
    Push(Push),
    /// Take the oldest message out of a queue, waiting for one.
    Pop(Pop),
    /// Show the oldest message of a queue.
    Peek(Peek),
    /// Free a topic, or a whole session.
    Release(Release),
    /// Look at the queues of the node on this machine.
    Queue(Queue),
    /// Register a service, so that port 7304 routes to it.
    Register(Box<Register>),
    /// Look at registered services.
    Service(Service),
    /// Look at configurations.
    Config(Config),
    /// Partners: list, add, remove, weave.
    Route(Route),
    /// The grid: its clients, messages to them, and what they send.
    Grid(Grid),
    /// The tunnel: edge nodes, and the tokens that they join with.
    Tunnel(Tunnel),
    /// The directory: its records, its log, and the tokens of its central systems.
    Directory(Directory),
    /// Verify an exported log of a directory, a receipt, or a record with its proof, without a network.
    Verify(Verify),
    /// Call any method of a node by name.
    Exec(Exec),
    /// Find out why something does not work.
    Diagnose(Diagnose),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Start {
    /// Run as a server; there is no other way to run.
    #[arg(long, required = true)]
    pub(crate) server: bool,
    /// A file with the keys of MeshNode.spec, and `routes:` and `registrations:` beside them.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Ready {
    /// How long to wait.
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "120s")]
    pub(crate) within: Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Push {
    /// The topic.
    pub(crate) topic: String,
    /// The file to send; `-` or nothing is standard input.
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) call: Call,
    /// How long to wait for room.
    #[arg(long, value_parser = span, default_value = "60s")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) progress: Progress,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Pop {
    /// The topic.
    pub(crate) topic: String,
    /// Where the message goes; standard output if not given.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) call: Call,
    /// How long to wait for a message.
    #[arg(long, value_parser = span, default_value = "120s")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) progress: Progress,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Peek {
    /// The topic.
    pub(crate) topic: String,
    /// Where the message goes; standard output if not given.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) call: Call,
    #[command(flatten)]
    pub(crate) progress: Progress,
}

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Progress {
    /// Whether a long transfer says on standard error how far it is; by itself, on a terminal.
    #[arg(long = "progress", value_name = "WHEN", value_enum, default_value_t = Show::Auto)]
    pub(crate) show: Show,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Show {
    /// On a terminal.
    Auto,
    /// Also elsewhere, a line a second.
    Always,
    /// Nowhere.
    Never,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Release {
    /// The topic; the whole session if not given.
    pub(crate) topic: Option<String>,
    #[command(flatten)]
    pub(crate) call: Call,
}

/// What all calls of the data plane name.
#[derive(Debug, clap::Args)]
pub(crate) struct Call {
    /// The session.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) session: String,
    /// The node that the call is for; this node if not given.
    #[arg(long, value_name = "ID")]
    pub(crate) target_node: Option<String>,
    /// The nodes to call, with commas between: the first that accepts a connection is used.
    #[arg(long, env = "MESH_ADDRESS", default_value = "127.0.0.1:7304")]
    pub(crate) address: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Output {
    /// The form of the answer.
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Form::Text)]
    pub(crate) form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Queue {
    #[command(subcommand)]
    pub(crate) command: QueueCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List sessions and their queues: how much is in them, who waits, how old the oldest message is.
    Ls(QueueLs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct QueueLs {
    /// Only this session.
    #[arg(long)]
    pub(crate) session: Option<String>,
    /// Sessions and queues to list at most.
    #[arg(long, default_value_t = 200, value_name = "ROWS")]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Diagnose {
    #[command(subcommand)]
    pub(crate) command: DiagnoseCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DiagnoseCommand {
    /// Check the way to a partner step by step; each step that fails comes with its remedy.
    Route(DiagnoseRoute),
}

#[derive(Debug, clap::Args)]
pub(crate) struct DiagnoseRoute {
    /// The partner's node id.
    pub(crate) node: String,
    /// How long a connection is left idle, to find what cuts it.
    #[arg(long, value_parser = span, default_value = "10s")]
    pub(crate) idle: Duration,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Which node is called, and how its answer is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct NodeCall {
    /// The nodes to call, with commas between: the first that accepts a connection is used.
    #[arg(long, env = "MESH_ADDRESS", default_value = "127.0.0.1:7304")]
    pub(crate) address: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Service {
    #[command(subcommand)]
    pub(crate) command: ServiceCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// List registrations and their services: where they are, whether they are ready, and why not.
    Ls(ServiceLs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServiceLs {
    /// Only registrations of this name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Registrations to list at most.
    #[arg(long, default_value_t = 200, value_name = "ROWS")]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Exec {
    /// The method, such as mesh.net.environ; or a whole urn.
    #[arg(short = 'm', long, value_name = "NAME")]
    pub(crate) method: String,
    /// Its arguments; `-` is standard input.
    #[arg(short = 'i', long, value_name = "JSON", default_value = "{}")]
    pub(crate) input: String,
    /// The node that the call is for; this node if not given.
    #[arg(long, value_name = "ID")]
    pub(crate) target_node: Option<String>,
    /// The nodes to call, with commas between: the first that accepts a connection is used.
    #[arg(long, env = "MESH_ADDRESS", default_value = "127.0.0.1:7304")]
    pub(crate) address: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Read and check a configuration as `start` would, and put nothing in force.
    Check {
        /// A rendered directory, or a file written by hand.
        path: PathBuf,
        #[command(flatten)]
        output: Output,
    },
}

fn span(text: &str) -> Result<Duration, String> {
    text.parse::<crds::Span>().map(crds::Span::get)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_reference_manuals_command_starts_a_server() {
        let args = Args::try_parse_from(["mesh", "start", "--server"]).unwrap();
        assert!(matches!(args.command, Command::Start(Start { server: true, config: None })));
        assert!(Args::try_parse_from(["mesh", "start"]).is_err());
    }

    #[test]
    fn the_command_of_a_node_says_the_same_with_and_without_the_others() {
        for word in ["", "--help", "--version", "--bogus", "--config"] {
            let words = ["mesh", "start", word];
            let words = if word.is_empty() { &words[..2] } else { &words[..] };
            let (alone, whole) = (Alone::try_parse_from(words).unwrap_err(), Args::try_parse_from(words).unwrap_err());
            assert_eq!(alone.to_string(), whole.to_string(), "{word}");
        }
    }
}
