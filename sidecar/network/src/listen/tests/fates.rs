//! What is known of an answer once it is written, whichever way it went.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use mesh_core::{Body, BoxError, Drain, Live};
use prometheus_client::registry::Registry;
use tokio::{
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    time::timeout,
};

use crate::{
    listen::{Connection, Finishing, Gate, Limits, Pieces, Serve, Settlement, serve},
    testing::{A, Plain, institution, listener},
};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Received,
    Lost,
}

/// Answers 1 MiB at once, at `/two` in two pieces, or at `/small` three bytes and trailers, and reports each answer's fate. What
/// follows on one of `/slow` ends when the test says so. `/named` and `/named/large` (64 MiB) are answers whose fate is known
/// once they are written: what they carry is settled by its name.
struct Tells {
    fates: UnboundedSender<Fate>,
    is_plain: bool,
    slow: Arc<Notify>,
}

impl Serve for Tells {
    async fn serve(&self, request: Request<Body>, _: Arc<Connection>) -> Response<Body> {
        let settlement = Settlement::default();
        let report = Some(Report { fates: self.fates.clone(), fate: Fate::Lost });
        let is_small = request.uri().path() == "/small";
        let bytes: Bytes = match request.uri().path() {
            "/small" | "/named" => vec![b'x'; 3].into(),
            "/named/large" => vec![b'x'; 64 << 20].into(),
            _ => vec![b'x'; 1 << 20].into(),
        };
        let mut pieces = VecDeque::from([bytes]);
        if request.uri().path() == "/two" {
            pieces.push_back(Bytes::from_static(b"the end"));
        }
        let trailers = is_small.then(HeaderMap::new);
        let slow = (request.uri().path() == "/slow").then(|| Arc::clone(&self.slow));
        let is_named = request.uri().path().starts_with("/named");
        let body = Told { pieces, trailers, report, slow, is_named, settlement: settlement.clone() };
        let mut response = Response::new(Body::Boxed(Box::pin(body)));
        response.extensions_mut().insert(settlement);
        response
    }

    fn short_way(&self, _: &Request<()>) -> Option<Pieces> {
        self.is_plain.then_some(Pieces::Large)
    }
}

/// A body that asks for its fate at its end, as the front's do.
struct Told {
    pieces: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    report: Option<Report>,
    slow: Option<Arc<Notify>>,
    is_named: bool,
    settlement: Settlement,
}

/// Sent when it is dropped.
struct Report {
    fates: UnboundedSender<Fate>,
    fate: Fate,
}

impl Report {
    fn received(mut self) {
        self.fate = Fate::Received;
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let _ = self.fates.send(std::mem::replace(&mut self.fate, Fate::Lost));
    }
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let piece = self.pieces.pop_front().map(Frame::data);
        Poll::Ready(piece.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.pieces.iter().map(|piece| piece.len() as u64).sum())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(report) = self.report.take()
            && self.is_end_stream()
        {
            let slow = self.slow.take();
            if self.is_named {
                if !self.settlement.is_lost() {
                    report.received();
                }
                return;
            }
            self.settlement.when_received(move || {
                report.received();
                slow.map(|slow| -> Finishing { Box::pin(async move { slow.notified().await }) })
            });
        }
    }
}

pub(super) fn start(is_plain: bool) -> (SocketAddr, UnboundedReceiver<Fate>, Drain) {
    start_with(is_plain, Arc::default())
}

fn start_with(is_plain: bool, slow: Arc<Notify>) -> (SocketAddr, UnboundedReceiver<Fate>, Drain) {
    let live = Arc::new(Live::new(institution(A).snapshot(Vec::new())));
    let gate = Gate::new(live, Limits::default(), mesh_core::Workers::here(), &mut Registry::default()).unwrap();
    let listener = listener("127.0.0.1:0".parse().unwrap());
    let address = listener.local_addr().unwrap();
    let (drain, (fates, seen)) = (Drain::new(), unbounded_channel());
    tokio::spawn(serve(listener, Arc::new(Tells { fates, is_plain, slow }), gate, drain.handle()));
    (address, seen, drain)
}

const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// By the short way, and through hyper.
const WAYS: [bool; 2] = [true, false];

#[tokio::test]
async fn the_next_request_proves_that_the_answer_was_read() {
    for is_plain in WAYS {
        let (address, mut fates, _drain) = start(is_plain);
        let mut plain = Plain::to(address).await;
        plain.write(GET).await;
        plain.answer().await;
        assert!(fates.try_recv().is_err(), "not known yet");
        let start = Instant::now();
        plain.write(GET).await;
        assert_eq!(fates.recv().await, Some(Fate::Received));
        assert!(start.elapsed() < Duration::from_millis(4500), "not by the five seconds of peace");
    }
}

#[tokio::test]
async fn the_next_answer_waits_until_what_followed_on_the_last_one_is_done() {
    for is_plain in WAYS {
        let slow = Arc::default();
        let (address, mut fates, _drain) = start_with(is_plain, Arc::clone(&slow));
        let mut plain = Plain::to(address).await;
        plain.write("GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        plain.answer().await;
        plain.write(GET).await;
        assert_eq!(fates.recv().await, Some(Fate::Received));
        assert!(timeout(Duration::from_millis(50), plain.answer()).await.is_err(), "it is not done");
        slow.notify_one();
        plain.answer().await;
    }
}

#[tokio::test]
async fn an_orderly_end_proves_it_too() {
    for is_plain in WAYS {
        let (address, mut fates, _drain) = start(is_plain);
        let mut plain = Plain::to(address).await;
        plain.write(GET).await;
        plain.answer().await;
        drop(plain);
        let start = Instant::now();
        assert_eq!(fates.recv().await, Some(Fate::Received));
        assert!(start.elapsed() < Duration::from_millis(4500), "not by the five seconds of peace");
    }
}

#[tokio::test]
async fn a_client_that_dies_with_unread_bytes_has_not_seen_the_answer() {
    for is_plain in WAYS {
        let (address, mut fates, _drain) = start(is_plain);
        let mut plain = Plain::to(address).await;
        plain.write(GET).await;
        // Something of the answer is there, most of it is unread: the kernel answers the close with a reset.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut some = [0; 100];
        tokio::io::AsyncReadExt::read_exact(&mut plain.tcp, &mut some).await.unwrap();
        drop(plain);
        assert_eq!(fates.recv().await, Some(Fate::Lost));
    }
}

#[tokio::test]
async fn five_seconds_of_peace_are_enough() {
    let (address, mut fates, _drain) = start(true);
    let mut plain = Plain::to(address).await;
    plain.write(GET).await;
    plain.answer().await;
    let start = Instant::now();
    assert_eq!(fates.recv().await, Some(Fate::Received));
    assert!(start.elapsed() > Duration::from_secs(4), "{:?}", start.elapsed());
}

/// A client that ends by a reset, whatever it has read.
fn resets(plain: Plain) {
    socket2::SockRef::from(&plain.tcp).set_linger(Some(Duration::ZERO)).unwrap();
    drop(plain);
}

#[tokio::test]
async fn of_what_is_settled_by_its_name_a_reset_behind_the_whole_answer_says_nothing() {
    for is_plain in WAYS {
        let (address, mut fates, _drain) = start(is_plain);
        let mut plain = Plain::to(address).await;
        plain.write("GET /named HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        assert_eq!(fates.recv().await, Some(Fate::Received), "written, whatever comes next");
        resets(plain);
        assert!(timeout(Duration::from_millis(200), fates.recv()).await.is_err(), "it is told once");
    }
}

#[tokio::test]
async fn of_what_is_settled_by_its_name_a_reset_in_the_middle_of_the_answer_is_a_loss_at_once() {
    for is_plain in WAYS {
        let (address, mut fates, _drain) = start(is_plain);
        let mut plain = Plain::to(address).await;
        plain.write("GET /named/large HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        let mut some = [0; 100];
        tokio::io::AsyncReadExt::read_exact(&mut plain.tcp, &mut some).await.unwrap();
        assert!(fates.try_recv().is_err(), "most of it is not written");
        resets(plain);
        assert_eq!(fates.recv().await, Some(Fate::Lost));
    }
}
