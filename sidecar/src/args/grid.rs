//! `mesh grid`.

use std::path::PathBuf;

use clap::Subcommand;

use super::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Grid {
    #[command(subcommand)]
    pub(crate) command: GridCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GridCommand {
    /// List the topics and the clients of the node on this machine.
    Ls(GridLs),
    /// Show one client: where it comes from, its channels, its context.
    Info(GridInfo),
    /// Send a message to one client.
    Send(GridSend),
    /// Send a message to all that are subscribed to a channel.
    Publish(GridPublish),
    /// Close a client's connection.
    Close(GridClose),
    /// Consume topics and print what comes. What is printed is taken out: other consumers of the topic do not get it.
    Tail(GridTail),
}

#[derive(Debug, clap::Args)]
pub(crate) struct GridLs {
    /// Clients to list at most.
    #[arg(long, default_value_t = 200, value_name = "ROWS")]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GridInfo {
    /// The client's id.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) call: ApiCall,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GridSend {
    /// The client's id.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) message: Message,
    #[command(flatten)]
    pub(crate) call: ApiCall,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GridPublish {
    /// The channel.
    pub(crate) channel: String,
    #[command(flatten)]
    pub(crate) message: Message,
    /// A further channel; who is in several gets the message once.
    #[arg(long, value_name = "CHANNEL")]
    pub(crate) also: Vec<String>,
    #[command(flatten)]
    pub(crate) call: ApiCall,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GridClose {
    /// The client's id.
    pub(crate) id: String,
    /// The close code that the client gets.
    #[arg(long, default_value_t = 1000)]
    pub(crate) code: u16,
    /// The reason that the client gets.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) call: ApiCall,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GridTail {
    /// The topics.
    #[arg(required = true)]
    pub(crate) topic: Vec<String>,
    /// End after so many events.
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) call: ApiCall,
}

/// What is sent.
#[derive(Debug, clap::Args)]
pub(crate) struct Message {
    /// The file to send; `-` or nothing is standard input.
    pub(crate) file: Option<PathBuf>,
    /// Send it as a binary message, whatever bytes it has.
    #[arg(long)]
    pub(crate) binary: bool,
}

/// Which node's backend API is called, and how its answer is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct ApiCall {
    /// The backend API of the nodes to call, with commas between: the first that accepts a connection is used. https://host:port for
    /// TLS.
    #[arg(long, env = "MESH_GRID_ADDRESS", default_value = "127.0.0.1:6789")]
    pub(crate) address: String,
    /// The file with the roots that an https:// node has to prove itself by, PEM: its own, as it shows it to its partners.
    #[arg(long, env = "MESH_GRID_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// What its certificate is for, where that is not the host of its address: NODE-ID.trustbe.cn stands in each.
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// The token of a user of `grid.backend.users`; none is needed from the node's own machine.
    #[arg(long, env = "MESH_GRID_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}
