//! `/add-checkpoint`: this directory as a witness of other logs (`c2sp.org/tlog-witness`). Logs speak HTTP alone there: no codes, no
//! credentials but the signature of the checkpoint.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};

use super::{Front, now};
use crate::{directory::NotSigned, witness::SIZE};

/// Requests that are judged at once: each may wait for the disk.
pub(super) const AT_ONCE: usize = 16;

/// Lines of text.
const TEXT: &str = "text/plain; charset=utf-8";

impl Front {
    /// Answers a log that wants its checkpoint signed.
    pub(super) async fn add_checkpoint(&self, body: Bytes) -> Response<Bytes> {
        let Ok(turn) = self.witnessing.clone().try_acquire_owned() else {
            let mut busy =
                said(StatusCode::SERVICE_UNAVAILABLE, TEXT, "too many logs ask at once: come again\n".into());
            busy.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return busy;
        };
        let directory = self.directory().clone();
        let signed = tokio::task::spawn_blocking(move || {
            let signed = directory.add_checkpoint(&body, now() / 1000);
            drop(turn);
            signed
        });
        let answer = match signed.await {
            Ok(Ok(signed)) => {
                // Strangers may have the same signed again; nothing comes of it.
                if signed.is_new {
                    tracing::info!(target: "audit", action = "cosign", source = "datanet", what = signed.origin, size = signed.size, "directory");
                }
                said(StatusCode::OK, TEXT, signed.line)
            }
            Ok(Err(error)) => refused(&error),
            Err(_) => said(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the call was given up\n".into()),
        };
        self.metrics.called("witness", answer.status().as_u16());
        answer
    }
}

fn refused(error: &NotSigned) -> Response<Bytes> {
    let (status, known) = match error {
        NotSigned::Malformed(_) => (400, None),
        NotSigned::Refused(refusal) => {
            if let crate::witness::Refusal::Fork(_) = refusal {
                // It is signed by the log itself: whoever runs it owes an explanation. A proof that does not fit is anybody's.
                tracing::warn!("a checkpoint of another log is not signed: {refusal}");
            }
            (refusal.status(), refusal.known())
        }
        NotSigned::TooOften => (429, None),
        NotSigned::Unkept(error) => {
            tracing::error!("a checkpoint of another log is not signed: {error}");
            (500, None)
        }
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match known {
        Some(size) => said(status, SIZE, format!("{size}\n")),
        None => said(status, TEXT, format!("{error}\n")),
    }
}

fn said(status: StatusCode, media_type: &'static str, text: String) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}
