//! What is known of an answer once it is written.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response};
use mesh_core::{Body, Drain, Live};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    listen::{Connection, Exchange, Fate, Gate, Limits, Serve, serve},
    testing::{A, Plain, institution, listener},
};

/// Answers 1 MiB at once, and reports each answer's fate.
struct Tells {
    fates: UnboundedSender<Fate>,
    drain: Mutex<Drain>,
}

impl Serve for Tells {
    async fn serve(&self, request: Request<Body>, _: Arc<Connection>) -> Response<Body> {
        let exchange = request.extensions().get::<Exchange>().unwrap().clone();
        let fates = self.fates.clone();
        self.drain.lock().handle().spawn(async move { fates.send(exchange.fate().await) });
        Response::new(Body::from(vec![b'x'; 1 << 20]))
    }
}

fn start() -> (std::net::SocketAddr, UnboundedReceiver<Fate>, Drain) {
    let live = Arc::new(Live::new(institution(A).snapshot(Vec::new())));
    let gate = Gate::new(live, Limits::default(), &mut Registry::default()).unwrap();
    let listener = listener("127.0.0.1:0".parse().unwrap());
    let address = listener.local_addr().unwrap();
    let (drain, (fates, seen)) = (Drain::new(), unbounded_channel());
    let service = Arc::new(Tells { fates, drain: Mutex::new(drain.clone()) });
    tokio::spawn(serve(listener, service, gate, drain.handle()));
    (address, seen, drain)
}

const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[tokio::test]
async fn the_next_request_proves_that_the_answer_was_read() {
    let (address, mut fates, _drain) = start();
    let mut plain = Plain::to(address).await;
    plain.write(GET).await;
    plain.answer().await;
    assert!(fates.try_recv().is_err(), "not known yet");
    let start = Instant::now();
    plain.write(GET).await;
    assert_eq!(fates.recv().await, Some(Fate::Received));
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn an_orderly_end_proves_it_too() {
    let (address, mut fates, _drain) = start();
    let mut plain = Plain::to(address).await;
    plain.write(GET).await;
    plain.answer().await;
    drop(plain);
    let start = Instant::now();
    assert_eq!(fates.recv().await, Some(Fate::Received));
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_client_that_dies_with_unread_bytes_has_not_seen_the_answer() {
    let (address, mut fates, _drain) = start();
    let mut plain = Plain::to(address).await;
    plain.write(GET).await;
    // Something of the answer is there, most of it is unread: the kernel answers the close with a reset.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut some = [0; 100];
    tokio::io::AsyncReadExt::read_exact(&mut plain.tcp, &mut some).await.unwrap();
    drop(plain);
    assert_eq!(fates.recv().await, Some(Fate::Lost));
}

#[tokio::test]
async fn five_seconds_of_peace_are_enough() {
    let (address, mut fates, _drain) = start();
    let mut plain = Plain::to(address).await;
    plain.write(GET).await;
    plain.answer().await;
    let start = Instant::now();
    assert_eq!(fates.recv().await, Some(Fate::Received));
    assert!(start.elapsed() > Duration::from_secs(4), "{:?}", start.elapsed());
}
