//! What `kubectl get mn,mr,sreg` shows: enough to see at a glance what is not ready, and why.

use serde_json::{Value, json};

use crate::{MeshNode, MeshRoute, ServiceRegistration};

/// A column: name, type, where its value stands, and whether it is shown always (0) or with `-o wide` (1).
type Column = (&'static str, &'static str, &'static str, u8);

const READY: Column = ("Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status", 0);
const REASON: Column = ("Reason", "string", ".status.conditions[?(@.type==\"Ready\")].reason", 0);
const REACHABLE: Column = ("Reachable", "string", ".status.conditions[?(@.type==\"Reachable\")].status", 0);
const MESSAGE: Column = ("Message", "string", ".status.conditions[?(@.type==\"Ready\")].message", 1);
const AGE: Column = ("Age", "date", ".metadata.creationTimestamp", 0);

/// The columns of a kind.
pub(crate) trait Columns {
    /// In the order in which they stand.
    const COLUMNS: &'static [Column];
}

impl Columns for MeshNode {
    const COLUMNS: &'static [Column] = &[
        ("Node", "string", ".spec.nodeId", 0),
        ("Institution", "string", ".spec.instId", 0),
        READY,
        REASON,
        ("Gateway", "string", ".status.conditions[?(@.type==\"GatewayReady\")].status", 0),
        ("Sidecars", "integer", ".status.sidecars.total", 0),
        ("Current", "integer", ".status.sidecars.ready", 0),
        // Of the gateway too, which is no sidecar.
        ("InForce", "string", ".status.conditions[?(@.type==\"InForce\")].status", 0),
        // Empty unless something is in the way of the next certificate.
        ("Renewal", "string", ".status.conditions[?(@.type==\"CertificateRenewed\")].reason", 0),
        MESSAGE,
        AGE,
    ];
}

impl Columns for MeshRoute {
    const COLUMNS: &'static [Column] = &[
        ("Node", "string", ".spec.nodeRef.name", 0),
        ("Partner", "string", ".spec.peer.nodeId", 0),
        ("Address", "string", ".spec.addresses[0].address", 0),
        READY,
        REACHABLE,
        REASON,
        ("Disabled", "boolean", ".spec.disabled", 1),
        ("Expires", "string", ".spec.expiresAt", 1),
        MESSAGE,
        AGE,
    ];
}

impl Columns for ServiceRegistration {
    const COLUMNS: &'static [Column] = &[
        ("Node", "string", ".spec.nodeRef.name", 0),
        // Not `Name`, which kubectl shows of every object before our columns.
        ("RegisteredAs", "string", ".spec.name", 0),
        ("Address", "string", ".spec.address", 0),
        ("Service", "string", ".spec.serviceRef.name", 0),
        READY,
        REASON,
        MESSAGE,
        AGE,
    ];
}

/// The columns as the definition has them.
pub(crate) fn written<K: Columns>() -> Value {
    let column = |(name, kind, path, priority): &Column| match priority {
        0 => json!({"name": name, "type": kind, "jsonPath": path}),
        _ => json!({"name": name, "type": kind, "jsonPath": path, "priority": priority}),
    };
    K::COLUMNS.iter().map(column).collect()
}
