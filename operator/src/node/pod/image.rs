//! Which image pods run, how it is pulled, and where its traces go: the operator's own options, the same for every node.

/// The image of `mesh`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Image {
    /// The image of `mesh` that gateways and sidecars run.
    #[arg(long = "image", env = "MESH_OPERATOR_IMAGE", default_value = concat!("localhost/mesh:", env!("CARGO_PKG_VERSION")))]
    pub(crate) name: String,
    /// When the kubelet pulls it; none: as Kubernetes decides by the tag.
    #[arg(long = "image-pull-policy", env = "MESH_OPERATOR_IMAGE_PULL_POLICY", value_enum)]
    pub(crate) pull_policy: Option<PullPolicy>,
    /// Secrets to pull it with, in the node's namespace, separated by commas; gateways only, sidecars use their pods' own.
    #[arg(long = "image-pull-secrets", env = "MESH_OPERATOR_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub(crate) pull_secrets: Vec<String>,
    /// Where traces go, the operator's own and those of what runs the image; said by the standard's variables alone.
    #[arg(skip = traces::Options::from_environment())]
    pub(crate) traces: traces::Options,
}

/// When the kubelet pulls an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[clap(rename_all = "PascalCase")]
pub(crate) enum PullPolicy {
    /// At every start.
    Always,
    /// When the machine lacks it.
    IfNotPresent,
    /// Never: it is there.
    Never,
}

impl PullPolicy {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

impl Image {
    /// The pull secrets that are named. A variable that is set to nothing names none.
    pub(crate) fn named_secrets(&self) -> impl Iterator<Item = &str> {
        self.pull_secrets.iter().map(|name| name.trim()).filter(|name| !name.is_empty())
    }
}
