//! What the application serves: its ledger, and once more when it is closed; its name, and a stream of lines.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::{Json, Router, routing::get};
use e2e::ledger::{Ledger, STREAMED};
use futures::stream;
use http::{HeaderValue, Response, StatusCode, header};
use hyper_util::rt::TokioIo;

use super::{Books, Closing};

/// With [`STREAMED`] lines a stream takes four seconds: longer than a gateway needs to be told to end.
const BETWEEN_LINES: Duration = Duration::from_millis(100);

/// Serves until the process ends.
pub(crate) async fn serve(books: Books, closing: Closing) {
    let router = Router::new()
        .route("/ledger", get(ledger))
        .route("/book", get(book))
        .route("/who", get(async || name()))
        .route("/who/socket", get(socket))
        .route("/who/stream", get(async || Body::from_stream(lines())))
        .with_state((books, closing));
    let listener = match tokio::net::TcpListener::bind("[::]:8080").await {
        Ok(listener) => listener,
        Err(e) => return e2e::say(&format!("cannot listen on 8080: {e}")),
    };
    if let Err(e) = axum::serve(listener, router).await {
        e2e::say(&format!("the service ended: {e}"));
    }
}

async fn ledger(State((books, _)): State<(Books, Closing)>) -> Json<Ledger> {
    Json(books.lock().clone())
}

/// The book when it is closed; the program ends when it was read.
async fn book(State((books, closing)): State<(Books, Closing)>) -> Result<Json<Ledger>, (StatusCode, &'static str)> {
    if !closing.closed.is_cancelled() {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "it is not closed yet"));
    }
    closing.read.cancel();
    Ok(Json(books.lock().clone()))
}

/// A WebSocket that sends back what comes, as it is.
async fn socket(mut request: Request) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(stream) = upgrade.await else { return };
        let (mut from, mut to) = tokio::io::split(TokioIo::new(stream));
        // How it ended is the caller's to see.
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response
}

/// The pod's name.
fn name() -> String {
    std::env::var("HOSTNAME").unwrap_or_default()
}

fn lines() -> impl futures::Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(1, async |number| {
        if number > STREAMED {
            return None;
        }
        tokio::time::sleep(BETWEEN_LINES).await;
        Some((Ok(Bytes::from(format!("{number}\n"))), number + 1))
    })
}
