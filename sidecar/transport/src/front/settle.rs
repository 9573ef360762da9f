//! `POST /v1/interconn/chan/lease`: another node of our kind commits, returns or renews what it popped here (PTP section
//! 8.4). Only what was given to that caller.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use mesh_core::{Body, Caller, Refusal};
use mesh_network::listen::Finishing;
use serde::{Deserialize, Serialize};

use super::{
    Front,
    call::{Answer, Reply},
    encode::Encoding,
    intake,
    leases::Holding,
    peers::Peers,
};
use crate::{Origin, TransportError};

/// Where leases are settled.
pub(crate) const PATH: &str = "/v1/interconn/chan/lease";
/// The longest request: a name and an action.
const LONGEST: u64 = 1024;

/// What is to be done with a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// The message has arrived.
    Commit,
    /// It has not.
    Return,
    /// It is still under way.
    Renew,
}

/// The body of the call.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct LeaseCall<'a> {
    pub(crate) id: &'a str,
    pub(crate) action: Action,
}

impl<P: Peers> Front<P> {
    /// Serves `chan/lease`.
    pub async fn lease(&self, request: Request<Body>, caller: Caller) -> Response<Body> {
        if *request.method() != Method::POST {
            let mut response = Response::new(Body::from("POST is served here"));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        let answer = match intake::read_short(request.into_body(), LONGEST).await {
            Ok(body) => match self.settle(&body, &caller) {
                Ok(finishing) => {
                    if let Some(finishing) = finishing {
                        finishing.await;
                    }
                    Answer::success(None)
                }
                Err(e) => Refusal::from(e).into(),
            },
            Err(_) => Refusal::from(TransportError::Malformed("the body cannot be read".into())).into(),
        };
        self.write(Reply::Answer(answer), Encoding::Json)
    }

    /// What is answered must be done before the caller hears of it.
    fn settle(&self, body: &Bytes, caller: &Caller) -> Result<Option<Finishing>, TransportError> {
        let holder = match caller {
            Caller::Stranger => return Err(TransportError::Stranger),
            Caller::Local | Caller::Member { .. } => Origin::Application,
            Caller::Partner(route) => Origin::Partner(route.node_id.clone()),
        };
        let LeaseCall { id, action } = mesh_core::json::object(body)
            .map_err(|e| TransportError::Malformed(format!("the body is no lease and action: {e}")))?;
        let unknown = || TransportError::NoSuchLease;
        let holding = Holding { holder, name: id.into() };
        match action {
            Action::Renew => self.exchange.leases.renew(&holding).then_some(None).ok_or_else(unknown),
            Action::Commit => self.exchange.leases.take(&holding).map(crate::Lease::commit).ok_or_else(unknown),
            Action::Return => {
                drop(self.exchange.leases.take(&holding).ok_or_else(unknown)?);
                Ok(None)
            }
        }
    }
}
