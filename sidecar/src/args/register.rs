//! `mesh register`.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::ValueEnum;

use super::{Output, span};

#[derive(Debug, clap::Args)]
pub(crate) struct Register {
    /// The name that instances of one service share.
    #[arg(required_unless_present = "file")]
    pub(crate) name: Option<String>,
    /// The paths that callers use, such as /serving; of the kind metadata the names.
    #[arg(required_unless_present_any = ["remove", "file", "kind"])]
    pub(crate) urns: Vec<String>,
    /// Where the instance is: host:port, https://host:port for TLS.
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "file")]
    pub(crate) at: Option<String>,
    /// A whole document as /v1/interconn/registry/register takes it, or a list of them; `-` is standard input. What else is said
    /// here does not count, but --remove.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "at"])]
    pub(crate) file: Option<PathBuf>,
    /// How calls find it.
    #[arg(long, value_enum, default_value_t = Kind::Complex)]
    pub(crate) kind: Kind,
    /// What the instance speaks.
    #[arg(long, value_enum, default_value_t = Proto::Http)]
    pub(crate) proto: Proto,
    /// The share of calls that the instance gets; 0 drains it.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) weight: f64,
    /// How long the instance may take to begin its answer.
    #[arg(long, value_parser = span, default_value = "10s")]
    pub(crate) timeout: Duration,
    /// How often a call that surely did not arrive is tried again while no instance is ready.
    #[arg(long, default_value_t = 0, value_name = "TIMES")]
    pub(crate) retries: u8,
    /// All who register the same names as communal share their calls; of the kind metadata.
    #[arg(long)]
    pub(crate) communal: bool,
    /// An attribute, such as priority=high or mesh-subset=blue; may be given several times.
    #[arg(long = "attr", value_name = "NAME=VALUE")]
    pub(crate) attrs: Vec<Attr>,
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
pub(crate) enum Kind {
    /// By path.
    Complex,
    /// By name.
    Metadata,
    /// Not at all: it is only listed.
    Server,
    /// It is the way out for calls to partners.
    Proxy,
}

impl Kind {
    /// As the wire has it (PTP section 10.1).
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Complex => "complex",
            Self::Metadata => "metadata",
            Self::Server => "server",
            Self::Proxy => "proxy",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Proto {
    /// HTTP/1.1.
    Http,
    /// gRPC over HTTP/2.
    Grpc,
}

/// A name and its value.
#[derive(Clone, Debug)]
pub(crate) struct Attr(pub(crate) String, pub(crate) String);

impl FromStr for Attr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
        Ok(Self(name.to_owned(), value.to_owned()))
    }
}
