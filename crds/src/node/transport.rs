//! The queues of the data plane: their store and their bounds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Span};

/// The queues of the data plane: their store and their bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Transport {
    /// Where unread messages are kept.
    pub store: Store,
    /// The largest body that is taken.
    pub max_body_bytes: ByteSize,
    /// What one session may have queued.
    pub session_bytes: ByteSize,
    /// What all sessions together may have queued.
    pub total_bytes: ByteSize,
    /// A session unused for so long loses its queues.
    pub idle_timeout: Span,
    /// How long a released session's id stays refused.
    pub tombstone: Span,
    /// How long an unread message is kept; absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_ttl: Option<Span>,
    /// How long a push waits for room when the caller names no time.
    pub push_timeout: Span,
    /// Whether `peek` leaves the message there.
    pub peek: Peek,
    /// CIDRs that may speak plain text beside loopback.
    #[schemars(length(max = 64), inner(length(max = 64)))]
    pub plaintext_from: Vec<String>,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            store: Store::Memory,
            max_body_bytes: ByteSize::gib(1),
            session_bytes: ByteSize::gib(1),
            total_bytes: ByteSize::gib(2),
            idle_timeout: Span::minutes(10),
            tombstone: Span::minutes(30),
            message_ttl: None,
            push_timeout: Span::seconds(10),
            peek: Peek::Retain,
            plaintext_from: Vec::new(),
        }
    }
}

/// Where unread messages are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Store {
    /// In memory.
    #[default]
    Memory,
    /// On disk, fsynced before a push is answered.
    Disk,
}

/// What `peek` does with the message it shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Peek {
    /// It stays, as the published contract says.
    #[default]
    Retain,
    /// It goes, as Kuscia, OSX and the reference really do.
    Consume,
}
