//! Calls that are passed on: bodies go both ways at once, answers have a length or none, and either side may break off. By the
//! short way as by hyper.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use mesh_core::{Body, BoxError, Drain, Live};
use prometheus_client::registry::Registry;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    listen::{Connection, Gate, Limits, Pieces, Serve, serve},
    testing::{A, Plain, institution, listener, until},
};

const LIMIT: Duration = Duration::from_secs(60);

/// Passes on what it is told to, by its path.
struct Flows {
    is_short: bool,
    /// Answers that go on.
    open: Arc<AtomicUsize>,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn frames(all: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Body {
    Body::boxed(StreamBody::new(all.map(|piece| piece.map(Frame::data)).boxed()))
}

fn said(pieces: &'static [&'static str]) -> impl Stream<Item = Result<Bytes, BoxError>> + Send {
    stream::iter(pieces).map(|piece| Ok(Bytes::from_static(piece.as_bytes())))
}

impl Serve for Flows {
    async fn serve(&self, request: Request<Body>, _: Arc<Connection>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let length = |length| Response::builder().header("content-length", length);
        match head.uri.path() {
            "/mirror" => Response::new(Body::boxed(body)),
            "/counted" => {
                let said = http_body::Body::size_hint(&body).exact().unwrap();
                length(said.to_string()).body(frames(body.into_data_stream())).unwrap()
            }
            "/early" => Response::new(Body::from("too large")),
            "/pieces" => Response::new(frames(said(&["one", "", "two"]))),
            "/nothing" => Response::new(frames(said(&[]))),
            "/dated" => Response::builder().header("date", "yesterday").body(frames(said(&["one"]))).unwrap(),
            "/short" => length("9".into()).body(frames(said(&["one"]))).unwrap(),
            "/long" => length("4".into()).body(frames(said(&["one", "two"]))).unwrap(),
            "/broken" => {
                let end = stream::once(async { Err(BoxError::from("broken")) });
                Response::new(frames(said(&["one"]).chain(end)))
            }
            _ => {
                self.open.fetch_add(1, Ordering::SeqCst);
                let open = Open(Arc::clone(&self.open));
                let end = async move {
                    let _open = open;
                    std::future::pending().await
                };
                Response::new(frames(said(&["one"]).chain(end.into_stream())))
            }
        }
    }

    fn short_way(&self, _: &Request<()>) -> Option<Pieces> {
        self.is_short.then_some(Pieces::AsTheyCome)
    }
}

struct Place {
    address: SocketAddr,
    open: Arc<AtomicUsize>,
    is_short: bool,
    _drain: Drain,
}

/// By the short way, and by hyper.
fn both() -> [Place; 2] {
    [true, false].map(|is_short| {
        let (listener, open) = (listener("127.0.0.1:0".parse().unwrap()), Arc::<AtomicUsize>::default());
        let address = listener.local_addr().unwrap();
        let live = Arc::new(Live::new(mesh_core::Snapshot::assemble(institution(A).parts(Vec::new())).unwrap()));
        let workers = mesh_core::Workers::here();
        let gate = Gate::new(live, Limits::default(), workers, &mut Registry::default()).unwrap();
        let (drain, service) = (Drain::new(), Arc::new(Flows { is_short, open: Arc::clone(&open) }));
        tokio::spawn(serve(listener, service, gate, drain.handle()));
        Place { address, open, is_short, _drain: drain }
    })
}

fn head(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n")
}

async fn hear(plain: &mut Plain, end: &str, whose: &Place) -> String {
    let (mut all, mut byte) = (Vec::new(), [0]);
    while !all.ends_with(end.as_bytes()) {
        let read = timeout(LIMIT, plain.tcp.read(&mut byte)).await;
        let heard = String::from_utf8_lossy(&all).into_owned();
        let some = read.unwrap_or_else(|_| panic!("short: {}, nothing comes behind {heard:?}", whose.is_short));
        assert_eq!(some.unwrap(), 1, "short: {}, the end behind {heard:?}", whose.is_short);
        all.push(byte[0]);
    }
    String::from_utf8(all).unwrap()
}

fn without_dates(said: &str) -> String {
    said.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
}

#[tokio::test]
async fn a_body_comes_back_piece_by_piece_before_the_next_piece_is_sent() {
    for place in both() {
        let mut plain = Plain::to(place.address).await;
        for path in ["/mirror", "/counted", "/mirror"] {
            plain.write(head(path, 9)).await;
            // With the head, behind it, and at the end.
            plain.write("one").await;
            hear(&mut plain, "\r\n\r\none", &place).await;
            plain.write("two").await;
            hear(&mut plain, "two", &place).await;
            plain.write("end").await;
            hear(&mut plain, "end", &place).await;
        }
    }
}

#[tokio::test]
async fn more_than_a_socket_holds_goes_through_in_both_directions_at_once() {
    const MUCH: usize = 24 << 20;
    for place in both() {
        let mut plain = Plain::to(place.address).await;
        plain.write(head("/counted", MUCH)).await;
        hear(&mut plain, "\r\n\r\n", &place).await;
        let (mut near, mut far) = plain.tcp.split();
        let sent: Vec<u8> = (0..MUCH).map(|n| (n / 7 % 251) as u8).collect();
        let mut back = vec![0; MUCH];
        let (up, down) = tokio::join!(far.write_all(&sent), timeout(LIMIT * 3, near.read_exact(&mut back)));
        up.unwrap();
        down.expect("it comes back").unwrap();
        assert!(sent == back, "other bytes came back");
        plain.write(head("/early", 0)).await;
        hear(&mut plain, "too large", &place).await;
    }
}

#[tokio::test]
async fn an_answer_is_framed_as_hyper_frames_it() {
    let places = both();
    for path in ["/pieces", "/nothing", "/dated", "/mirror", "/counted", "/early", "/short", "/long", "/broken"] {
        let mut all = Vec::new();
        for place in &places {
            let mut plain = Plain::to(place.address).await;
            plain
                .write(head(path, 4) + "body" + &head("/early", 0).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"))
                .await;
            all.push(plain.read_to_end().await);
        }
        let dates: Vec<_> = all.iter().map(|said| said.matches("date: ").count()).collect();
        match path {
            // How much of it still goes out, and in how many chunks, is the choice of each. hyper cuts what is too long.
            "/short" | "/long" | "/broken" => {
                let broke = |said: &String| !said.contains("too large") && !said.contains("0\r\n\r\n");
                assert!(broke(&all[0]) && (path == "/long" || broke(&all[1])), "{path}: {all:?}");
            }
            _ => {
                assert_eq!(without_dates(&all[0]), without_dates(&all[1]), "{path}: the short way says the first");
                assert_eq!(dates[0], dates[1], "{path}: {all:?}");
                assert!(all[0].ends_with("too large"), "{path}: {all:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_came_before_an_answer_broke_off_arrives() {
    let [short, _] = both();
    for path in ["/short", "/broken"] {
        let mut plain = Plain::to(short.address).await;
        plain.write(head(path, 0)).await;
        let said = plain.read_to_end().await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.contains("one"), "{path}: {said:?}");
    }
}

#[tokio::test]
async fn behind_an_early_answer_a_little_is_read_for_nobody_and_much_ends_the_connection() {
    for place in both() {
        let mut plain = Plain::to(place.address).await;
        plain.write(head("/early", 50_000)).await;
        hear(&mut plain, "too large", &place).await;
        plain.write(vec![b'x'; 50_000]).await;
        plain.write(head("/early", 0)).await;
        hear(&mut plain, "too large", &place).await;
        plain.write(head("/early", 1 << 30)).await;
        plain.write("some of it").await;
        let said = plain.read_to_end().await;
        assert!(said.ends_with("too large"), "short: {}: {said}", place.is_short);
    }
}

#[tokio::test]
async fn who_goes_away_within_an_answer_ends_it() {
    for place in both() {
        for length in [0, 3] {
            let mut plain = Plain::to(place.address).await;
            plain.write(head("/endless", length) + &"xxx"[..length]).await;
            hear(&mut plain, "one\r\n", &place).await;
            assert_eq!(place.open.load(Ordering::SeqCst), 1);
            drop(plain);
            until(|| place.open.load(Ordering::SeqCst) == 0).await;
        }
    }
}
