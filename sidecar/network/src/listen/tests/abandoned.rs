//! An answer that its front gives up while its client takes nothing: it ends, and what its body holds is free.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Frame;
use mesh_core::{Body, BoxError, Drain, Live};
use prometheus_client::registry::Registry;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    listen::{Abandon, Connection, Gate, Limits, Pieces, Serve, serve},
    testing::{
        A, Plain,
        http2::{CANCEL, DATA, Frames, HEADERS, RST_STREAM},
        institution, listener,
    },
};

/// An answer that has begun, and that the test may give up.
struct Begun {
    abandon: Abandon,
    connection: Arc<Connection>,
    version: Version,
}

/// Answers without end, and says so to the test.
struct Endless {
    begun: UnboundedSender<Begun>,
    dropped: UnboundedSender<()>,
    is_plain: bool,
}

impl Serve for Endless {
    async fn serve(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        let abandon = Abandon::default();
        let mut answer = Response::new(Body::Boxed(Box::pin(Pieces64(self.dropped.clone()))));
        answer.extensions_mut().insert(abandon.clone());
        self.begun.send(Begun { abandon, connection, version: request.version() }).unwrap();
        answer
    }

    fn short_way(&self, _: &Request<()>) -> Option<Pieces> {
        self.is_plain.then_some(Pieces::AsTheyCome)
    }
}

/// 64 KiB, again and again.
struct Pieces64(UnboundedSender<()>);

impl http_body::Body for Pieces64 {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 64 << 10])))))
    }
}

impl Drop for Pieces64 {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

fn start(is_plain: bool) -> (SocketAddr, UnboundedReceiver<Begun>, UnboundedReceiver<()>, Drain) {
    let live = Arc::new(Live::new(institution(A).snapshot(Vec::new())));
    let gate = Gate::new(live, Limits::default(), mesh_core::Workers::here(), &mut Registry::default()).unwrap();
    let listener = listener("127.0.0.1:0".parse().unwrap());
    let address = listener.local_addr().unwrap();
    let (drain, (begun, begins), (dropped, drops)) = (Drain::new(), unbounded_channel(), unbounded_channel());
    tokio::spawn(serve(listener, Arc::new(Endless { begun, dropped, is_plain }), gate, drain.handle()));
    (address, begins, drops, drain)
}

#[tokio::test]
async fn an_abandoned_answer_in_a_closed_window_is_reset_and_the_others_go_on() {
    let (address, mut begins, mut drops, _drain) = start(true);
    for window in [0, 70_000] {
        let mut client = Frames::to(address, window).await;
        client.get(1, "/a").await;
        client.until(|frame| frame.kind == HEADERS).await;
        let first = begins.recv().await.unwrap();
        assert_eq!(first.version, Version::HTTP_2);
        client.get(3, "/b").await;
        client.until(|frame| frame.kind == HEADERS && frame.stream == 3).await;
        first.abandon.give_up();
        let reset = client.until(|frame| frame.kind == RST_STREAM).await;
        assert_eq!((reset.stream, reset.payload), (1, CANCEL.to_be_bytes().to_vec()));
        drops.recv().await.unwrap();
        client.open_window(3, 1 << 16).await;
        client.open_window(0, 1 << 20).await;
        client.until(|frame| frame.kind == DATA && frame.stream == 3).await;
        drop(client);
        drops.recv().await.unwrap();
        begins.recv().await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_ends_an_answer_that_nobody_takes() {
    // By the short way, and through hyper.
    for is_plain in [true, false] {
        let (address, mut begins, mut drops, _drain) = start(is_plain);
        let mut client = Plain::to(address).await;
        client.write("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        let begun = begins.recv().await.unwrap();
        // It fills what the sockets hold, and waits.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(drops.try_recv().is_err());
        begun.connection.cut();
        drops.recv().await.unwrap();
    }
}
