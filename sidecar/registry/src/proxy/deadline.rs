//! How long a gRPC caller waits, as it says itself in `grpc-timeout`. A service never has longer than that, and its own timeout
//! holds beside it (PTP section 10.4, point 3).

use http::HeaderMap;
use mesh_core::grpc;
use tokio::time::Instant;

/// When a caller with these headers gives up.
pub(crate) fn of(headers: &HeaderMap) -> Option<Instant> {
    grpc::timeout(headers).and_then(|timeout| Instant::now().checked_add(timeout))
}
