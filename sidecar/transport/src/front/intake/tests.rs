//! One body at a time: its bounds, what it is charged, and how it is put together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use http_body::{Frame, SizeHint};

use super::*;
use crate::{
    Channels,
    channels::testing::{channels, purse},
};

/// A body of equal pieces that may announce its length, and counts what was asked of it.
struct Pieces {
    left: usize,
    size: usize,
    announced: Option<u64>,
    asked: Arc<AtomicUsize>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(vec![7; self.size].into()))))
    }

    fn size_hint(&self) -> SizeHint {
        self.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn pieces(left: usize, size: usize, announced: Option<u64>) -> (Body, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    (Body::boxed(Pieces { left, size, announced, asked: Arc::clone(&asked) }), asked)
}

fn held(channels: &Arc<Channels>) -> (u64, u64) {
    (channels.levels().bytes, channels.levels().in_flight)
}

#[tokio::test]
async fn a_body_at_the_limit_is_taken_and_one_above_it_is_not() {
    let channels = channels(1 << 20);
    for (size, taken) in [(0, true), (10, true), (11, false)] {
        let whole = read(Body::from(vec![1; size]), 10, &mut purse(&channels, Duration::ZERO)).await;
        assert_eq!(whole.is_ok(), taken, "{size}");
    }
}

#[tokio::test]
async fn a_whole_body_is_not_copied() {
    let (channels, bytes) = (channels(1 << 20), Bytes::from(vec![1; 10_000]));
    let whole = read(Body::from(bytes.clone()), 10_000, &mut purse(&channels, Duration::ZERO)).await.unwrap();
    assert_eq!(whole.as_ptr(), bytes.as_ptr());
}

#[tokio::test]
async fn what_a_small_body_announces_is_charged_at_once_and_given_back_with_the_room() {
    let channels = channels(100_000);
    let mut pays = purse(&channels, Duration::ZERO);
    let whole = read(pieces(10, 3_000, Some(30_000)).0, 1 << 20, &mut pays).await.unwrap();
    assert_eq!((whole.len(), held(&channels)), (30_000, (30_000, 30_000)));
    drop(pays.into_room());
    assert_eq!(held(&channels), (0, 0));
}

#[tokio::test]
async fn what_is_not_announced_is_charged_piece_by_piece() {
    let channels = channels(100_000);
    let mut pays = purse(&channels, Duration::ZERO);
    let whole = read(pieces(10, 3_000, None).0, 1 << 20, &mut pays).await.unwrap();
    assert_eq!((whole.len(), held(&channels)), (30_000, (30_000, 30_000)));
    let mut more = purse(&channels, Duration::ZERO);
    let (body, asked) = pieces(50, 3_000, None);
    assert!(matches!(read(body, 1 << 20, &mut more).await, Err(Unread::Refused(TransportError::Full { .. }))));
    assert_eq!(asked.load(Ordering::Relaxed), 24, "the piece that found no room was the last");
}

#[tokio::test(start_paused = true)]
async fn a_body_without_room_waits_and_is_then_refused_without_being_read() {
    let channels = channels(10_000);
    let mut first = purse(&channels, Duration::ZERO);
    first.hold(6_000).await.unwrap();
    let (body, asked) = pieces(1, 5_000, Some(5_000));
    let started = Instant::now();
    let refused = read(body, 10_000, &mut purse(&channels, Duration::from_secs(3))).await;
    assert!(matches!(refused, Err(Unread::Refused(TransportError::Full { bytes: 5_000, .. }))));
    assert_eq!((started.elapsed(), asked.load(Ordering::Relaxed)), (Duration::from_secs(3), 0));
    assert_eq!(held(&channels), (6_000, 6_000));
}

#[tokio::test]
async fn bodies_that_wait_get_the_room_of_those_that_end_or_leave() {
    let channels = channels(10_000);
    let wait = Duration::from_secs(60);
    let mut first = purse(&channels, wait);
    first.hold(6_000).await.unwrap();
    let (mut large, mut small) = (purse(&channels, wait), purse(&channels, wait));
    let mut second = Box::pin(large.hold(9_000));
    let mut third = Box::pin(small.hold(4_100));
    assert!(futures::poll!(&mut second).is_pending());
    assert!(futures::poll!(&mut third).is_pending(), "there is no room either");
    drop(first);
    second.await.unwrap();
    assert!(futures::poll!(&mut third).is_pending());
    drop(large);
    third.await.unwrap();
    assert_eq!(held(&channels), (4_100, 4_100));
}

#[tokio::test]
async fn what_never_fits_is_refused_at_once() {
    let channels = channels(10_000);
    let refused = purse(&channels, Duration::from_secs(60)).hold(10_001).await;
    assert!(matches!(refused, Err(TransportError::TooLarge { name: "totalBytes", .. })));
}

#[tokio::test(start_paused = true)]
async fn a_body_of_which_nothing_comes_gives_its_room_back() {
    let channels = channels(10_000);
    let never = futures::stream::pending::<Result<Frame<Bytes>, std::convert::Infallible>>();
    let body = Body::boxed(http_body_util::StreamBody::new(never));
    let mut pays = purse(&channels, Duration::ZERO);
    pays.hold(5_000).await.unwrap();
    let refused = read(body, 10_000, &mut pays).await;
    assert!(matches!(refused, Err(Unread::Refused(TransportError::TooSlow { .. }))));
}

#[tokio::test]
async fn bytes_keep_their_room_until_the_last_piece_of_them_is_gone() {
    let channels = channels(100_000);
    let mut pays = purse(&channels, Duration::ZERO);
    pays.hold(50_000).await.unwrap();
    let mut bytes = with_room(Bytes::from(vec![1; 50_000]), pays.into_room());
    let piece = bytes.split_to(10);
    drop(bytes);
    assert_eq!(held(&channels), (50_000, 50_000));
    drop(piece);
    assert_eq!(held(&channels), (0, 0));
}
