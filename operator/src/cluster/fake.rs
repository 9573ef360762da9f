//! An API server for tests below a cluster: whatever answers a request with a status and a document.

use std::{
    convert::Infallible,
    future::Future,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body};
use serde_json::Value;

/// A client of an API server that answers each request with a status code and a body.
pub(crate) fn client<A>(namespace: &str, answer: impl Fn(Request<Body>) -> A + Clone + Send + 'static) -> Client
where
    A: Future<Output = (u16, Value)> + Send + 'static,
{
    Client::new(Server(answer), namespace)
}

/// What the body of a request says.
pub(crate) async fn body(request: Request<Body>) -> Value {
    serde_json::from_slice(&request.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[derive(Clone)]
struct Server<F>(F);

impl<F, A> tower_service::Service<Request<Body>> for Server<F>
where
    F: Fn(Request<Body>) -> A,
    A: Future<Output = (u16, Value)> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async move {
            let (code, document) = answer.await;
            // A watch reads lines, and all else passes over the end of one.
            let text = format!("{document}\n");
            Ok(Response::builder().status(code).body(Body::from(text.into_bytes())).unwrap())
        })
    }
}
