//! `mesh route`.

use std::path::PathBuf;

use clap::Subcommand;

use super::NodeCall;

#[derive(Debug, clap::Args)]
pub(crate) struct Route {
    #[command(subcommand)]
    pub(crate) command: RouteCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// List partners, and parties that wait to be woven.
    Ls(RouteLs),
    /// Add a partner, or change one.
    Add(Box<RouteAdd>),
    /// Let go of a partner, or of a party that waits.
    Rm(RouteRm),
    /// Offer this node to a partner; one that has no route yet needs --inst and --at.
    Weave(Box<RouteWith>),
    /// Say yes to a party that waits, and what it may call.
    Ack(Box<RouteWith>),
    /// Let nothing through to and from a partner.
    Disable(RouteOf),
    /// Let calls through again.
    Enable(RouteOf),
}

#[derive(Debug, clap::Args)]
pub(crate) struct RouteLs {
    #[command(flatten)]
    pub(crate) node: NodeCall,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RouteOf {
    /// The partner's node id.
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) call: NodeCall,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RouteRm {
    /// Turn down the weave that waits in the partner's name, and leave its route as it is.
    #[arg(long)]
    pub(crate) weave: bool,
    #[command(flatten)]
    pub(crate) of: RouteOf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RouteAdd {
    /// The partner's node id.
    pub(crate) node: String,
    /// The partner's institution id.
    #[arg(long, value_name = "ID")]
    pub(crate) inst: String,
    /// Where the partner is dialled: host:port, or several with commas between, the first that works is used.
    #[arg(long, value_name = "LIST")]
    pub(crate) at: String,
    #[command(flatten)]
    pub(crate) terms: Terms,
    #[command(flatten)]
    pub(crate) call: NodeCall,
}

/// A weave, or the answer to one, with what is not known of the partner or shall change.
#[derive(Debug, clap::Args)]
pub(crate) struct RouteWith {
    /// The partner's node id.
    pub(crate) node: String,
    /// The partner's institution id.
    #[arg(long, value_name = "ID")]
    pub(crate) inst: Option<String>,
    /// Where the partner is dialled: host:port, or several with commas between, the first that works is used.
    #[arg(long, value_name = "LIST")]
    pub(crate) at: Option<String>,
    /// What people on both sides compare; one is made where none is given.
    #[arg(long, value_name = "TEXT")]
    pub(crate) code: Option<String>,
    #[command(flatten)]
    pub(crate) terms: Terms,
    #[command(flatten)]
    pub(crate) call: NodeCall,
}

/// What a route says beside who the partner is and where.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Terms {
    /// A file with the partner's root.
    #[arg(long, value_name = "FILE")]
    pub(crate) root: Option<PathBuf>,
    /// A file with the certificate that the partner issued for this node.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// A file with its key.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// What people call the partner.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A proxy to dial through: http://host:port, https://host:port or socks5://host:port.
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// Where the partner's names lead, instead of what name servers say.
    #[arg(long, value_name = "IPS")]
    pub(crate) static_ip: Option<String>,
    /// A path of a registered service that the partner may call, or the name of one; may be given several times. What was
    /// exported before and is not named is no longer.
    #[arg(long = "export", value_name = "PATH")]
    pub(crate) exports: Vec<String>,
    /// The partner may call no registered service any more.
    #[arg(long, conflicts_with = "exports")]
    pub(crate) no_exports: bool,
    /// The name that is asked for in TLS, where it is not the host's.
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Whether the partner must prove who it is.
    #[arg(long, value_enum, value_name = "WHETHER")]
    pub(crate) client_certificate: Option<Proof>,
    /// When the route ends, as in 2030-01-31T00:00:00Z; ten years from now unless given.
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<jiff::Timestamp>,
}

/// Whether a partner must show a certificate.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Proof {
    /// It must.
    Required,
    /// It need not: what it then claims to be is not proven.
    Optional,
}
