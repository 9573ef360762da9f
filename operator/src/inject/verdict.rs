//! What is said of a pod that gets no sidecar: left as it is, for a reason, or refused, with the remedy.

use super::names::{DISABLED, ENABLED, INJECT, NODE};

/// Why a pod is left as it is. The word goes into Events and metrics, the text to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Its label says so.
    OptedOut,
    /// It has its sidecar, or a `mesh` of its own.
    AlreadyThere,
    /// A container of it serves our port.
    PortServed,
    /// It is a gateway of ours.
    Gateway,
    /// It has the machine's network.
    HostNetwork,
    /// Its containers see each other's processes.
    SharedProcesses,
    /// It runs on Windows.
    Windows,
    /// A kubelet runs it from a file.
    Mirror,
    /// Nobody's pods are touched there.
    ProtectedNamespace,
    /// The call is about something else than a new pod.
    NotANewPod,
}

impl Left {
    /// The word.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::OptedOut => "OptedOut",
            Self::AlreadyThere => "AlreadyThere",
            Self::PortServed => "PortServed",
            Self::Gateway => "Gateway",
            Self::HostNetwork => "HostNetwork",
            Self::SharedProcesses => "SharedProcesses",
            Self::Windows => "Windows",
            Self::Mirror => "Mirror",
            Self::ProtectedNamespace => "ProtectedNamespace",
            Self::NotANewPod => "NotANewPod",
        }
    }

    /// The sentence.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::OptedOut => "no sidecar: the pod's label interconn.dev/inject is disabled",
            Self::AlreadyThere => "no sidecar: the pod has one already",
            Self::PortServed => {
                "no sidecar: a container serves port 7304 itself; call it mesh, or give it another port"
            }
            Self::Gateway => "no sidecar: the pod is a gateway",
            Self::HostNetwork => "no sidecar: with hostNetwork its 127.0.0.1:7304 would be the machine's",
            Self::SharedProcesses => {
                "no sidecar: with shareProcessNamespace or hostPID other containers could reach into its process"
            }
            Self::Windows => "no sidecar: it runs on Linux only",
            Self::Mirror => "no sidecar: the kubelet runs this pod from a file, which has to name the sidecar itself",
            Self::ProtectedNamespace => {
                "no sidecar: pods of the system's and the operator's namespaces are not touched"
            }
            Self::NotANewPod => "no sidecar: only new pods get one",
        }
    }

    /// Whether somebody who wonders about it needs to be told. A pod that has its sidecar, or never wanted one, need not.
    pub(crate) fn is_worth_an_event(self) -> bool {
        !matches!(self, Self::AlreadyThere | Self::Gateway | Self::NotANewPod | Self::ProtectedNamespace)
    }
}

/// Names that are listed for people at most; a namespace with more nodes has them all in `kubectl get mn`.
const LISTED: usize = 10;

/// Why a pod is not admitted. It asked for a sidecar, and must not start without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The pod's label has a value that nobody understands.
    #[error("label {INJECT} is {value:?}: it must be {ENABLED} or {DISABLED}")]
    BadLabel {
        /// The value.
        value: String,
    },
    /// There is no node that it could belong to.
    #[error("namespace {namespace} has no MeshNode: create one, or label the pod {INJECT}={DISABLED}")]
    NoNode {
        /// The namespace.
        namespace: String,
    },
    /// There is none of this name.
    #[error("there is no MeshNode {name} in namespace {namespace}, which has {}: correct {NODE} of the pod", listed(.known))]
    UnknownNode {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
        /// Those that are there.
        known: Vec<String>,
    },
    /// There are several.
    #[error("namespace {namespace} has several MeshNodes ({}): name one by annotation {NODE} of the pod", listed(.known))]
    Ambiguous {
        /// The namespace.
        namespace: String,
        /// Those that are there.
        known: Vec<String>,
    },
    /// Label and annotation name different nodes.
    #[error("label {NODE} names {label} and the annotation of that name {annotation}: leave one of them")]
    TwoNodes {
        /// What the label says.
        label: String,
        /// What the annotation says.
        annotation: String,
    },
    /// Something in the pod has a name that the sidecar needs.
    #[error("the pod has a {kind} named {name}, as the sidecar's is: rename it, or label the pod {INJECT}={DISABLED}")]
    NameTaken {
        /// `container` or `volume`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A container of the pod says that it serves a port of the sidecar.
    #[error("container {container} serves port {port}, which the sidecar's probes need: choose another port for it")]
    PortTaken {
        /// The container.
        container: String,
        /// The port.
        port: u16,
    },
    /// An annotation cannot be followed.
    #[error("annotation {annotation}: {problem}")]
    BadAnnotation {
        /// Its name.
        annotation: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl Refusal {
    /// The word for Events and metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::BadLabel { .. } => "BadLabel",
            Self::NoNode { .. } => "NoNode",
            Self::UnknownNode { .. } => "UnknownNode",
            Self::Ambiguous { .. } => "Ambiguous",
            Self::TwoNodes { .. } => "TwoNodes",
            Self::NameTaken { .. } => "NameTaken",
            Self::PortTaken { .. } => "PortTaken",
            Self::BadAnnotation { .. } => "BadAnnotation",
        }
    }

    /// Whether a MeshNode that was created a moment ago would change it.
    pub(crate) fn may_heal(&self) -> bool {
        matches!(self, Self::NoNode { .. } | Self::UnknownNode { .. })
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".into();
    }
    let more = if names.len() > LISTED { ", and more" } else { "" };
    format!("{}{more}", names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", "))
}
