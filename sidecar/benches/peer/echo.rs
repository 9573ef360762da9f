//! The floor of gRPC calls: a bare tonic server that answers push with success, pop with 1 KiB, and a stream of messages with the
//! same; it keeps nothing.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::Ipv4Addr,
    pin::Pin,
    task::{Context as Task, Poll},
};

use anyhow::Result;
use bytes::Bytes;
use futures::{TryStreamExt as _, stream::MapOk};
use proto::ptp::{PopInbound, PushInbound, TransportOutbound};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    server::{Grpc, NamedService, StreamingService, UnaryService},
    transport::Server,
};
use tonic_prost::ProstCodec;
use tower_service::Service;

/// What a pop brings.
const SIZE: usize = 1024;

/// Serves until it is killed, on as many threads as there are cores.
pub(super) fn serve(port: &str) -> Result<()> {
    let address = (Ipv4Addr::LOCALHOST, port.parse()?).into();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(Server::builder().add_service(Echo).add_service(Unary).serve(address))?)
}

#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "org.ppc.ptp.PrivateTransferTransport";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/org.ppc.ptp.PrivateTransferTransport/push" => {
                    Grpc::new(ProstCodec::default()).unary(Push, request).await
                }
                "/bench.Unary/converse" => Grpc::new(ProstCodec::default()).streaming(Converse, request).await,
                _ => Grpc::new(ProstCodec::default()).unary(Pop, request).await,
            })
        })
    }
}

/// The same as a service that a node routes to: every method but one answers with 1 KiB.
#[derive(Clone)]
struct Unary;

impl NamedService for Unary {
    const NAME: &'static str = "bench.Unary";
}

impl Service<http::Request<Body>> for Unary {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = <Echo as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Service::<http::Request<Body>>::poll_ready(&mut Echo, task)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Echo.call(request)
    }
}

struct Push;

impl UnaryService<PushInbound> for Push {
    type Response = TransportOutbound;
    type Future = Ready<Result<Response<TransportOutbound>, Status>>;

    fn call(&mut self, _: Request<PushInbound>) -> Self::Future {
        ready(Ok(Response::new(success(Bytes::new()))))
    }
}

struct Pop;

impl UnaryService<PopInbound> for Pop {
    type Response = TransportOutbound;
    type Future = Ready<Result<Response<TransportOutbound>, Status>>;

    fn call(&mut self, _: Request<PopInbound>) -> Self::Future {
        ready(Ok(Response::new(success(Bytes::from_static(&[b'x'; SIZE])))))
    }
}

struct Converse;

impl StreamingService<PushInbound> for Converse {
    type Response = TransportOutbound;
    type ResponseStream = MapOk<Streaming<PushInbound>, fn(PushInbound) -> TransportOutbound>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<PushInbound>>) -> Self::Future {
        let same: fn(PushInbound) -> TransportOutbound = |message| success(message.payload);
        ready(Ok(Response::new(request.into_inner().map_ok(same))))
    }
}

fn success(payload: Bytes) -> TransportOutbound {
    TransportOutbound {
        payload,
        code: "E0000000000".to_owned(),
        message: "请求成功".to_owned(),
        ..TransportOutbound::default()
    }
}
