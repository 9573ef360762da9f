//! Which room a path belongs to (PTP sections 3.1 and 8.5). A registration cannot claim a path of ours, so that the
//! order of this table is the precedence.

use mesh_transport::Op;

/// Whom a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// `/stats`.
    Stats,
    /// A channel operation over HTTP.
    Channel(Op),
    /// What another node of our kind does with what it popped here.
    Lease,
    /// A channel operation over gRPC.
    ChannelGrpc,
    /// Who this node is, or who a partner is.
    Control(Control),
    /// A registration.
    Register,
    /// An MPI by HTTP.
    Mpi,
    /// An MPI by gRPC.
    Generic,
    /// Health and reflection.
    Services,
    /// What a sidecar of this node passes on for the grid's API.
    Grid,
    /// The Datanet directory.
    Directory,
    /// A path of ours that this version does not serve.
    Unknown,
    /// Anybody's: registered here, or at the partner that the headers name.
    Registered,
}

/// The control calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    NodeRefresh,
    NetRefresh,
    NetWeave,
    NetAck,
}

impl Control {
    /// The control call that another node may send wrapped, by the path in `x-ptp-uri` (PTP section 8.4).
    pub(crate) fn of_uri(uri: &str) -> Option<Self> {
        match room_of(mesh_transport::path_of(uri)) {
            Room::Control(call @ (Self::NetWeave | Self::NetAck)) => Some(call),
            _ => None,
        }
    }
}

/// Whom a path is for.
pub(crate) fn room_of(path: &str) -> Room {
    match path {
        "/stats" => Room::Stats,
        "/v1/interconn/node/refresh" => Room::Control(Control::NodeRefresh),
        "/v1/interconn/net/refresh" => Room::Control(Control::NetRefresh),
        "/v1/interconn/net/weave" => Room::Control(Control::NetWeave),
        "/v1/interconn/net/ack" => Room::Control(Control::NetAck),
        "/v1/interconn/registry/register" => Room::Register,
        "/mesh/invoke" => Room::Mpi,
        "/v1/interconn/chan/lease" => Room::Lease,
        "/mesh-rpc/v1" => Room::Generic,
        _ if path.strip_prefix(mesh_grid::api::PASSED).is_some_and(|rest| rest.starts_with('/')) => Room::Grid,
        _ if path
            .strip_prefix(mesh_directory::front::PREFIX)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) =>
        {
            Room::Directory
        }
        _ if mesh_directory::front::is_page(path) => Room::Directory,
        _ if path.starts_with("/org.ppc.ptp.") => Room::ChannelGrpc,
        _ if path.starts_with("/grpc.health.v1.") || path.starts_with("/grpc.reflection.") => Room::Services,
        _ => Op::of_path(path).map_or_else(|| others(path), Room::Channel),
    }
}

fn others(path: &str) -> Room {
    if mesh_registry::is_reserved(path) { Room::Unknown } else { Room::Registered }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_room() {
        for (path, room) in [
            ("/stats", Room::Stats),
            ("/v1/interconn/chan/push", Room::Channel(Op::Push)),
            ("/v1/interconn/chan/transport", Room::Channel(Op::Transport)),
            ("/v1/interconn/chan/lease", Room::Lease),
            ("/v1/interconn/grid/ws/v1", Room::Grid),
            ("/v1/interconn/gridlock", Room::Unknown),
            ("/v1/interconn/chan/browse", Room::Unknown),
            ("/v1/interconn/node/refresh", Room::Control(Control::NodeRefresh)),
            ("/v1/interconn/net/refresh", Room::Control(Control::NetRefresh)),
            ("/v1/interconn/net/weave", Room::Control(Control::NetWeave)),
            ("/v1/interconn/net/ack", Room::Control(Control::NetAck)),
            ("/v1/interconn/node/query", Room::Unknown),
            ("/v1/interconn/registry/register", Room::Register),
            ("/org.ppc.ptp.PrivateTransferTransport/push", Room::ChannelGrpc),
            ("/mesh/invoke", Room::Mpi),
            ("/mesh-rpc/v1", Room::Generic),
            ("/mesh-rpc/v2", Room::Unknown),
            ("/datanet/v1/batch", Room::Directory),
            ("/datanet/", Room::Directory),
            ("/datanet/verify.mjs", Room::Directory),
            ("/grpc.health.v1.Health/Check", Room::Services),
            ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Room::Services),
            ("/datanet/v1", Room::Directory),
            ("/datanet/v1/x", Room::Directory),
            ("/datanet/v10", Room::Unknown),
            ("/serving/predict", Room::Registered),
            ("/", Room::Registered),
            ("*", Room::Registered),
        ] {
            assert_eq!(room_of(path), room, "{path}");
        }
    }
    #[test]
    fn weave_and_ack_may_be_wrapped_and_nothing_else_of_control() {
        for (uri, call) in [
            ("https://ptp.cn/v1/interconn/net/weave", Some(Control::NetWeave)),
            ("/v1/interconn/net/ack?x=1", Some(Control::NetAck)),
            ("/v1/interconn/net/refresh", None),
            ("/v1/interconn/node/refresh", None),
            ("/v1/interconn/chan/push", None),
        ] {
            assert_eq!(Control::of_uri(uri), call, "{uri}");
        }
    }
}
