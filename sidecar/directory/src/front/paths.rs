//! Which path is what, and which methods it takes.

use http::Method;

use crate::{
    DirectoryError,
    error::{Code, Why},
    message::Message,
    witness,
};

/// What all paths of the directory begin with.
pub const PREFIX: &str = "/datanet/v1";

/// Bytes of the longest message that is no sync.
pub(super) const SHORT: usize = 64 << 10;

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room<'p> {
    /// One path for all messages; read, it says who the directory is.
    About,
    /// A message.
    Message(Message),
    /// Many messages.
    Batch,
    /// What changes.
    Watch,
    /// A file of the log, by its path below `/log/`.
    Log(&'p str),
    /// A proof.
    Proof(Proof),
    /// Another log's checkpoint that is to be signed.
    AddCheckpoint,
    /// The messages as JSON Schema.
    Schema,
}

/// What is to be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    Inclusion,
    Consistency,
    State,
    Receipt,
}

impl<'p> Room<'p> {
    /// What is at this path of the node.
    pub(super) fn of(path: &'p str) -> Option<Self> {
        match path.strip_prefix(PREFIX)? {
            "" | "/" => Some(Self::About),
            "/batch" => Some(Self::Batch),
            "/watch" => Some(Self::Watch),
            "/proof/inclusion" => Some(Self::Proof(Proof::Inclusion)),
            "/proof/consistency" => Some(Self::Proof(Proof::Consistency)),
            "/proof/state" => Some(Self::Proof(Proof::State)),
            "/proof/receipt" => Some(Self::Proof(Proof::Receipt)),
            witness::PATH => Some(Self::AddCheckpoint),
            "/schema" => Some(Self::Schema),
            rest => match rest.strip_prefix("/log/") {
                Some(path) => Some(Self::Log(path)),
                None => Message::of_path(rest).map(Self::Message),
            },
        }
    }

    /// What metrics call it: of a fixed set.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::About => "about",
            Self::Message(message) => message.operation(),
            Self::Batch => "batch",
            Self::Watch => "watch",
            Self::Log(_) => "log",
            Self::Proof(_) => "proof",
            Self::AddCheckpoint => "witness",
            Self::Schema => "schema",
        }
    }

    /// Whether something may be changed by it.
    pub(super) const fn may_write(self) -> bool {
        match self {
            Self::About | Self::Batch => true,
            Self::Message(message) => message.writes(),
            Self::Watch | Self::Log(_) | Self::Proof(_) | Self::AddCheckpoint | Self::Schema => false,
        }
    }

    /// Bytes that the body may have.
    pub(super) const fn longest(self) -> usize {
        match self {
            Self::About | Self::Batch => Message::SyncDataSystems.longest(),
            Self::Message(message) => message.longest(),
            // A checkpoint with its signatures has some hundred bytes each.
            Self::AddCheckpoint => SHORT,
            // Nobody reads it; it is let pass so that the answer is about the path and not about the body.
            Self::Log(_) | Self::Proof(_) | Self::Watch | Self::Schema => SHORT,
        }
    }

    /// That the path takes this method.
    pub(super) fn takes(self, method: &Method) -> Result<(), DirectoryError> {
        let gets = matches!(*method, Method::GET | Method::HEAD);
        let posts = *method == Method::POST;
        let (taken, allowed) = match self {
            Self::About => (gets || posts, "GET, HEAD, POST"),
            Self::Message(message) if is_retrieval(message) => (gets || posts, "GET, HEAD, POST"),
            Self::Message(_) | Self::Batch | Self::AddCheckpoint => (posts, "POST"),
            Self::Log(_) | Self::Proof(_) | Self::Schema => (gets, "GET, HEAD"),
            // Nobody asks for the head of what does not end.
            Self::Watch => (*method == Method::GET, "GET"),
        };
        let refused = || {
            DirectoryError::new(Code::BadRequest, Why::Method(allowed), format!("use one of {allowed} at this path"))
        };
        if taken { Ok(()) } else { Err(refused()) }
    }
}

/// The messages that have an alias by GET (contract section 2).
const fn is_retrieval(message: Message) -> bool {
    matches!(message, Message::RetrieveCentralSystem | Message::RetrieveAdapterClass | Message::RetrieveDataSystem)
}

/// A path that nobody knows.
pub(super) fn unknown() -> DirectoryError {
    let text =
        "the directory has nothing at this path: messages, batch, watch, log, proof and schema are below /datanet/v1";
    DirectoryError::new(Code::BadRequest, Why::Missing, text)
}
