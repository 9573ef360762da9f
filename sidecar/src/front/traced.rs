//! A call with a span around it: which room it went to, what came of it, and whence it came. No address, no query, no header and
//! no byte of a body is in it.

use std::sync::Arc;

use http::{Request, Response};
use mesh_core::Body;
use mesh_network::listen::Connection;
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
        mut request: Request<Body>,
        connection: Arc<Connection>,
    ) -> Response<Body> {
        let parent = Parent::of(request.headers());
        let room = paths::room_of(request.uri().path());
        // Partners and load balancers ask it every few seconds, and whoever reads traces wants none of it.
        if room == Room::Stats && parent.is_none() {
            return self.answer(request, connection).await;
        }
        let mut span = traces.begin(name(room), SpanKind::Server, parent.as_ref());
        // A registered service sees the call as ours.
        span.parent().write(request.headers_mut());
        let answer = Box::pin(span.around(self.answer(request, connection))).await;
        span.set("http.response.status_code", i64::from(answer.status().as_u16()));
        if answer.status().is_server_error() {
            span.failed("server error");
        }
        answer
    }
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
        Room::Unknown => "unknown",
        Room::Registered => "registered service",
    }
}
