//! Connections to one address that carry many calls, in three lanes: bundles for calls that are small both ways, HTTP/2 for
//! calls with small bodies, and HTTP/2 for large bodies.
//!
//! All calls of an HTTP/2 connection share its window of [`CONNECTION_WINDOW`] bytes. Bodies that the partner does not read for a
//! while, because their queue is full, would use it up, and the pops that make room would wait behind them. So no connection
//! carries more bodies than its window holds: a slow reader slows its own pusher and nobody else.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{Request, header};
use http_body::Body as _;
use hyper::client::conn::http2;
use mesh_core::{Body, grpc::is_grpc};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    calls::Handle,
    member::Ticket,
    slip::{Kind, Slip},
};
use crate::bundle::{
    CALLS_OF_A_BUNDLE, LONGEST_BODY, LONGEST_HEAD,
    head::{self, MOST_HEADERS},
};
use crate::http2_sizes::{CONNECTION_WINDOW, STREAM_WINDOW};

/// A body up to this size is small. Larger ones are rare enough for connections of their own, and slow enough not to feel it.
const SMALL_BODY: u64 = 64 * 1024;
/// Small calls on one connection, at which another one is opened. Over HTTP/2 their bodies together fit its window.
pub(super) const SMALL_BEFORE_ANOTHER: usize = 256;
/// The same of large bodies: as many as have a full window each.
const LARGE_BEFORE_ANOTHER: usize = (CONNECTION_WINDOW / STREAM_WINDOW) as usize;
/// Connections of one lane to one address. Beyond it the least loaded one takes more; 8 of them fill any link.
const MOST_CONNECTIONS: usize = 8;

const _: () = assert!(SMALL_BEFORE_ANOTHER as u64 * SMALL_BODY <= CONNECTION_WINDOW as u64);
const _: () = assert!(SMALL_BEFORE_ANOTHER < CALLS_OF_A_BUNDLE);

/// Which connections a call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// By a bundle, where the partner knows it.
    Brief,
    Small,
    Large,
    /// On a connection of its own in HTTP/1.1, which it takes over: a WebSocket.
    Alone,
}

/// The connections of one lane.
#[derive(Default)]
pub(super) struct Connections(Mutex<Vec<Shared>>);

/// A connection that carries many calls at once.
pub(super) struct Shared {
    pub(super) sender: Sender,
    /// How many calls the partner permits; it may say so at any time.
    pub(super) room: Arc<AtomicUsize>,
    pub(super) calls: Arc<AtomicUsize>,
    pub(super) ends: Instant,
    pub(super) kind: Kind,
}

/// How a call is put on a connection.
#[derive(Clone)]
pub(super) enum Sender {
    H2(http2::SendRequest<Body>),
    Bundle(Handle),
}

/// Counts one call on a shared connection for as long as it lives.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Lane {
    /// The lane for a request.
    pub(super) fn of(request: &Request<Body>, slip: &Slip) -> Self {
        match request.body() {
            _ if request.headers().contains_key(header::UPGRADE) => Self::Alone,
            // What answers a call of gRPC ends with trailers, which a bundle does not carry.
            Body::Empty | Body::Full(_) if slip.is_brief() && is_brief(request) && !is_grpc(request.headers()) => {
                Self::Brief
            }
            body if body.size_hint().upper().is_some_and(|bytes| bytes <= SMALL_BODY) => Self::Small,
            _ => Self::Large,
        }
    }

    /// Calls on one connection, at which another one is opened.
    fn before_another(self) -> usize {
        match self {
            Self::Brief | Self::Small => SMALL_BEFORE_ANOTHER,
            Self::Large => LARGE_BEFORE_ANOTHER,
            Self::Alone => 1,
        }
    }
}

/// Headers that a request may get on its way: a slip has two.
const ON_ITS_WAY: usize = 8;

/// Whether it fits a bundle with what it may get on its way.
fn is_brief(request: &Request<Body>) -> bool {
    let body = request.body().size_hint().exact();
    body.is_some_and(|bytes| bytes <= LONGEST_BODY as u64)
        && head::length(request) <= LONGEST_HEAD / 2
        && request.headers().len() + ON_ITS_WAY <= MOST_HEADERS
}

impl Sender {
    fn is_closed(&self) -> bool {
        match self {
            Self::H2(sender) => sender.is_closed(),
            Self::Bundle(handle) => handle.is_closed(),
        }
    }

    /// Whether so much waits to be sent that another connection is better.
    fn is_full(&self) -> bool {
        match self {
            Self::H2(_) => false,
            Self::Bundle(handle) => handle.is_full(),
        }
    }
}

impl Connections {
    /// A place on a connection with room; where there are enough connections, on the least loaded one.
    pub(super) fn ticket(&self, lane: Lane, now: Instant) -> Option<Ticket> {
        let mut shared = self.0.lock();
        shared.retain(|one| !one.sender.is_closed() && one.ends > now);
        if let Some(one) = shared.iter().find(|one| one.has_room(lane.before_another()) && !one.sender.is_full()) {
            return Some(one.ticket());
        }
        if shared.len() < MOST_CONNECTIONS {
            return None;
        }
        let with_room = shared.iter().filter(|one| one.has_room(usize::MAX));
        with_room.min_by_key(|one| one.calls.load(Ordering::Relaxed)).map(Shared::ticket)
    }

    /// Keeps a new connection, and gives the first place on it.
    pub(super) fn keep(&self, one: Shared) -> Ticket {
        let ticket = one.ticket();
        self.0.lock().push(one);
        ticket
    }

    /// Lets go of all.
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }
}

impl Shared {
    fn has_room(&self, most: usize) -> bool {
        self.calls.load(Ordering::Acquire) < self.room.load(Ordering::Relaxed).min(most)
    }

    fn ticket(&self) -> Ticket {
        self.calls.fetch_add(1, Ordering::AcqRel);
        Ticket::Shared(self.sender.clone(), Counted(Arc::clone(&self.calls)), self.kind)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_to_be_small_both_ways_goes_by_a_bundle() {
        let brief = Slip::at(http::HeaderMap::new(), crate::Place::new("b"));
        let lane = |bytes: usize, slip| Lane::of(&Request::new(Body::from(vec![0; bytes])), slip);
        assert_eq!((lane(0, &brief), lane(16 * 1024, &brief)), (Lane::Brief, Lane::Brief));
        assert_eq!((lane(16 * 1024 + 1, &brief), lane(1 << 20, &brief)), (Lane::Small, Lane::Large));
        assert_eq!(lane(1, &Slip::default()), Lane::Small, "its answer may be long");
        let long = Request::post("/x").header("x-ptp-token", "t".repeat(9000)).body(Body::Empty).unwrap();
        assert_eq!(Lane::of(&long, &brief), Lane::Small);
        let passed = |times: usize| {
            let mut request = Request::new(Body::Empty);
            (0..times).for_each(|_| {
                request.headers_mut().append("mesh-mdc", "a".parse().unwrap());
            });
            Lane::of(&request, &brief)
        };
        assert_eq!((passed(MOST_HEADERS - ON_ITS_WAY), passed(MOST_HEADERS)), (Lane::Brief, Lane::Small));
    }

    #[test]
    fn the_size_of_the_body_chooses_the_lane() {
        let unknown = Body::boxed(http_body_util::StreamBody::new(futures::stream::empty::<
            Result<http_body::Frame<bytes::Bytes>, std::convert::Infallible>,
        >()));
        let table = [
            (Body::Empty, Lane::Small),
            (Body::from(vec![0; 64 * 1024]), Lane::Small),
            (Body::from(vec![0; 64 * 1024 + 1]), Lane::Large),
            (unknown, Lane::Large),
        ];
        for (body, lane) in table {
            let text = format!("{body:?}");
            assert_eq!(Lane::of(&Request::new(body), &Slip::default()), lane, "{text}");
        }
    }
}
