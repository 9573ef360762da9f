//! What gateways and sidecars tell the operator, and ask of it (design section 3, last point): JSON by POST over TLS.
//!
//! Who calls is known by the token of its pod, `authorization: Bearer ...`, which is bound to the pod and to
//! [`AUDIENCE`] and opens nothing else. An answer is HTTP 200 with an [`Outcome`]; 401 says that the token does not hold, 429 that
//! there were too many calls, 503 that the API server did not answer, and that it is to be tried again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{BackplaneStatus, DirectoryStatus, MeshRouteSpec, TunnelStatus};

/// Whom the token of a pod is for.
pub const AUDIENCE: &str = "interconn.dev/intake";
/// The token's file, in the directory of the configuration.
pub const TOKEN_FILE: &str = "token";
/// Where a [`Report`] goes.
pub const REPORTS: &str = "/intake/v1/reports";
/// Where a [`RouteChange`] goes.
pub const ROUTES: &str = "/intake/v1/routes";
/// No body may be larger: a report of 2000 routes, or four roots of 16 KiB each and what stands around them. A pod has room for
/// 256 KiB of annotations.
pub const BODY_MAX: usize = 192 * 1024;

/// Annotation of a pod: what it reported last, a [`Report`] as JSON.
pub const REPORT: &str = "interconn.dev/report";
/// Label of MeshRoutes that were made at an application's word.
pub const MADE_BY: &str = "interconn.dev/made-by";
/// Its value.
pub const INTAKE: &str = "intake";

/// What a process runs on, and what it found out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// The sha256 of the manifest that is in force, lower-case hex.
    pub config_hash: String,
    /// When the certificate that it shows ends, RFC 3339.
    pub leaf_not_after: String,
    /// Why the newest configuration is not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// By a route's name, what is known of its addresses, in their order. Of gateways only: sidecars reach nobody else.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<String, Vec<Reach>>,
    /// By a route's name, when the certificate ends that was shown last at each of its addresses: seconds since 1970, which are
    /// short.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<String, Vec<Option<i64>>>,
    /// What there is of the tunnel. Of gateways only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelStatus>,
    /// What there is of the directory. Of gateways only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectoryStatus>,
    /// How it stands with the backplane. Of gateways that have one only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backplane: Option<BackplaneStatus>,
}

/// What is known of one address of a partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reach {
    /// It answered when it was last asked.
    Answers,
    /// Nobody has asked it yet.
    Untried,
    /// Why it does not answer.
    Fails(String),
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

impl Outcome {
    /// The code of success.
    pub const DONE: &str = "E0000000000";
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_read_as_it_is_written_and_what_a_newer_one_says_is_passed_over() {
        let routes =
            BTreeMap::from([("b".to_owned(), vec![Reach::Answers, Reach::Untried, Reach::Fails("no".into())])]);
        let certificates = BTreeMap::from([("b".to_owned(), vec![Some(1_893_456_000), None])]);
        let report = Report {
            config_hash: "h".into(),
            leaf_not_after: "t".into(),
            problem: None,
            routes,
            certificates,
            ..Report::default()
        };
        let mut text = json!(report);
        let words = json!({"configHash": "h", "leafNotAfter": "t", "routes": {"b": ["answers", "untried", {"fails": "no"}]},
                "certificates": {"b": [1_893_456_000, null]}});
        assert_eq!(text, words);
        text["later"] = json!(1);
        assert_eq!(serde_json::from_value::<Report>(text).unwrap(), report);
    }
}
