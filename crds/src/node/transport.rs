//! The queues of the data plane: their store and their bounds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ByteSize, Span, Violation,
    cidr::is_cidr,
    law::{self, Law},
};

/// The queues of the data plane: their store and their bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(LAWS))]
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
    /// Calls under way to one partner, waiting pops among them; more are refused at once.
    #[schemars(range(min = 1, max = 65536))]
    pub max_calls_per_partner: u32,
    /// CIDRs that may speak plain text beside loopback.
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "set"))]
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
            max_calls_per_partner: 4096,
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

/// The laws of [`Transport`].
const LAWS: &[Law<Transport>] = &[
    Law {
        field: ".maxBodyBytes",
        cel: "quantity(self.maxBodyBytes).isGreaterThan(quantity('0'))",
        message: "must be more than 0",
        holds: |t| t.max_body_bytes.bytes() > 0,
    },
    Law {
        field: ".maxBodyBytes",
        cel: "quantity(self.maxBodyBytes).compareTo(quantity(self.sessionBytes)) <= 0",
        message: "must be at most sessionBytes: a larger message could never be queued",
        holds: |t| t.max_body_bytes <= t.session_bytes,
    },
    Law {
        field: ".sessionBytes",
        cel: "quantity(self.sessionBytes).compareTo(quantity(self.totalBytes)) <= 0",
        message: "must be at most totalBytes",
        holds: |t| t.session_bytes <= t.total_bytes,
    },
    Law {
        field: ".idleTimeout",
        cel: "duration(self.idleTimeout) >= duration('1s')",
        message: "must be at least 1s",
        holds: |t| t.idle_timeout >= Span::seconds(1),
    },
    Law {
        field: ".messageTtl",
        cel: "!has(self.messageTtl) || duration(self.messageTtl) >= duration('1s')",
        message: "must be at least 1s",
        holds: |t| t.message_ttl.is_none_or(|ttl| ttl >= Span::seconds(1)),
    },
    Law {
        field: ".pushTimeout",
        cel: "duration(self.pushTimeout) > duration('0s')",
        message: "must be more than 0s",
        holds: |t| t.push_timeout > Span::seconds(0),
    },
    Law {
        field: ".plaintextFrom",
        cel: "!has(self.plaintextFrom) || self.plaintextFrom.all(network, isCIDR(network))",
        message: "must be networks such as 10.0.0.0/8 or fd00::/8",
        holds: |t| t.plaintext_from.iter().all(|network| is_cidr(network)),
    },
];

impl Transport {
    pub(crate) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, self, path, broken);
    }
}
