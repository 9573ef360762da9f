//! What gateways and sidecars tell the operator, and ask of it (design section 3, last point): JSON by POST over TLS.
//!
//! Who calls is known by the token of its pod, `authorization: Bearer ...`, which is bound to the pod and to
//! [`AUDIENCE`] and opens nothing else. An answer is HTTP 200 with an [`Outcome`]; 401 says that the token does not hold, 429 that
//! there were too many calls, 503 that the API server did not answer, and that it is to be tried again.

use serde::{Deserialize, Serialize};

use crate::MeshRouteSpec;

/// Whom the token of a pod is for.
pub const AUDIENCE: &str = "interconn.dev/intake";
/// Where a [`Report`] goes.
pub const REPORTS: &str = "/intake/v1/reports";
/// Where a [`RouteChange`] goes.
pub const ROUTES: &str = "/intake/v1/routes";
/// No body may be larger: four roots of 16 KiB each, and what stands around them.
pub const BODY_MAX: usize = 128 * 1024;

/// What a process runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The sha256 of the manifest that is in force, lower-case hex.
    pub config_hash: String,
}

/// A change of whom the node trusts, as an application asked for it at run time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "change")]
pub enum RouteChange {
    /// The partner is known and trusted from now on. `nodeRef` is the pod's own node, whatever it says.
    Put {
        /// The route.
        route: Box<MeshRouteSpec>,
    },
    /// The route carries nothing from now on, or carries again.
    #[serde(rename_all = "camelCase")]
    Switch {
        /// The partner.
        node_id: String,
        /// Whether it is off.
        disabled: bool,
    },
    /// The partner is no partner any more.
    #[serde(rename_all = "camelCase")]
    Remove {
        /// The partner.
        node_id: String,
    },
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The protocol's code (PTP section 13): `E0000000000` when it is written.
    pub code: String,
    /// For people: what was done, or what to do.
    pub message: String,
}
