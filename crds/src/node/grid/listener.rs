//! A place where end users connect: port, path, bounds and pace (Grid sections 5 and 8).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClientCommands, EndUserAuth, Events, HoldUntil, Overflow, TopicRule};
use crate::{
    ByteSize, LocalRef, Span, Violation,
    law::{self, Law},
    pattern,
};

/// A place where end users connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write(LAWS))]
pub struct Listener {
    /// The listener's name, unique in the grid.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub name: String,
    /// The port; several listeners may share one with different paths.
    #[serde(default = "client_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The path of the handshake.
    #[serde(default = "root_path")]
    #[schemars(length(min = 1, max = 255), regex(pattern = pattern::PATH))]
    pub path: String,
    /// A Secret with the certificate that end users see: `tls.crt` and `tls.key`; absent: plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_secret_ref: Option<LocalRef>,
    /// The origins whose pages may connect, such as `https://shop.example`; empty: the listener's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = pattern::ORIGIN)), extend("x-kubernetes-list-type" = "set"))]
    pub origins: Vec<String>,
    /// Whether the text message `ping` is answered by `pong`.
    #[serde(default = "yes")]
    pub text_ping: bool,
    /// Whether permessage-deflate is offered.
    #[serde(default)]
    pub compression: bool,
    /// Whether fragmented messages are put together before they go to a topic.
    #[serde(default)]
    pub assemble: bool,
    /// How end users prove who they are; absent: they need not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<EndUserAuth>,
    /// Messages wait until a backend has set a key of the connection's context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_until: Option<HoldUntil>,
    /// The topics that learn of connections that come and go.
    #[serde(default)]
    pub events: Events,
    /// Which message goes to which topic: the first rule that matches. Empty: everything to `default`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub rules: Vec<TopicRule>,
    /// What end users may subscribe to by themselves; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_commands: Option<ClientCommands>,
    /// What happens to a message whose topic is full; absent: as the topic says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Overflow>,
    /// The bounds of a connection.
    #[serde(default)]
    pub limits: ConnectionLimits,
}

/// The port of the original (Grid section 1).
fn client_port() -> u16 {
    6790
}

fn root_path() -> String {
    "/".into()
}

fn yes() -> bool {
    true
}

/// The bounds of an end user's connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(LIMIT_LAWS))]
pub struct ConnectionLimits {
    /// The largest message, at most 1Mi (G-11).
    pub message_bytes: ByteSize,
    /// What may wait for a slow client before it is closed (G-24).
    pub out_queue_bytes: ByteSize,
    /// What a connection's context may hold (G-11).
    pub context_bytes: ByteSize,
    /// How many channels a connection may subscribe to (G-11).
    #[schemars(range(min = 1, max = 4096))]
    pub channels: u16,
    /// How many connections the listener takes at most.
    #[schemars(range(min = 1, max = 1000000))]
    pub connections: u32,
    /// A client that sends nothing for so long is closed (G-23).
    pub read_timeout: Span,
    /// A client that takes nothing for so long is closed (G-23).
    pub write_timeout: Span,
    /// How often the server pings (G-23).
    pub ping_interval: Span,
    /// How long it waits for the pong (G-23).
    pub pong_timeout: Span,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            message_bytes: ByteSize(64 << 10),
            out_queue_bytes: ByteSize::mib(1),
            context_bytes: ByteSize(16 << 10),
            channels: 128,
            // Room for a large node, and a bound on what a flood of handshakes can hold.
            connections: 100_000,
            read_timeout: Span::seconds(60),
            write_timeout: Span::seconds(10),
            ping_interval: Span::seconds(25),
            pong_timeout: Span::seconds(8),
        }
    }
}

/// The laws of [`Listener`].
const LAWS: &[Law<Listener>] = &[Law {
    field: ".port",
    cel: "!(self.port in [6439, 6440, 6441, 6789, 7304, 7305])",
    message: "must not be a port of the node's other rooms: 6439, 6440, 6441, 6789, 7304, 7305",
    holds: |l| ![6439, 6440, 6441, 6789, 7304, 7305].contains(&l.port),
}];

/// The laws of [`ConnectionLimits`].
const LIMIT_LAWS: &[Law<ConnectionLimits>] = &[
    Law {
        field: ".messageBytes",
        cel: "quantity(self.messageBytes).isGreaterThan(quantity('0')) && quantity(self.messageBytes).compareTo(quantity('1Mi')) <= 0",
        message: "must be more than 0 and at most 1Mi",
        holds: |l| l.message_bytes.bytes() > 0 && l.message_bytes <= ByteSize::mib(1),
    },
    Law {
        field: ".outQueueBytes",
        cel: "quantity(self.outQueueBytes).compareTo(quantity(self.messageBytes)) >= 0",
        message: "must be at least messageBytes",
        holds: |l| l.out_queue_bytes >= l.message_bytes,
    },
    Law {
        field: ".readTimeout",
        cel: "duration(self.readTimeout) > duration(self.pingInterval)",
        message: "must be more than pingInterval: the pong is what a quiet client sends",
        holds: |l| l.read_timeout > l.ping_interval,
    },
    Law {
        field: ".pingInterval",
        cel: "duration(self.pingInterval) > duration(self.pongTimeout) && duration(self.pongTimeout) > duration('0s')",
        message: "must be more than pongTimeout, which must be more than 0s",
        holds: |l| l.ping_interval > l.pong_timeout && l.pong_timeout > Span::seconds(0),
    },
    Law {
        field: ".writeTimeout",
        cel: "duration(self.writeTimeout) > duration('0s')",
        message: "must be more than 0s",
        holds: |l| l.write_timeout > Span::seconds(0),
    },
];

impl Listener {
    /// A listener of that name with every setting at its default.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            port: client_port(),
            path: root_path(),
            tls_secret_ref: None,
            origins: Vec::new(),
            text_ping: yes(),
            compression: false,
            assemble: false,
            auth: None,
            hold_until: None,
            events: Events::default(),
            rules: Vec::new(),
            client_commands: None,
            overflow: None,
            limits: ConnectionLimits::default(),
        }
    }

    pub(super) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, self, path, broken);
        law::judge(LIMIT_LAWS, &self.limits, &format!("{path}.limits"), broken);
        if let Some(auth) = &self.auth {
            auth.judge(&format!("{path}.auth"), broken);
        }
        for (n, rule) in self.rules.iter().enumerate() {
            rule.judge(&format!("{path}.rules[{n}]"), broken);
        }
        if let Some(commands) = &self.client_commands {
            commands.judge(&format!("{path}.clientCommands"), broken);
        }
    }
}
