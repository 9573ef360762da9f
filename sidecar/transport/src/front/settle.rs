//! `POST /v1/interconn/chan/lease`: another node of our kind commits, returns or renews what it popped here (PTP section
//! 8.4). Only what was given to that caller. Another gateway of this node says here too whom a session of ours involves.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use mesh_core::{Body, Caller, NodeId, Refusal, SessionId};
use mesh_network::listen::Finishing;
use serde::{Deserialize, Serialize};

use super::{
    Front,
    call::{Answer, Reply},
    encode::Encoding,
    intake,
    leases::{Holding, Leases},
    peers::Peers,
};
use crate::{Lease, Origin, TransportError};

/// Where leases are settled.
const PATH: &str = "/v1/interconn/chan/lease";
/// The longest request: a name, an action and a partner. The name may be a session's, of which JSON writes some letters as six.
const LONGEST: u64 = 8 * 1024;

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
    /// No lease: from now on a partner may read in a session.
    Involve,
}

/// The body of the call.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct LeaseCall<'a> {
    /// Of the lease, or of a session.
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    pub(crate) action: Action,
    /// Whom a session involves; of a lease, the partner that holds it, where another gateway of this node asks.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) partner: Option<Cow<'a, str>>,
    /// Among gateways of a node: nobody waits until it lasts, so that it may be written with what comes next.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) soon: bool,
}

impl LeaseCall<'_> {
    /// The call as another node takes it.
    pub(super) fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::from(serde_json::to_vec(self).unwrap_or_default()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static(PATH);
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }
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
            Ok(body) => match self.settle(&body, &caller).await {
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
    async fn settle(&self, body: &Bytes, caller: &Caller) -> Result<Option<Finishing>, TransportError> {
        let own = match caller {
            Caller::Stranger => return Err(TransportError::Stranger),
            Caller::Partner(route) => Origin::Partner(route.node_id.clone()),
            Caller::Local | Caller::Member { .. } | Caller::Gateway => Origin::Application,
        };
        let call: LeaseCall<'_> = mesh_core::json::object(body)
            .map_err(|e| TransportError::Malformed(format!("the body is no lease and action: {e}")))?;
        let partner = call.partner.as_deref().and_then(NodeId::given).filter(|_| matches!(caller, Caller::Gateway));
        if call.action == Action::Involve {
            let partner = partner.ok_or(TransportError::NotOpen { what: "saying whom a session involves" })?;
            return self.exchange.involved(&SessionId::new(&call.id), &partner).await.map(|()| None);
        }
        let holder = partner.map_or(own, Origin::Partner);
        let (is_gateway, is_name) = (matches!(caller, Caller::Gateway), Leases::is_name(&call.id));
        let holding = Holding { holder, name: (*call.id).into() };
        let is_passed_on = !is_gateway && self.exchange.leases.is_passed_on(&holding);
        let waits = !(call.soon && is_gateway);
        match self.settle_here(call.action, &holding) {
            Some(finishing) => {
                if is_passed_on {
                    self.exchange.tell_others(&call, &holding.holder);
                }
                Ok(finishing.filter(|_| waits))
            }
            None if is_gateway || !is_name => Err(TransportError::NoSuchLease),
            None => self.exchange.settle_elsewhere(&call, &holding.holder).await.map(|()| None),
        }
    }

    /// Settles a lease of this node; `None`: there is no such lease.
    fn settle_here(&self, action: Action, holding: &Holding) -> Option<Option<Finishing>> {
        let leases = &self.exchange.leases;
        match action {
            Action::Renew => leases.renew(holding).then_some(None),
            Action::Commit => leases.take(holding).map(Lease::commit),
            Action::Return => leases.take(holding).map(|lease| {
                drop(lease);
                None
            }),
            Action::Involve => None,
        }
    }
}
