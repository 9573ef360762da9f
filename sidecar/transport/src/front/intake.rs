//! Bodies as they are taken in: bounded, paid for before they are held, and without a copy where they arrive in one piece.
//!
//! A body whose length is announced has its room at once, or is not read at all; any other pays piece by piece.

use std::{future::poll_fn, pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use http_body::Body as _;
use mesh_core::Body;
use tokio::time::timeout;

use crate::{
    TransportError,
    channels::{Purse, Room},
};

/// A body of which nothing comes for so long is given up: it holds room that others wait for. Twice the 60 s after which
/// middle boxes cut idle streams.
const STALLED: Duration = Duration::from_secs(120);

/// Why a body was not taken in.
#[derive(Debug)]
pub(crate) enum Unread {
    /// Larger than the limit.
    TooLarge,
    /// It broke off; the text says how.
    Broken(String),
    /// There was no room for it.
    NoRoom(TransportError),
}

/// Takes in a body of at most `limit` bytes. One that announces more, or for which there is no room, is not read at all.
pub(crate) async fn read(body: Body, limit: u64, purse: &mut Purse<'_>) -> Result<Bytes, Unread> {
    take(body, limit, Some(purse)).await
}

/// Takes in a body that says little: at most `limit` bytes, which are few, and not charged.
pub(crate) async fn read_short(body: Body, limit: u64) -> Result<Bytes, Unread> {
    take(body, limit, None).await
}

async fn take(mut body: Body, limit: u64, mut purse: Option<&mut Purse<'_>>) -> Result<Bytes, Unread> {
    let announced = body.size_hint().lower();
    if announced > limit {
        return Err(Unread::TooLarge);
    }
    if let Some(purse) = &mut purse {
        purse.hold(announced).await?;
    }
    let Some(first) = next(&mut body).await? else { return Ok(Bytes::new()) };
    pay(&mut purse, 0, &first, limit).await?;
    let Some(second) = next(&mut body).await? else { return Ok(first) };
    // What is announced is paid for, so all of it may be set aside.
    let most = usize::try_from(announced).unwrap_or(0).max(first.len() + second.len());
    let mut whole = BytesMut::with_capacity(most);
    whole.extend_from_slice(&first);
    drop(first);
    let mut piece = Some(second);
    while let Some(bytes) = piece {
        pay(&mut purse, whole.len(), &bytes, limit).await?;
        whole.extend_from_slice(&bytes);
        drop(bytes);
        piece = next(&mut body).await?;
    }
    Ok(whole.freeze())
}

/// Bytes that hold their room until the last of them is gone, in however many pieces they are passed on.
pub(crate) fn with_room(bytes: Bytes, room: Option<Room>) -> Bytes {
    match room {
        Some(room) => Bytes::from_owner(Roomed { bytes, _room: room }),
        None => bytes,
    }
}

struct Roomed {
    bytes: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Roomed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

async fn pay(purse: &mut Option<&mut Purse<'_>>, before: usize, piece: &Bytes, limit: u64) -> Result<(), Unread> {
    let size = (before + piece.len()) as u64;
    match purse {
        _ if size > limit => Err(Unread::TooLarge),
        Some(purse) => Ok(purse.hold(size).await?),
        None => Ok(()),
    }
}

/// The next piece of data; trailers are passed over.
pub(crate) async fn next(body: &mut Body) -> Result<Option<Bytes>, Unread> {
    loop {
        let mut arriving = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
        let frame = match (&mut arriving).now_or_never() {
            Some(frame) => frame,
            None => timeout(STALLED, arriving)
                .await
                .map_err(|_| Unread::Broken(format!("nothing of it came for {} s", STALLED.as_secs())))?,
        };
        let Some(frame) = frame else { return Ok(None) };
        if let Ok(data) = frame.map_err(|e| Unread::Broken(e.to_string()))?.into_data() {
            return Ok(Some(data));
        }
    }
}

impl From<TransportError> for Unread {
    fn from(e: TransportError) -> Self {
        Self::NoRoom(e)
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
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

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
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
    async fn what_is_announced_is_charged_at_once_and_given_back_with_the_room() {
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
        assert!(matches!(read(body, 1 << 20, &mut more).await, Err(Unread::NoRoom(TransportError::Full { .. }))));
        assert_eq!(asked.load(Ordering::Relaxed), 24, "the piece that found no room was the last");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_room_waits_and_is_then_refused_without_being_read() {
        let channels = channels(10_000);
        let mut first = purse(&channels, Duration::ZERO);
        first.hold(6_000).await.unwrap();
        let (body, asked) = pieces(1, 5_000, Some(5_000));
        let started = tokio::time::Instant::now();
        let refused = read(body, 10_000, &mut purse(&channels, Duration::from_secs(3))).await;
        assert!(matches!(refused, Err(Unread::NoRoom(TransportError::Full { bytes: 5_000, .. }))));
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
        assert!(matches!(read(body, 10_000, &mut pays).await, Err(Unread::Broken(_))));
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
}
