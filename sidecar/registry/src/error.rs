//! What the registry refuses, and what it says about it.

use mesh_core::{Code, Fault, ProtocolError, Retry};

/// Why a registration or a call to a registered service was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The document is no JSON, or one of its members has the wrong type.
    #[error("the registration cannot be read: {0}")]
    Unreadable(String),
    /// A member that must be there is missing or empty.
    #[error("{0} is missing: a registration needs instance_id, name, kind, address and content")]
    Missing(&'static str),
    /// A member breaks a rule.
    #[error("{member}: {rule}")]
    Invalid {
        /// The member, with its place in the document.
        member: String,
        /// What is wrong with it, and what it must be.
        rule: String,
    },
    /// An address cannot be parsed.
    #[error("{member} {address} is no address: write host:port, such as 10.0.0.5:8000")]
    Address {
        /// The member that holds it.
        member: String,
        /// The address as it was given.
        address: String,
    },
    /// A urn would take calls from the node's own interface.
    #[error("urn {urn} lies over {reserved}, which this node serves itself: register a longer path")]
    Reserved {
        /// The urn.
        urn: String,
        /// The reserved path.
        reserved: &'static str,
    },
    /// The registry holds as much as it may.
    #[error("the registry is full: {0}")]
    Full(String),
    /// The caller may not register that.
    #[error("{0}")]
    NotPermitted(String),
    /// The entry could not be made durable.
    #[error("the registration could not be stored: {0}")]
    Store(String),
    /// A path that two servers may read in two ways.
    #[error("the path is refused: {0}")]
    AmbiguousPath(&'static str),
    /// A partner called what is not exported to it.
    #[error("{path} is not exported to {node}: add it to exports of MeshRoute {route}")]
    NotExported {
        /// The path.
        path: String,
        /// The partner.
        node: String,
        /// The route's name.
        route: String,
    },
    /// A service is registered, and none of its instances can take the call.
    #[error("no instance of {service} is ready: {reason}")]
    NoInstance {
        /// The registration's name.
        service: String,
        /// What is wrong with the last instance that was looked at.
        reason: String,
    },
    /// The service did not answer in time.
    #[error("{service} at {address} did not answer within {millis} ms")]
    Timeout {
        /// The registration's name.
        service: String,
        /// The instance.
        address: String,
        /// The service's timeout.
        millis: u128,
    },
    /// The caller's body hardly came, and kept a place of the service.
    #[error("the request hardly came: less than {least} bytes in {seconds} s, and not its end")]
    TooSlow {
        /// What must come of it.
        least: u64,
        /// In so much time.
        seconds: u64,
    },
    /// The service took the call and broke off, or answered something that is no HTTP.
    #[error("{service} at {address} broke the call off: {reason}")]
    Broken {
        /// The registration's name.
        service: String,
        /// The instance.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The request itself cannot be passed on.
    #[error("the request cannot be passed on: {0}")]
    Request(&'static str),
}

impl RegistryError {
    /// A member that breaks a rule.
    pub(crate) fn invalid(member: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Invalid { member: member.into(), rule: rule.into() }
    }
}

impl ProtocolError for RegistryError {
    fn code(&self) -> Code {
        match self {
            Self::Unreadable(_)
            | Self::Missing(_)
            | Self::Invalid { .. }
            | Self::Reserved { .. }
            | Self::Request(_) => Code::BAD_REQUEST,
            Self::Address { .. } => Code::BAD_ADDRESS,
            Self::Full(_) => Code::BUFFER_FULL,
            Self::NotPermitted(_) | Self::AmbiguousPath(_) | Self::NotExported { .. } => Code::NOT_PERMITTED,
            Self::Store(_) => Code::INTERNAL,
            Self::NoInstance { .. } => Code::NO_INSTANCE,
            Self::Timeout { .. } | Self::TooSlow { .. } => Code::TIMEOUT,
            Self::Broken { .. } => Code::UNKNOWN,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Full(_) | Self::Store(_) => Fault::Ours,
            Self::NoInstance { .. } | Self::Timeout { .. } | Self::Broken { .. } => Fault::Peer,
            _ => Fault::Caller,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Full(_) | Self::Store(_) | Self::NoInstance { .. } => Retry::Safe,
            Self::Timeout { .. } | Self::Broken { .. } => Retry::Unknown,
            _ => Retry::Useless,
        }
    }
}
