//! One call over HTTP: the body is the parameters (Grid section 4).

use ::http::{Response, StatusCode};
use bytes::BytesMut;
use crds::{BackendApi, HttpStatus};
use http_body::Body as _;
use http_body_util::BodyExt;
use mesh_core::Body;
use tokio::time::{Duration, timeout};

use super::answers::{json, refused};
use crate::{
    Grid, GridError,
    backend::Permit,
    envelope::{Method, Outcome, Request, answer_over_http},
};

/// What the original's API allows for reading a request (Grid section 2). Whoever sends a body that never ends holds its memory.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers a call; what was no call is an answer too.
pub(super) async fn call(grid: &Grid, api: &BackendApi, permit: &Permit, method: Method, body: Body) -> Response<Body> {
    let limit = usize::try_from(api.body_bytes.bytes()).unwrap_or(usize::MAX);
    let bytes = match timeout(READ_TIMEOUT, read(body, limit)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(refused)) => return refused,
        Err(_) => return refused(StatusCode::REQUEST_TIMEOUT, &GridError::invalid("the body did not come to its end")),
    };
    let request = Request::read_body(method, &bytes);
    let outcome = match request.call {
        Ok(call) => grid.call(permit, None, call).await,
        Err(e) => grid.refuse(e),
    };
    json(status(&outcome, api.http_status), answer_over_http(&outcome, request.id.as_ref()))
}

/// Reads a body within its bound.
async fn read(mut body: Body, limit: usize) -> Result<BytesMut, Response<Body>> {
    let too_large =
        || refused(StatusCode::PAYLOAD_TOO_LARGE, &GridError::invalid(format!("a body is at most {limit} bytes")));
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|e| refused(StatusCode::BAD_REQUEST, &GridError::invalid(format!("the body broke off: {e}"))))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// 200 for every outcome, for the body is the truth; or what the configuration wants (G-7). Who may not call at all is told so by
/// the status in any case (Grid section 4).
fn status(outcome: &Outcome, mode: HttpStatus) -> StatusCode {
    let Err(error) = outcome else { return StatusCode::OK };
    let status = match error {
        GridError::NotPermitted(_) => 403,
        _ if mode == HttpStatus::AlwaysOk => 200,
        GridError::NotSent(unsent, _) => unsent.status(),
        GridError::RateLimited(_) => 429,
        GridError::Draining => 503,
        GridError::Internal(_) => 500,
        _ => 400,
    };
    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body::Frame;

    use super::*;
    use crate::{EPOCH_MS, Mint, NodeNumber};

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_not_waited_for() {
        let mint = Mint::new(NodeNumber::default(), EPOCH_MS);
        let grid = Grid::new(&crds::Grid::default(), (NodeNumber::default(), "grid-0"), mint, 1);
        let begins = futures::stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"{")))]);
        let body = http_body_util::StreamBody::new(futures::StreamExt::chain(begins, futures::stream::pending()));
        let answer = call(&grid, &BackendApi::default(), &Permit::local(), Method::Send, Body::boxed(body)).await;
        assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
    }
}
