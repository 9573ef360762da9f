//! What can be wrong with a resource, and what to do about it: the one word of a condition's reason, and the sentence.
//!
//! A problem is a refusal when the resource has no part in the configuration, else a remark; who finds it decides which.
//! No text here ever quotes a Secret.

use crds::Violation;
use mesh_pki::PkiError;

/// The kinds of object that resources refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        })
    }
}

/// What is wrong with a resource. Every text names the field or object, the rule and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// The spec breaks rules that the API server would have refused it for.
    #[error("{}", list(.0))]
    Invalid(Vec<Violation>),
    /// A route of a node to itself.
    #[error("spec.peer.nodeId: {node_id} is this node's own id: name the partner's")]
    SelfRoute {
        /// The id.
        node_id: String,
    },
    /// Two routes for one partner.
    #[error(
        "spec.peer.nodeId: MeshRoute {holder} is the older route to {node_id} and stays in force, even while it is disabled: delete one of the two"
    )]
    DuplicatePeer {
        /// The partner.
        node_id: String,
        /// The route that is in force.
        holder: String,
    },
    /// A route that was made at an application's word, where people made one too.
    #[error(
        "spec.peer.nodeId: MeshRoute {holder} was made with kubectl and decides about {node_id}; this one was made by an application's call: delete it, or that one"
    )]
    Overridden {
        /// The partner.
        node_id: String,
        /// The route that is in force.
        holder: String,
    },
    /// Two registrations for one instance.
    #[error(
        "spec.instanceId: ServiceRegistration {holder} is older and has the same kind, name and instanceId: delete one of the two, or give it another instanceId"
    )]
    DuplicateInstance {
        /// The registration that is in force.
        holder: String,
    },
    /// One root for several partners. A remark: the sidecar tells them apart by the name in the leaf.
    #[error(
        "spec.trust: {with} trusts the same root: only certificates that name {node_id}.trustbe.cn are taken for this partner's; ask it for such a certificate"
    )]
    RootShared {
        /// Who else has it.
        with: String,
        /// The partner.
        node_id: String,
    },
    /// A partner that need not prove who it is. A remark (PTP section 12.4).
    #[error(
        "spec.clientCertificate: Optional, so what the partner claims to be is not proven: set Required as soon as it shows a certificate"
    )]
    Unproven,
    /// An address with the tag `k`. A remark (PTP section 11.4).
    #[error(
        "spec.addresses: {address} has the tag k, which asks that names in certificates are not looked at; nothing permits that in a cluster, and they are: take it out"
    )]
    SkipsNames {
        /// The address, without logins.
        address: String,
    },
    /// Roots that cannot be used.
    #[error("{field}: {why}")]
    BadRoot {
        /// The field that gives them.
        field: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// An object that is not there, or lacks a key.
    #[error("{field}: {object} {name} {}", absent(.key.as_deref()))]
    MissingReference {
        /// The field that refers to it.
        field: &'static str,
        /// Its kind.
        object: Object,
        /// Its name.
        name: String,
        /// The key that is missing; `None` when the object is.
        key: Option<String>,
    },
    /// A certificate and a key that do not fit each other, or their purpose.
    #[error("{field}: {why}")]
    BadPair {
        /// The field that refers to them.
        field: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// A route or certificate whose time is past. For a route a remark: the sidecar answers E0000000605.
    #[error("{field}: ended at {at}: {remedy}")]
    Expired {
        /// The field that says so or refers to it.
        field: String,
        /// The end, RFC 3339.
        at: String,
        /// What to do.
        remedy: &'static str,
    },
    /// An issued root of another node under this node's name.
    #[error(
        "the root that is kept for this name was issued for another node than {node_id}, and its partners still trust it: restore the old spec.nodeId, or delete the kept root to have a new one made"
    )]
    ForeignRoot {
        /// The node as it is now.
        node_id: String,
    },
    /// A node that another operator looks after.
    #[error(
        "the operator of namespace {other} looks after this node, and each operator keeps roots of its own: remove one of the two, or take the node out of the watchNamespaces of one; if {other} is gone for good, copy its Secrets mesh-root.*, mesh-member-root.* and mesh-rooms.* to {own} and say so: kubectl annotate meshnode {node} --overwrite interconn.dev/operator={own}"
    )]
    OtherOperator {
        /// The namespace of that operator.
        other: String,
        /// The MeshNode.
        node: String,
        /// The namespace of this operator.
        own: String,
    },
    /// A node that another release of the same namespace looks after.
    #[error(
        "another release in namespace {namespace}, whose leader holds the Lease {lease}, looks after this node: helm uninstall one of the two, or give each its own watchNamespaces; the one that stays takes over within a minute"
    )]
    OtherRelease {
        /// The Lease of that operator.
        lease: String,
        /// The namespace of both.
        namespace: String,
    },
    /// An issued root that is gone.
    #[error(
        "the root {digits} that was issued for this node, and that its partners trust, is gone: restore Secret {secret} in the operator's namespace; or begin with another root, which every partner must be given before it talks to the node again: kubectl annotate meshnode {node} --overwrite interconn.dev/new-root={digits}"
    )]
    RootMissing {
        /// The Secret that it was kept in.
        secret: String,
        /// The MeshNode.
        node: String,
        /// How its sha256 begins.
        digits: String,
    },
    /// More than the limits of Kubernetes leave room for.
    #[error("{what} no longer fits: a node has room for {limit}; delete or shorten others")]
    TooMany {
        /// What was left out.
        what: &'static str,
        /// The bound, with its unit.
        limit: &'static str,
    },
    /// A setting that this version does not act on yet.
    #[error("{field}: this version does not act on it yet: {remedy}")]
    NotYet {
        /// The field.
        field: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// An issuer that has yet to answer.
    #[error(
        "spec.certificates.issuerRef: {issuer} has not answered CertificateRequest {request}: kubectl describe certificaterequest {request} says what it waits for"
    )]
    IssuerPending {
        /// Kind and name.
        issuer: String,
        /// The request's name.
        request: String,
    },
    /// An issuer that gave nothing that could be used.
    #[error(
        "spec.certificates.issuerRef: {issuer} gave no leaf: {why}; it is asked again within an hour, or when the spec changes"
    )]
    IssuerRefused {
        /// Kind and name.
        issuer: String,
        /// What it said, or what is wrong with what it gave.
        why: String,
    },
    /// Certificates could not be made.
    #[error("certificates could not be issued: {0}")]
    NotIssued(PkiError),
    /// The configuration has no form in JSON: a fault of this program.
    #[error("the configuration could not be written: {0}; please report this")]
    Unwritable(String),
}

impl Problem {
    /// The reason where another operator looks after a node.
    pub(crate) const OTHER_OPERATOR: &'static str = "OtherOperator";

    /// The reason of the condition that tells of it.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "Invalid",
            Self::SelfRoute { .. } => "SelfRoute",
            Self::DuplicatePeer { .. } => "DuplicatePeer",
            Self::Overridden { .. } => "Overridden",
            Self::DuplicateInstance { .. } => "DuplicateInstance",
            Self::RootShared { .. } => "RootShared",
            Self::Unproven => "Unproven",
            Self::SkipsNames { .. } => "SkipsNames",
            Self::BadRoot { .. } => "BadRoot",
            Self::MissingReference { .. } => "MissingReference",
            Self::BadPair { .. } => "BadPair",
            Self::Expired { .. } => "Expired",
            Self::ForeignRoot { .. } => "ForeignRoot",
            Self::OtherOperator { .. } | Self::OtherRelease { .. } => Self::OTHER_OPERATOR,
            Self::RootMissing { .. } => "RootMissing",
            Self::TooMany { .. } => "TooMany",
            Self::NotYet { .. } => "NotYet",
            Self::IssuerPending { .. } => "IssuerPending",
            Self::IssuerRefused { .. } => "IssuerRefused",
            Self::NotIssued(_) => "NotIssued",
            Self::Unwritable(_) => "Unwritable",
        }
    }
}

fn list(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn absent(key: Option<&str>) -> String {
    key.map_or_else(
        || "does not exist in this namespace: create it, or correct the name".into(),
        |key| format!("has no text under the key {key}: add it, or correct the key"),
    )
}
