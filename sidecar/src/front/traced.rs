//! A call with a span around it: which room it went to, what came of it, and whence it came. No address, no query, no header and
//! no byte of a body is in it.

use std::sync::Arc;

use http::{Request, Response};
use mesh_core::Body;
use mesh_network::listen::{Connection, Pieces, Serve};
use mesh_transport::Op;
use traces::{Parent, SpanKind, Traces};

use super::{
    Front,
    paths::{self, Control, Room},
};

impl Front {
    /// Answers a request in a span of its own, whose time is that to the head of the answer.
    pub(super) async fn traced(
        &self,
        traces: &Traces,
        request: Request<Body>,
        connection: Arc<Connection>,
    ) -> Response<Body> {
        let room = paths::room_of(request.uri().path());
        // Partners and load balancers ask it every few seconds, and whoever reads traces wants none of it.
        if room == Room::Stats && Parent::of(request.headers()).is_none() {
            return self.answer(request, connection).await;
        }
        in_span(traces, name(room), request, |request| self.answer(request, connection)).await
    }
}

/// What backends call of the grid, at a port of its own: each call in a span.
pub(crate) struct GridCalls<S> {
    pub(crate) calls: Arc<S>,
    pub(crate) traces: Option<Arc<Traces>>,
}

impl<S: Serve> Serve for GridCalls<S> {
    async fn serve(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        let named = grid_call(request.uri().path()).zip(self.traces.as_ref());
        let Some((name, traces)) = named else { return self.calls.serve(request, connection).await };
        in_span(traces, name, request, |request| self.calls.serve(request, connection)).await
    }

    fn short_way(&self, request: &Request<()>) -> Option<Pieces> {
        self.calls.short_way(request)
    }
}

/// The span of a call at the grid's port; none for what scrapers and strangers ask for. A WebSocket's is that of its handshake.
fn grid_call(path: &str) -> Option<&'static str> {
    match path {
        "/v1/mesh/send" => Some("grid/send"),
        "/v1/mesh/publish" => Some("grid/publish"),
        "/ws/v1" => Some("grid/socket"),
        _ => None,
    }
}

/// Does `work` in a span whose time is that to the head of the answer.
async fn in_span<W: Future<Output = Response<Body>>>(
    traces: &Traces,
    name: &'static str,
    mut request: Request<Body>,
    work: impl FnOnce(Request<Body>) -> W,
) -> Response<Body> {
    let parent = Parent::of(request.headers());
    let mut span = traces.begin(name, SpanKind::Server, parent.as_ref());
    // Whoever it is passed on to sees the call as ours.
    span.parent().write(request.headers_mut());
    let answer = Box::pin(span.around(work(request))).await;
    span.set("http.response.status_code", i64::from(answer.status().as_u16()));
    if answer.status().is_server_error() {
        span.failed("server error");
    }
    answer
}

/// Of a fixed set: what callers write into a path is not ours to tell.
fn name(room: Room) -> &'static str {
    match room {
        Room::Stats => "stats",
        Room::Channel(Op::Push) => "chan/push",
        Room::Channel(Op::Pop) => "chan/pop",
        Room::Channel(Op::Peek) => "chan/peek",
        Room::Channel(Op::Release) => "chan/release",
        Room::Channel(Op::Invoke) => "chan/invoke",
        Room::Channel(Op::Transport) => "chan/transport",
        Room::Lease => "chan/lease",
        Room::ChannelGrpc => "chan over gRPC",
        Room::Control(Control::NodeRefresh) => "node/refresh",
        Room::Control(Control::NetRefresh) => "net/refresh",
        Room::Control(Control::NetWeave) => "net/weave",
        Room::Control(Control::NetAck) => "net/ack",
        Room::Register => "registry/register",
        Room::Mpi => "mesh/invoke",
        Room::Generic => "mesh-rpc",
        Room::Services => "health or reflection",
        Room::Grid => "grid",
        Room::Directory => "datanet",
        Room::Unknown => "unknown",
        Room::Registered => "registered service",
    }
}
