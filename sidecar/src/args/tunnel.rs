//! `mesh tunnel`.

use std::{path::PathBuf, time::Duration};

use clap::Subcommand;
use mesh_tunnel::{
    addresses::Network,
    join::{Exposed, Forwarded},
};

use super::{Attr, Output, span};

#[derive(Debug, clap::Args)]
pub(crate) struct Tunnel {
    #[command(subcommand)]
    pub(crate) command: TunnelCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TunnelCommand {
    /// Tokens with which edge nodes join.
    Token(TunnelToken),
    /// Be an edge node: join a network with a token, and keep its tunnel open.
    Join(Box<TunnelJoin>),
    /// List the edge nodes of the node on this machine.
    Ls(TunnelLs),
    /// End an edge node's session; it may come again.
    Kick(TunnelKick),
    /// Let a node open its tunnel that joined with a token made with --approval.
    Approve(TunnelApprove),
    /// Refuse a certificate that leaked, an administrator's or a node's, for as long as it lasts.
    Deny(TunnelDeny),
    /// The authorities whose certificates are taken.
    Authority(TunnelAuthority),
    /// Networks behind edge nodes.
    Route(TunnelRoute),
    /// Show who may reach whom, or whether one edge node may reach another.
    Policy(TunnelPolicy),
    /// Take over the authorities, nodes and tokens of a LiteKube network controller.
    Import(TunnelImport),
}

#[derive(Debug, clap::Args)]
pub(crate) struct TunnelJoin {
    /// TOKEN@HOST:PORT as `mesh tunnel token create` printed it; not needed once the folder holds a node.
    #[arg(env = "MESH_TUNNEL_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// The server's bootstrap port, where the token does not name it.
    #[arg(long, value_name = "HOST[:PORT]", requires = "token")]
    pub(crate) server: Option<String>,
    /// Go on as a node of LiteKube's: its YAML (mode: client) names the server, the node's token and its certificate.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) legacy: Option<PathBuf>,
    /// Where the node's keys and certificates are kept; MESH_HOME/edge if not given.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// A port of this machine that leads to an address in the tunnel.
    #[arg(long = "forward", value_name = "PORT:ADDRESS:PORT")]
    pub(crate) forwards: Vec<Forwarded>,
    /// A port of this node's address in the tunnel that leads to something this machine reaches.
    #[arg(long = "expose", value_name = "PORT:HOST:PORT")]
    pub(crate) exposed: Vec<Exposed>,
    /// Put this machine itself into the network, by a TUN device: it wants CAP_NET_ADMIN, and any packet passes.
    #[arg(long, conflicts_with_all = ["forwards", "exposed"])]
    pub(crate) tun: bool,
    /// Let the server give that device a network which is not private (RFC 1918, RFC 6598): the machine reaches it through the tunnel alone.
    #[arg(long, requires = "tun")]
    pub(crate) tun_public: bool,
    /// Networks of this machine that others in the tunnel reach by TCP through it, once the server's administrator approved them.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub(crate) routes: Vec<Network>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TunnelRoute {
    #[command(subcommand)]
    pub(crate) command: BehindCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BehindCommand {
    /// List the networks that edge nodes announce, or that are approved.
    Ls(TunnelLs),
    /// Let packets to a network go by way of an edge node, and come from it.
    Approve(Behind),
    /// Take an approval back.
    Revoke(Behind),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Behind {
    /// The edge node, such as n7.
    pub(crate) node: String,
    /// The network, such as 192.168.7.0/24. An announced network is in force where it lies in an approved one.
    pub(crate) network: Network,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TunnelToken {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token. It is shown once.
    Create(TokenCreate),
    /// List the tokens, without their secrets.
    Ls(TunnelLs),
    /// Take a token back. Nodes that joined with it stay.
    Revoke(TokenRevoke),
}

#[derive(Debug, clap::Args)]
pub(crate) struct TokenCreate {
    /// How long it is worth something.
    #[arg(long, value_parser = span, default_value = "1h", conflicts_with = "endless")]
    pub(crate) ttl: Duration,
    /// For ever.
    #[arg(long)]
    pub(crate) endless: bool,
    /// How many nodes may join with it; 0: any number.
    #[arg(long, default_value_t = 1, value_name = "NODES")]
    pub(crate) max_uses: u32,
    /// What its nodes are labelled with.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<Attr>,
    /// Forget its nodes when they were away for so long.
    #[arg(long, value_parser = span, value_name = "TIME")]
    pub(crate) ephemeral: Option<Duration>,
    /// Its nodes open no tunnel until `mesh tunnel approve` has named them.
    #[arg(long)]
    pub(crate) approval: bool,
    /// 16 digits and the address, for clients that know no other form: they do not verify the server.
    #[arg(long)]
    pub(crate) legacy: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TunnelLs {
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TokenRevoke {
    /// The token's id.
    pub(crate) id: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TunnelKick {
    /// The node's id, such as n7.
    pub(crate) id: String,
    /// Forget the node: its token and certificates are worth nothing, its address is free.
    #[arg(long)]
    pub(crate) unregister: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TunnelDeny {
    /// The certificate as a PEM file, or the SHA-256 of its public key (SubjectPublicKeyInfo) in hex.
    #[arg(value_name = "FILE|SHA256")]
    pub(crate) certificate: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TunnelAuthority {
    #[command(subcommand)]
    pub(crate) command: AuthorityCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuthorityCommand {
    /// List them: those in force, those that take over, and those that were replaced.
    Ls(TunnelLs),
    /// Trust one no more that was replaced: tunnels that began with its certificates end, and none begins.
    Forget(AuthorityForget),
}

#[derive(Debug, clap::Args)]
pub(crate) struct AuthorityForget {
    /// The SHA-256 of its certificate in hex, as `mesh tunnel authority ls` shows it.
    pub(crate) sha256: String,
    /// It was replaced because its time was over, and this machine's clock is right about that.
    #[arg(long)]
    pub(crate) clock_is_right: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TunnelApprove {
    /// The node's id, such as n7.
    pub(crate) id: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TunnelPolicy {
    /// The edge node that would begin, such as n7.
    #[arg(long, value_name = "NODE", requires = "to")]
    pub(crate) from: Option<String>,
    /// The edge node that it would reach.
    #[arg(long, value_name = "NODE", requires = "from")]
    pub(crate) to: Option<String>,
    /// A TCP or UDP port of it.
    #[arg(long, requires = "to")]
    pub(crate) port: Option<u16>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TunnelImport {
    /// The original's YAML: it names the folders, and its settings are printed as a section of ours.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["database", "register_ca", "join_ca"])]
    pub(crate) config: Option<PathBuf>,
    /// The original's litekube-nc.db, if not in the folder that the YAML names.
    #[arg(long, value_name = "FILE")]
    pub(crate) database: Option<PathBuf>,
    /// The folder with ca.pem and ca-key.pem of its gRPC services, if not the one that the YAML names.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) register_ca: Option<PathBuf>,
    /// The same of its tunnel.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) join_ca: Option<PathBuf>,
    /// Read everything, say what would be taken over, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}
