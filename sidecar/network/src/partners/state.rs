//! What is known of a partner's addresses, for status and diagnosis.

use std::time::SystemTime;

use serde::Serialize;

use crate::RouteError;

/// One address of a partner, as calls and checks found it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressState {
    /// As the route has it.
    pub address: String,
    /// Whether anything ever answered there.
    pub answered: bool,
    /// Why it is not used now.
    pub error: Option<RouteError>,
    /// Why the node that answers there refuses us, if it does.
    pub refused: Option<String>,
    /// When the certificate that was shown there last ends.
    pub certificate_ends: Option<SystemTime>,
}

/// The same for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownAddress {
    /// As the route has it.
    pub address: String,
    /// `reachable`, `failing`, `refused` where what answers does not let us in, or `unknown` before anything was tried.
    pub state: &'static str,
    /// Why it fails or is refused, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<AddressState> for ShownAddress {
    fn from(state: AddressState) -> Self {
        let AddressState { address, answered, error, refused, certificate_ends: _ } = state;
        let word = match (&error, &refused, answered) {
            (Some(_), _, _) => "failing",
            (None, Some(_), _) => "refused",
            (None, None, true) => "reachable",
            (None, None, false) => "unknown",
        };
        Self { address, state: word, reason: error.map(|error| error.to_string()).or(refused) }
    }
}
