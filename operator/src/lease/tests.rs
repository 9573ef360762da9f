//! A leader whose API server is slow.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::json;

use super::*;

/// An API server with one Lease: each answer comes after the next of these times, or never.
#[derive(Clone)]
struct Slow(Arc<Mutex<VecDeque<Duration>>>);

impl tower_service::Service<Request<Body>> for Slow {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let after = self.0.lock().pop_front();
        Box::pin(async move {
            match after {
                Some(after) => sleep(after).await,
                None => std::future::pending().await,
            }
            let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
                "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}});
            Ok(Response::new(Body::from(lease.to_string().into_bytes())))
        })
    }
}

/// The renewal took effect when it was asked for at the earliest, so that is from when on a standby counts.
#[tokio::test(start_paused = true)]
async fn a_lease_lasts_from_the_question_and_not_from_the_answer() {
    let answers = [Duration::ZERO, Duration::from_millis(7900)];
    let client = Client::new(Slow(Arc::new(Mutex::new(answers.into()))), "ns");
    let candidate = Candidate::new(client, "ns", "l", "me");
    let begun = Instant::now();
    let lost = candidate.keep(begun).await;
    assert!(matches!(lost, Lost::NotRenewed { .. }), "{lost}");
    // It asked at 2 s and had its answer at 9.9 s; a standby may lead from 2 s + 15 s on.
    assert!(begun.elapsed() < LASTS, "it led on for {:?}", begun.elapsed());
}
