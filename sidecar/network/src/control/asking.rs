//! One MPI of a partner, called over its route, and what its answer says.

use http_body_util::{BodyExt, Limited};
use mesh_core::{Body, Code, Fault, NodeId, ProtocolError, Retry};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::Control;
pub(super) use crate::question::text;
use crate::{RouteError, question::question};

/// An Environ has two certificates at most.
const LONGEST_ANSWER: usize = 256 * 1024;

/// Why a partner's MPI brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AskError {
    /// The call did not come through.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// It refused.
    #[error("{node} answered {code}: {message}")]
    Refused {
        /// The partner.
        node: NodeId,
        /// Its code.
        code: Code,
        /// What it said, bounded.
        message: String,
    },
    /// What it answered cannot be read.
    #[error("the answer of {node} cannot be read ({reason}): does PTP/1.0 answer at its address?")]
    Unreadable {
        /// The partner.
        node: NodeId,
        /// Where the reader stumbled.
        reason: &'static str,
    },
}

impl ProtocolError for AskError {
    fn code(&self) -> Code {
        match self {
            Self::Route(error) => error.code(),
            Self::Refused { code, .. } => *code,
            Self::Unreadable { .. } => Code::UNKNOWN,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Route(error) => error.fault(),
            Self::Refused { .. } | Self::Unreadable { .. } => Fault::Peer,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Route(error) => error.retry(),
            Self::Refused { .. } => Retry::Useless,
            Self::Unreadable { .. } => Retry::Unknown,
        }
    }
}

impl Control {
    /// The content of what the partner's MPI `name` answers; `name` is given backwards, as a urn has it.
    pub(super) async fn ask(
        &self,
        node: &NodeId,
        name: &str,
        arguments: &Value,
        deadline: Instant,
    ) -> Result<Value, AskError> {
        let snapshot = self.keeper.live().snapshot();
        // A sidecar's own node is its gateway.
        let gateway = snapshot.gateway.as_ref().filter(|gateway| gateway.node_id == *node);
        let route = gateway.or_else(|| snapshot.route_to(node));
        let route = route.ok_or_else(|| RouteError::UnknownNode { node: node.clone() })?;
        let unreadable = |reason| AskError::Unreadable { node: node.clone(), reason };
        let arguments = Body::from(arguments.to_string());
        let request = question(&snapshot.node.node_id, node, name, arguments)
            .map_err(|_| unreadable("no request can name it"))?;
        let answer = self.partners.send(route, request, deadline).await?;
        if answer.status() == http::StatusCode::FORBIDDEN {
            let message = "the partner does not know us".to_owned();
            return Err(AskError::Refused { node: node.clone(), code: Code::UNAUTHORISED, message });
        }
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER);
        let body = timeout_at(deadline, body.collect()).await.map_err(|_| unreadable("it did not end in time"))?;
        let body = body.map_err(|_| unreadable("it broke off, or is too long"))?.to_bytes();
        let mut said: Value = serde_json::from_slice(&body).map_err(|_| unreadable("it is no JSON"))?;
        match Code::parse(&text(&said, "code")) {
            Some(code) if code.is_success() => Ok(said.get_mut("content").map(Value::take).unwrap_or_default()),
            Some(code) => Err(AskError::Refused { node: node.clone(), code, message: text(&said, "message") }),
            None => Err(unreadable("it has no code")),
        }
    }
}

/// The arguments of weave and ack at a partner (PTP section 11.3).
pub(super) fn as_guest(verb: &str, route: &Value) -> Value {
    json!({"route": route, "attachments": {format!("mesh.net.{verb}"): "guest"}})
}
