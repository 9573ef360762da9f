//! Every request of the data plane comes here, and is handed to the room that its path belongs to (PTP section 8.5).
//!
//! Decides who is calling, once, and nothing else; what a call means is the room's business.

mod answers;
mod body;
mod copied;
mod datanet;
mod passing;
mod paths;
mod services;
mod traced;
mod wrapped;

use std::sync::Arc;

use http::{
    HeaderValue, Method, Request, Response, Version,
    header::{CONTENT_TYPE, HOST, TRANSFER_ENCODING},
};
use mesh_core::{Body, CallContext, Caller, Code, Live, Refusal, Role, Urn, grpc::is_grpc};
use mesh_network::{
    admission::{self, Denied},
    control::Control,
    listen::{Connection, Pieces, Serve},
    route::{self, Target},
};
use mesh_registry::{Generic, Proxy, Registry};

use mesh_transport::Op;
use paths::Room;
use traces::Traces;

use crate::start::{DirectoryPlace, GridPlace, ReplicaPlace};
pub(crate) use passing::{Ending, Passing};
pub(crate) use services::Services;
pub(crate) use traced::GridCalls;

/// Control documents carry a few certificates at most.
const LONGEST_DOCUMENT: u64 = 1 << 20;

/// A route with one root and one pair; base64 makes it a third longer.
const LONGEST_OF_STRANGERS: u64 = 128 * 1024;

/// All rooms behind the data plane.
pub(crate) struct Front {
    pub(crate) live: Arc<Live>,
    pub(crate) channels: crate::start::ChannelFront,
    pub(crate) control: Arc<Control>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) services: Services,
    pub(crate) grid: Arc<GridPlace>,
    pub(crate) directory: Arc<DirectoryPlace>,
    pub(crate) replica: Arc<ReplicaPlace>,
    /// `None`: nobody wants to know.
    pub(crate) traces: Option<Arc<Traces>>,
    /// What this process is called in the answer of `/stats`.
    pub(crate) instance: HeaderValue,
}

impl Serve for Front {
    async fn serve(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        match &self.traces {
            None => self.answer(request, connection).await,
            Some(traces) => Box::pin(self.traced(traces, request, connection)).await,
        }
    }

    fn short_way(&self, request: &Request<()>) -> Option<Pieces> {
        match paths::room_of(request.uri().path()) {
            Room::Stats | Room::Channel(_) => Some(Pieces::Large),
            Room::Registered => Some(Pieces::AsTheyCome),
            _ => None,
        }
    }
}

impl Front {
    async fn answer(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        if !names_one_host(&request) {
            return answers::unclear("send one Host\n");
        }
        if !is_chunked_once_or_not(&request) {
            return answers::unclear("send no Transfer-Encoding but chunked, once\n");
        }
        let room = paths::room_of(request.uri().path());
        if room == Room::Stats {
            return answers::stats(request.method(), &self.instance);
        }
        if takes_get_and_post(room) && !matches!(*request.method(), Method::GET | Method::POST) {
            return answers::wrong_method("GET, POST");
        }
        let admitted = connection.admit(&self.live.load(), &request);
        let caller = match admitted {
            Err(denied) if denied.is_plain_text() => return answers::forbidden(&denied),
            // Whose route is disabled or has expired is no stranger.
            Err(denied @ (Denied::Disabled { .. } | Denied::Expired { .. })) => {
                return Box::pin(self.denied(room, request, denied.into())).await;
            }
            admitted if room == Room::Directory && self.live.load().role == Role::Gateway => {
                let caller = admitted.unwrap_or(Caller::Stranger);
                return Box::pin(self.datanet(request, &caller, &connection)).await;
            }
            Ok(caller) => caller,
            Err(denied) => return Box::pin(self.stranger(room, request, denied.into())).await,
        };
        match CallContext::from_headers(request.headers()) {
            Ok(context) => match admission::check_source(&caller, &context) {
                Ok(()) => self.hand_over(room, request, context, caller, &connection).await,
                Err(denied) => Box::pin(self.denied(room, request, denied.into())).await,
            },
            Err(problem) => {
                let refusal = Refusal::of_caller(Code::BAD_REQUEST, problem);
                Box::pin(self.denied(room, request, refusal)).await
            }
        }
    }

    /// Each in a box: the future of a request is made before its room is known, and would be as large as the largest of them.
    async fn hand_over(
        &self,
        room: Room,
        request: Request<Body>,
        context: CallContext,
        caller: Caller,
        connection: &Arc<Connection>,
    ) -> Response<Body> {
        if let Some(call) = wrapped_control(room, &context) {
            return match self.is_for_us(&context) {
                Ok(()) => Box::pin(self.wrapped(call, request, &caller)).await,
                Err(refusal) => wrapped::answer(request.headers(), Err(refusal)),
            };
        }
        match room {
            Room::Stats => answers::stats(request.method(), &self.instance),
            Room::Channel(op) => Box::pin(self.channels.http(op, request, context, caller)).await,
            Room::Lease => Box::pin(self.channels.lease(request, caller)).await,
            Room::ChannelGrpc => Box::pin(self.channels.grpc(request, context, caller)).await,
            Room::Control(call) => Box::pin(self.control(call, request, &caller)).await,
            Room::Register => Box::pin(self.register(request, &context, &caller, connection)).await,
            Room::Mpi => Box::pin(self.channels.invoke(request, context, caller)).await,
            Room::Generic => Box::pin(self.generic(request, context, caller)).await,
            Room::Services => Box::pin(self.services(request, &caller)).await,
            Room::Grid => Box::pin(self.grid(request, &caller, connection)).await,
            Room::Unknown => answers::not_found(request.uri().path(), is_grpc(request.headers())),
            // Of a sidecar: its gateway has the directory.
            Room::Directory => Box::pin(self.of_the_gateway(request, &context, &caller)).await,
            Room::Registered => Box::pin(self.registered(request, &context, &caller)).await,
        }
    }

    /// A registration: here, or at the gateway, which holds what is registered by its sidecars.
    async fn register(
        &self,
        request: Request<Body>,
        context: &CallContext,
        caller: &Caller,
        connection: &Connection,
    ) -> Response<Body> {
        if self.live.load().role == Role::Sidecar {
            return self.registered(request, context, caller).await;
        }
        self.registry.register(request, caller, connection.peer.ip()).await
    }

    /// An MPI of this node, or a service that an application registered by name.
    async fn generic(&self, request: Request<Body>, mut context: CallContext, caller: Caller) -> Response<Body> {
        if context.urn.is_none() {
            context.urn = Urn::in_authority(request.uri()).map(ToOwned::to_owned);
        }
        let is_registered = self.registry.table().has_names();
        if !is_registered || context.urn.as_deref().is_none_or(|urn| self.channels.serves(urn)) {
            return self.channels.generic(request, context, caller).await;
        }
        let form = request.headers().get(CONTENT_TYPE).cloned();
        match self.proxy.generic(request, &context, &caller).await {
            Generic::NotHere(request) => self.channels.generic(request, context, caller).await,
            Generic::Answered(answer) => answer,
            Generic::Refused(refusal) => {
                let headers = form.map(|form| (CONTENT_TYPE, form)).into_iter().collect();
                mesh_transport::refused_mpi(&headers, &refusal)
            }
        }
    }

    async fn control(&self, call: paths::Control, request: Request<Body>, caller: &Caller) -> Response<Body> {
        let result = match body::whole(request.into_body(), longest(caller)).await {
            Err(refusal) => Err(refusal),
            Ok(document) => self.decide(call, caller, &document).await,
        };
        answers::outcome(result.map(|()| None))
    }

    async fn decide(&self, call: paths::Control, caller: &Caller, document: &[u8]) -> Result<(), Refusal> {
        match call {
            paths::Control::NodeRefresh => self.control.node_refresh(caller, document).await,
            paths::Control::NetRefresh => self.control.net_refresh(caller, document).await,
            paths::Control::NetWeave => self.control.weave(caller, document).await,
            paths::Control::NetAck => self.control.ack(caller, document).await,
        }
    }

    /// Weave and ack as another node's invoke carries them.
    async fn wrapped(&self, call: paths::Control, request: Request<Body>, caller: &Caller) -> Response<Body> {
        let (head, body) = request.into_parts();
        let result = async {
            let body = body::whole(body, longest(caller)).await?;
            self.decide(call, caller, &wrapped::document(&head.headers, &body)?).await
        };
        wrapped::answer(&head.headers, result.await)
    }

    /// Weaving goes from node to node: nobody has it carried on (PTP section 8.3).
    fn is_for_us(&self, context: &CallContext) -> Result<(), Refusal> {
        match route::target(&self.live.load(), context)? {
            Target::Local => Ok(()),
            Target::Remote(route) => Err(Refusal::of_caller(
                Code::NOT_PERMITTED,
                format_args!("net/weave and net/ack of {} are not passed on: call this node's own", route.node_id),
            )),
        }
    }

    /// A caller that nobody knows: it may offer itself (design section 4), and nothing else.
    async fn stranger(&self, room: Room, request: Request<Body>, refusal: Refusal) -> Response<Body> {
        // Whose route is disabled or has expired is no stranger.
        let context = match CallContext::from_headers(request.headers()) {
            Ok(context) if refusal.code == Code::UNAUTHORISED && self.live.load().role == Role::Gateway => context,
            _ => return self.denied(room, request, refusal).await,
        };
        match (room, wrapped_control(room, &context)) {
            (_, Some(call @ paths::Control::NetWeave)) if self.is_for_us(&context).is_ok() => {
                self.wrapped(call, request, &Caller::Stranger).await
            }
            (Room::Control(call @ paths::Control::NetWeave), _) => self.control(call, request, &Caller::Stranger).await,
            (Room::Mpi | Room::Generic, _) => self.channels.for_stranger(request, context, refusal).await,
            _ => self.denied(room, request, refusal).await,
        }
    }

    /// Health and reflection are for this node's own: who is no application of it has `/stats`.
    async fn services(&self, request: Request<Body>, caller: &Caller) -> Response<Body> {
        match caller {
            Caller::Local => self.services.serve(request).await,
            Caller::Member { .. } | Caller::Gateway | Caller::Partner(_) | Caller::Stranger => {
                let text = "health and reflection are open to this node's own applications only";
                answers::grpc_denied(&Refusal::of_caller(Code::NOT_PERMITTED, text))
            }
        }
    }

    /// A backend's call, let in by the sidecar of its pod. Nobody else comes to the grid this way.
    async fn grid(&self, request: Request<Body>, caller: &Caller, connection: &Arc<Connection>) -> Response<Body> {
        match (self.grid.room(), caller) {
            (Some(room), Caller::Member { .. }) => room.api.passed(request, connection).await,
            _ => answers::not_found(request.uri().path(), is_grpc(request.headers())),
        }
    }

    async fn registered(&self, request: Request<Body>, context: &CallContext, caller: &Caller) -> Response<Body> {
        let (uri, to_grpc) = (request.uri().clone(), is_grpc(request.headers()));
        let answer = self.proxy.forward(request, context, caller).await;
        answer.unwrap_or_else(|| answers::not_found(uri.path(), to_grpc))
    }

    /// A caller that is nobody, or headers that cannot be read: the room's own words where it has some.
    async fn denied(&self, room: Room, request: Request<Body>, refusal: Refusal) -> Response<Body> {
        match room {
            Room::Registered => self.proxy.denied(request.headers(), &refusal),
            Room::Mpi | Room::Generic => mesh_transport::refused_mpi(request.headers(), &refusal),
            Room::Channel(_) | Room::ChannelGrpc | Room::Lease => mesh_transport::refused(&request, refusal),
            Room::Services => answers::grpc_denied(&refusal),
            Room::Stats | Room::Control(_) | Room::Register | Room::Grid | Room::Directory | Room::Unknown => {
                answers::outcome(Err(refusal))
            }
        }
    }
}

fn longest(caller: &Caller) -> u64 {
    if matches!(caller, Caller::Stranger) { LONGEST_OF_STRANGERS } else { LONGEST_DOCUMENT }
}

/// The control call within an invoke, if that is what it carries.
fn wrapped_control(room: Room, context: &CallContext) -> Option<paths::Control> {
    matches!(room, Room::Channel(Op::Invoke | Op::Transport))
        .then(|| context.uri.as_deref().and_then(paths::Control::of_uri))
        .flatten()
}

/// RFC 9112 section 3.2: HTTP/1.1 names its host once; nothing else has to, and nobody may twice. Of two, somebody in between may
/// have looked at the other.
fn names_one_host(request: &Request<Body>) -> bool {
    match request.headers().get_all(HOST).iter().count() {
        0 => request.version() != Version::HTTP_11,
        hosts => hosts == 1,
    }
}

/// RFC 9112 section 7.1: a body is chunked once, and no other coding is opened here. Of a longer list, somebody in between may
/// have made something else.
fn is_chunked_once_or_not(request: &Request<Body>) -> bool {
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    let is_chunked =
        codings.next().is_none_or(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    is_chunked && codings.next().is_none()
}

/// PTP section 3.2: GET and POST for every path under `/v1/interconn/`, and `/mesh/invoke`.
fn takes_get_and_post(room: Room) -> bool {
    matches!(room, Room::Channel(_) | Room::Control(_) | Room::Register | Room::Mpi)
}
