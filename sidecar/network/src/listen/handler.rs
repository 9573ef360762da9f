//! What becomes of a request, whichever way it was read: it is counted, given to the service, and its answer told which
//! exchange it belongs to.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
};

use futures::FutureExt;
use http::{Request, Response, StatusCode};
use mesh_core::Body;

use super::{
    Connection, Serve, Settlement,
    access::Line,
    exchange::{Exchange, Proof, Sharing},
    metrics::Metrics,
};

/// Serves the requests of one connection.
pub(super) struct Handler<S> {
    pub(super) service: Arc<S>,
    pub(super) connection: Arc<Connection>,
    pub(super) sharing: Sharing,
    pub(super) metrics: Metrics,
}

/// In a box: the largest handler must not make every idle connection as large.
pub(super) type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

impl<S: Serve> Handler<S> {
    pub(super) fn answer(self: &Arc<Self>, request: Request<Body>, proof: Proof) -> Answering {
        let (exchange, unfinished) = Exchange::next(&self.connection, self.sharing, proof);
        let (this, mut line) = (Arc::clone(self), Line::of(&request, &self.connection));
        Box::pin(async move {
            // Pinned before it is wrapped: it is large, and each wrapping would move it.
            let serving = pin!(this.service.serve(request, Arc::clone(&this.connection)));
            let answer = AssertUnwindSafe(serving).catch_unwind().await.unwrap_or_else(|_| {
                this.metrics.panics.inc();
                panicked()
            });
            for finishing in unfinished {
                finishing.await;
            }
            if let Some(settlement) = answer.extensions().get::<Settlement>() {
                settlement.is_of(exchange);
            }
            if let Some(line) = &mut line {
                line.answered(&answer);
            }
            answer
        })
    }
}

/// PTP section 13.2: a panic is HTTP 500 with a text. The panic hook has logged it.
fn panicked() -> Response<Body> {
    let mut answer = Response::new(Body::from("internal error"));
    *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    answer
}
