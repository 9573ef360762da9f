//! The channel operations, by the names that paths and methods give them (PTP sections 3.1 and 6.1).

/// A channel operation of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Append a message.
    Push,
    /// Blocking read and remove.
    Pop,
    /// Non-blocking read.
    Peek,
    /// Free a topic or a session.
    Release,
    /// A wrapped operation, node to node.
    Invoke,
    /// The same as invoke over HTTP, a stream of them over gRPC.
    Transport,
}

/// What the paths of the HTTP operations start with.
const CHAN: &str = "/v1/interconn/chan/";
/// What the names of the channel MPIs start with.
const MPI: &str = "mesh.chan.";
/// The path of the gRPC service with the plain operations.
const GRPC_PLAIN: &str = "/org.ppc.ptp.PrivateTransferTransport/";
/// The path of the gRPC service with the wrapped operations.
const GRPC_WRAPPED: &str = "/org.ppc.ptp.PrivateTransferProtocol/";

impl Op {
    /// The operation that an HTTP path names.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        Self::of_name(path.strip_prefix(CHAN)?)
    }

    /// The operation that a gRPC path names.
    #[must_use]
    pub fn of_grpc_path(path: &str) -> Option<Self> {
        let plain = path.strip_prefix(GRPC_PLAIN).and_then(Self::of_name).filter(|op| !op.is_wrapper());
        plain.or_else(|| path.strip_prefix(GRPC_WRAPPED).and_then(Self::of_name).filter(|op| op.is_wrapper()))
    }

    /// The plain operation that `x-ptp-uri` names: its path alone counts, in either form (PTP section 8.4).
    #[must_use]
    pub fn of_uri(uri: &str) -> Option<Self> {
        let path = path_of(uri);
        Self::of_path(path).or_else(|| Self::of_grpc_path(path)).filter(|op| !op.is_wrapper())
    }

    /// The operation that an MPI names (PTP section 7).
    #[must_use]
    pub fn of_mpi(name: &str) -> Option<Self> {
        Self::of_name(name.strip_prefix(MPI)?).filter(|op| !op.is_wrapper())
    }

    /// Whether it carries another operation within.
    #[must_use]
    pub fn is_wrapper(self) -> bool {
        matches!(self, Self::Invoke | Self::Transport)
    }

    /// Its name in paths.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pop => "pop",
            Self::Peek => "peek",
            Self::Release => "release",
            Self::Invoke => "invoke",
            Self::Transport => "transport",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        [Self::Push, Self::Pop, Self::Peek, Self::Release, Self::Invoke, Self::Transport]
            .into_iter()
            .find(|op| op.name() == name)
    }
}

/// The path of a uri, or of a bare path, without its query.
#[must_use]
pub fn path_of(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
    rest.split(['?', '#']).next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_uri_alone_counts() {
        let table = [
            ("https://ptp.cn/v1/interconn/chan/push", Some(Op::Push)),
            ("/v1/interconn/chan/push", Some(Op::Push)),
            ("grpcs://ptp.cn/org.ppc.ptp.PrivateTransferTransport/pop", Some(Op::Pop)),
            ("/org.ppc.ptp.PrivateTransferTransport/release?x=1", Some(Op::Release)),
            ("https://other.example:99/v1/interconn/chan/peek#f", Some(Op::Peek)),
            ("/v1/interconn/chan/invoke", None),
            ("/org.ppc.ptp.PrivateTransferProtocol/invoke", None),
            ("/v1/interconn/chan/browse", None),
            ("https://ptp.cn", None),
            ("", None),
        ];
        for (uri, op) in table {
            assert_eq!(Op::of_uri(uri), op, "{uri}");
        }
    }

    #[test]
    fn each_grpc_service_has_its_own_methods() {
        assert_eq!(Op::of_grpc_path("/org.ppc.ptp.PrivateTransferProtocol/invoke"), Some(Op::Invoke));
        assert_eq!(Op::of_grpc_path("/org.ppc.ptp.PrivateTransferTransport/invoke"), None);
        assert_eq!(Op::of_grpc_path("/org.ppc.ptp.PrivateTransferProtocol/push"), None);
    }
}
