//! Why a channel call fails. Knows its code (PTP section 13.1), whose fault it is, and whether trying again may help.

use mesh_core::{Code, Fault, ProtocolError, Retry, SessionId};

use crate::{log::LogError, shared::OwnerError};

/// Why a channel call fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The topic or session was released while the call waited, or the session's id is still refused.
    #[error("session {session} was released: use a new session id")]
    Released {
        /// The session.
        session: SessionId,
    },
    /// No room within the timeout.
    #[error(
        "no room for {bytes} bytes in session {session} in time: pop or release, or raise sessionBytes, totalBytes or maxQueuedBytes"
    )]
    Full {
        /// The session.
        session: SessionId,
        /// The size of the message.
        bytes: usize,
    },
    /// Not on disk within the timeout: no room, or a disk too slow for a message of that size.
    #[error(
        "{bytes} bytes could not be put on disk in time: pop or release, give MESH_HOME more room, or give the push more time"
    )]
    DiskFull {
        /// The size of the message.
        bytes: usize,
    },
    /// The process ends, and the push is handed back to the node of our kind that brought it.
    #[error("the node ended before it had the push, and no other process of it was there in time")]
    Ends,
    /// The log did not do it.
    #[error("{0}")]
    Log(LogError),
    /// Another gateway of the node owns the session now, or is about to. Nothing was done.
    #[error("another gateway of this node has the session now, and could not be asked in time: ask again")]
    Moved,
    /// What the gateways of the node share did not do it.
    #[error("{0}")]
    Shared(OwnerError),
    /// A message that never fits.
    #[error("a message of {bytes} bytes is larger than {name} of {limit} bytes: split it, or raise {name}")]
    TooLarge {
        /// The size of the message.
        bytes: usize,
        /// The setting that it exceeds.
        name: &'static str,
        /// The setting's value.
        limit: u64,
    },
    /// A body above the limit.
    #[error("the body is larger than maxBodyBytes of {limit} bytes: split it, or raise maxBodyBytes")]
    BodyTooLarge {
        /// The setting's value.
        limit: u64,
    },
    /// A body that holds room and hardly comes.
    #[error("the body came too slowly: {least} bytes in {seconds} s, or its end, are the least")]
    TooSlow {
        /// What must come of it.
        least: u64,
        /// In so much time.
        seconds: u64,
    },
    /// More sessions than are kept.
    #[error("{limit} sessions are open: release sessions that are done, or shorten idleTimeout")]
    TooManySessions {
        /// The bound.
        limit: usize,
    },
    /// One partner made more sessions than one may.
    #[error("{partner} has made {limit} sessions here: release sessions that are done")]
    PartnerSessions {
        /// The partner.
        partner: String,
        /// The bound.
        limit: usize,
    },
    /// More calls of one partner wait than may.
    #[error("{limit} calls of {partner} wait here: let some of them end")]
    PartnerWaits {
        /// The partner.
        partner: String,
        /// The bound.
        limit: usize,
    },
    /// A partner without a session id.
    #[error("a partner must name a session: send x-ptp-session-id")]
    NoSession,
    /// A partner that calls what is not open to it.
    #[error("{what} is not open to partners: use chan/invoke")]
    NotOpen {
        /// What was called.
        what: &'static str,
    },
    /// A caller whom no route names.
    #[error("the caller is no partner of this node: a certificate that ends in the roots of a route is needed")]
    Stranger,
    /// A partner that claims to be somebody else.
    #[error("the source id {claimed} is not that of {partner}, to whom the certificate belongs")]
    ForeignSource {
        /// What the request says.
        claimed: String,
        /// What the certificate says.
        partner: String,
    },
    /// A lease that the caller does not hold.
    #[error("there is no such lease of this caller: it was settled, or its message went back after 15 s of silence")]
    NoSuchLease,
    /// A node that does not settle what it pops.
    #[error("too many messages are leased to this node, or it named two of them the same: settle them first")]
    TooManyLeases,
    /// A request that cannot be understood.
    #[error("{0}")]
    Malformed(String),
    /// An inner body of invoke that cannot be understood.
    #[error("the inner body of {what} cannot be decoded: {reason}")]
    Inner {
        /// The inner operation.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// An inner operation that does not exist.
    #[error("x-ptp-uri names {path}, which does not exist: chan/push, chan/pop, chan/peek and chan/release do")]
    NoSuchUri {
        /// The path.
        path: String,
    },
    /// A compressed body that cannot be opened.
    #[error("the compressed body cannot be opened: {reason}")]
    Codec {
        /// What is wrong.
        reason: String,
    },
    /// The partner answered with a status of HTTP that says no more.
    #[error("{partner} answered with HTTP {status}: ask the partner")]
    PeerStatus {
        /// The partner.
        partner: String,
        /// The status.
        status: u16,
    },
    /// The partner answered with a status of gRPC and no message.
    #[error("{partner} answered with the gRPC status {status}: ask the partner")]
    PeerGrpc {
        /// The partner.
        partner: String,
        /// The status.
        status: u16,
        /// What it means here.
        code: Code,
    },
    /// A message longer than gRPC carries.
    #[error("a message of {bytes} bytes cannot be written over gRPC, whose messages end at 4 GiB: use HTTP for it")]
    Unwritable {
        /// Its size.
        bytes: u64,
    },
    /// The partner refused us.
    #[error("{partner} refused this node: ask the partner whether its route to us is open and trusts our root")]
    PeerRefused {
        /// The partner.
        partner: String,
    },
    /// The partner's answer cannot be read.
    #[error("the answer of {partner} cannot be decoded: {reason}")]
    PeerAnswer {
        /// The partner.
        partner: String,
        /// What is wrong.
        reason: String,
    },
    /// The partner's answer carries no code.
    #[error("the answer of {partner} has no readable code: {code}")]
    PeerCode {
        /// The partner.
        partner: String,
        /// What stood there.
        code: String,
    },
}

impl From<LogError> for TransportError {
    fn from(why: LogError) -> Self {
        match why {
            LogError::Shared(why) => why.into(),
            why => Self::Log(why),
        }
    }
}

impl From<OwnerError> for TransportError {
    fn from(why: OwnerError) -> Self {
        if why == OwnerError::Moved { Self::Moved } else { Self::Shared(why) }
    }
}

impl ProtocolError for TransportError {
    fn code(&self) -> Code {
        match self {
            Self::Released { .. } | Self::Shared(OwnerError::Released { .. }) => Code::SESSION_RELEASED,
            Self::Full { .. }
            | Self::TooManySessions { .. }
            | Self::PartnerSessions { .. }
            | Self::PartnerWaits { .. }
            | Self::TooManyLeases
            | Self::DiskFull { .. }
            | Self::Log(LogError::Full { .. })
            | Self::Shared(OwnerError::Full(_)) => Code::BUFFER_FULL,
            Self::Ends | Self::Moved | Self::Shared(OwnerError::Away(_)) => Code::UNREACHABLE,
            Self::Shared(OwnerError::Unsure) => Code::TIMEOUT,
            Self::Log(_) | Self::Shared(_) | Self::Unwritable { .. } => Code::INTERNAL,
            Self::PeerGrpc { code, .. } => *code,
            Self::TooLarge { .. } | Self::BodyTooLarge { .. } => Code::TOO_LARGE,
            Self::TooSlow { .. } => Code::TIMEOUT,
            Self::NoSession | Self::NotOpen { .. } => Code::NOT_PERMITTED,
            Self::Stranger | Self::ForeignSource { .. } | Self::PeerRefused { .. } => Code::UNAUTHORISED,
            Self::Malformed(_) => Code::BAD_REQUEST,
            Self::Inner { .. } | Self::PeerAnswer { .. } => Code::SERIALISATION,
            Self::NoSuchUri { .. } | Self::NoSuchLease => Code::NOT_FOUND,
            Self::Codec { .. } => Code::CODEC,
            Self::PeerStatus { .. } | Self::PeerCode { .. } => Code::UNKNOWN,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Full { .. }
            | Self::TooManySessions { .. }
            | Self::DiskFull { .. }
            | Self::Ends
            | Self::Log(_)
            | Self::Moved
            | Self::Shared(_) => Fault::Ours,
            Self::PeerStatus { .. }
            | Self::PeerGrpc { .. }
            | Self::PeerRefused { .. }
            | Self::PeerAnswer { .. }
            | Self::PeerCode { .. } => Fault::Peer,
            _ => Fault::Caller,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Full { .. }
            | Self::TooManySessions { .. }
            | Self::PartnerSessions { .. }
            | Self::PartnerWaits { .. }
            | Self::DiskFull { .. }
            | Self::Ends
            | Self::TooSlow { .. }
            | Self::Log(LogError::Full { .. })
            | Self::Moved
            | Self::Shared(OwnerError::Full(_) | OwnerError::Away(_)) => Retry::Safe,
            Self::Shared(OwnerError::Released { .. }) => Retry::Useless,
            Self::Log(_) | Self::Shared(_) => Retry::Unknown,
            // It did not begin with what it does not know, does not permit, or finds too large.
            Self::PeerGrpc { code: Code::NOT_FOUND | Code::UNAUTHORISED | Code::TOO_LARGE, .. } => Retry::Useless,
            Self::PeerStatus { .. } | Self::PeerGrpc { .. } | Self::PeerAnswer { .. } | Self::PeerCode { .. } => {
                Retry::Unknown
            }
            _ => Retry::Useless,
        }
    }
}
