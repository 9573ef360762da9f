//! The command line, as `mesh --help` shows it.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};

/// Said at the end of the help: scripts branch on it.
const CODES: &str = "\
Exit codes:
  0  done
  1  refused: by the node, with its code; or a configuration that breaks a rule
  2  wrong usage
  3  no node answered
  4  nothing there: pop or peek ended without a message
  5  this machine failed: a file, a port, a limit";

/// The Interconn mesh: a node, and the commands to talk to one.
#[derive(Debug, Parser)]
#[command(name = "mesh", version, after_help = CODES, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node.
    Start(Start),
    /// Show what the node on this machine is doing.
    Status(Status),
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
    Register(Register),
    /// Look at registered services.
    Service(Service),
    /// Look at configurations.
    Config(Config),
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
pub(crate) struct Register {
    /// The name that instances of one service share.
    pub(crate) name: String,
    /// The paths that callers use, such as /serving.
    #[arg(required_unless_present = "remove")]
    pub(crate) urns: Vec<String>,
    /// Where the instance is: host:port, https://host:port for TLS.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) at: String,
    /// What the instance speaks.
    #[arg(long, value_enum, default_value_t = Proto::Http)]
    pub(crate) proto: Proto,
    /// The share of calls that the instance gets; 0 drains it.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) weight: f64,
    /// How long the instance may take to begin its answer.
    #[arg(long, value_parser = span, default_value = "10s")]
    pub(crate) timeout: Duration,
    /// How long the registration holds; the node's grace comes on top.
    #[arg(long = "for", value_parser = span, default_value = "1h", value_name = "TIME")]
    pub(crate) span: Duration,
    /// The instance's id; its address if not given.
    #[arg(long, value_name = "ID")]
    pub(crate) instance: Option<String>,
    /// Take the registration of this instance out again.
    #[arg(long)]
    pub(crate) remove: bool,
    /// The nodes to call, with commas between: the first that accepts a connection is used.
    #[arg(long, env = "MESH_ADDRESS", default_value = "127.0.0.1:7304")]
    pub(crate) address: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Proto {
    /// HTTP/1.1.
    Http,
    /// gRPC over HTTP/2.
    Grpc,
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
}
