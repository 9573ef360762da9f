//! The messages of a gRPC body: a flag, a length, and that many bytes, opened where they are compressed.
//!
//! Our limit decides, before anything is set aside for a message, and once more while it is decompressed (PTP section 6.4).
//! So does the room that there is: a message is charged ahead of what came of it, and what it is opened to piece by piece.

use std::{
    io::Read,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body::{Body as HttpBody, Frame, SizeHint};
use mesh_core::{Body, BoxError};
use tokio::task::yield_now;

use super::{
    encode::GRPC_PREFIX,
    intake::{self, Pace, Unread},
};
use crate::{TransportError, channels::Purse};

/// Decompressed in one go: some 100 µs. Others run in between, and each piece is paid for before it is kept.
const PIECE: usize = 64 * 1024;

/// What messages may be compressed with, as `grpc-encoding` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
}

/// The messages of a body.
pub(crate) struct Frames {
    body: Body,
    rest: Bytes,
    /// What stands before the next message, where it was looked at already.
    seen: Option<[u8; GRPC_PREFIX]>,
    compression: Compression,
    limit: u64,
}

/// What of a body was not read.
struct Rest {
    first: Bytes,
    body: Body,
}

/// Why a message cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FrameProblem {
    /// There was no room for it, or it kept its room from others for nothing.
    Refused(TransportError),
    /// Larger than the limit, compressed or not.
    TooLarge,
    /// It broke off.
    Broken(String),
    /// Marked as compressed, and the call named no way to open it.
    Unannounced,
    /// It cannot be opened.
    Codec(String),
}

impl Frames {
    pub(crate) fn new(body: Body, compression: Compression, limit: u64) -> Self {
        Self { body, rest: Bytes::new(), seen: None, compression, limit }
    }

    /// No messages at all.
    pub(crate) fn ended() -> Self {
        Self::new(Body::Empty, Compression::None, 0)
    }

    /// The next message; `None` where the body ends. Its room is taken before it is read, and as it is opened.
    pub(crate) async fn next(&mut self, purse: &mut Purse<'_>) -> Result<Option<Bytes>, FrameProblem> {
        let mut pace = Pace::default();
        let prefix = match self.seen.take() {
            Some(seen) => Some(seen),
            None => self.prefix(&mut pace).await?,
        };
        let Some(prefix) = prefix else { return Ok(None) };
        let [flag, length @ ..] = prefix;
        let length = u32::from_be_bytes(length);
        if u64::from(length) > self.limit {
            return Err(FrameProblem::TooLarge);
        }
        let message = self.take(length, purse, pace).await?;
        match (flag, self.compression) {
            (0, _) => Ok(Some(message)),
            (1, Compression::Gzip) => open(message, self.limit, purse).await.map(Some),
            _ => Err(FrameProblem::Unannounced),
        }
    }

    /// How long the next message is, where it is within the limit and not compressed. It stays the next one.
    pub(crate) async fn plain_length(&mut self) -> Result<Option<u64>, FrameProblem> {
        if self.seen.is_none() {
            self.seen = self.prefix(&mut Pace::default()).await?;
        }
        let Some([0, length @ ..]) = self.seen else { return Ok(None) };
        Ok(Some(u64::from(u32::from_be_bytes(length))).filter(|length| *length <= self.limit))
    }

    /// The next message, whose length was looked at, as it arrives; and whatever stands behind it.
    pub(crate) fn into_rest(self) -> Body {
        Body::boxed(Rest { first: self.rest, body: self.body })
    }

    /// Waits for the next message, or for the end; for `idle` at most, if that is bounded.
    pub(crate) async fn arrives(&mut self, idle: Option<Duration>) -> Result<(), FrameProblem> {
        if self.rest.is_empty() {
            self.more(&mut idle.map_or_else(Pace::unbounded, Pace::within)).await?;
        }
        Ok(())
    }

    async fn prefix(&mut self, pace: &mut Pace) -> Result<Option<[u8; GRPC_PREFIX]>, FrameProblem> {
        let mut prefix = [0; GRPC_PREFIX];
        let mut filled = 0;
        while filled < GRPC_PREFIX {
            if self.rest.is_empty() && !self.more(pace).await? {
                return if filled == 0 { Ok(None) } else { Err(cut()) };
            }
            let part = self.rest.split_to(self.rest.len().min(GRPC_PREFIX - filled));
            prefix[filled..filled + part.len()].copy_from_slice(&part);
            filled += part.len();
        }
        Ok(Some(prefix))
    }

    async fn take(&mut self, length: u32, purse: &mut Purse<'_>, mut pace: Pace) -> Result<Bytes, FrameProblem> {
        let (announced, length) = (u64::from(length), length as usize);
        intake::pay(purse, &mut pace, 0, announced).await?;
        if length > 0 && self.rest.is_empty() && !self.more(&mut pace).await? {
            return Err(cut());
        }
        if self.rest.len() >= length {
            intake::pay(purse, &mut pace, announced, announced).await?;
            return Ok(self.rest.split_to(length));
        }
        let mut whole = Vec::new();
        while whole.len() < length {
            if self.rest.is_empty() && !self.more(&mut pace).await? {
                return Err(cut());
            }
            let part = self.rest.split_to(self.rest.len().min(length - whole.len()));
            let paid = intake::pay(purse, &mut pace, (whole.len() + part.len()) as u64, announced).await?;
            intake::set_aside(&mut whole, paid, part.len());
            whole.extend_from_slice(&part);
        }
        Ok(whole.into())
    }

    async fn more(&mut self, pace: &mut Pace) -> Result<bool, FrameProblem> {
        match intake::next(&mut self.body, pace).await {
            Ok(Some(bytes)) => {
                self.rest = bytes;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(Unread::Broken(reason)) => Err(FrameProblem::Broken(reason)),
            Err(Unread::TooLarge) => Err(FrameProblem::TooLarge),
            Err(Unread::Refused(e)) => Err(FrameProblem::Refused(e)),
        }
    }
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.first)))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (first, rest) = (self.first.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(first));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(first)) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// Opens a compressed message piece by piece.
async fn open(message: Bytes, limit: u64, purse: &mut Purse<'_>) -> Result<Bytes, FrameProblem> {
    let mut reader = GzDecoder::new(&*message);
    let (mut opened, mut piece) = (Vec::new(), Vec::with_capacity(PIECE.min(message.len().saturating_mul(4))));
    loop {
        piece.clear();
        let more = reader.by_ref().take(PIECE as u64).read_to_end(&mut piece);
        if more.map_err(|e| FrameProblem::Codec(e.to_string()))? == 0 {
            break;
        }
        let size = (opened.len() + piece.len()) as u64;
        if size > limit {
            return Err(FrameProblem::TooLarge);
        }
        purse.hold(message.len() as u64 + size).await?;
        opened.extend_from_slice(&piece);
        if piece.len() == PIECE {
            yield_now().await;
        }
    }
    purse.shrink_to(opened.len() as u64);
    opened.shrink_to_fit();
    Ok(opened.into())
}

impl From<TransportError> for FrameProblem {
    fn from(e: TransportError) -> Self {
        Self::Refused(e)
    }
}

fn cut() -> FrameProblem {
    FrameProblem::Broken("the message is shorter than it says".into())
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use std::{io::Write, sync::Arc, time::Duration};

    use flate2::{Compression as Level, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;
    use crate::channels::testing::{channels, purse};

    fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[flag][..], &length, message].concat()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Reads the first message with plenty of room.
    async fn first(bytes: Vec<u8>, compression: Compression, limit: u64) -> Result<Option<Bytes>, FrameProblem> {
        let channels = channels(1 << 24);
        Frames::new(bytes.into(), compression, limit).next(&mut purse(&channels, Duration::ZERO)).await
    }

    #[tokio::test]
    async fn messages_come_out_as_they_went_in() {
        let both = [frame(0, b"one"), frame(1, &gzip(b"two")), frame(0, b"")].concat();
        let (mut frames, channels) = (Frames::new(both.into(), Compression::Gzip, 100), channels(1 << 20));
        for expected in [Some("one"), Some("two"), Some(""), None] {
            let message = frames.next(&mut purse(&channels, Duration::ZERO)).await.unwrap();
            assert_eq!(message, expected.map(|text| Bytes::from_static(text.as_bytes())));
        }
    }

    #[tokio::test]
    async fn a_message_that_was_looked_at_is_still_the_next_and_its_rest_is_all_of_it() {
        let channels = channels(1 << 20);
        let both = [frame(0, b"one"), frame(1, &gzip(b"two"))].concat();
        let mut frames = Frames::new(both.clone().into(), Compression::Gzip, 100);
        for (length, message) in [(Some(3), "one"), (None, "two")] {
            for _ in 0..2 {
                assert_eq!(frames.plain_length().await, Ok(length));
            }
            assert_eq!(
                frames.next(&mut purse(&channels, Duration::ZERO)).await,
                Ok(Some(Bytes::from_static(message.as_bytes())))
            );
        }
        assert_eq!(
            (frames.plain_length().await, frames.next(&mut purse(&channels, Duration::ZERO)).await),
            (Ok(None), Ok(None))
        );
        let mut looked_at = Frames::new(both.clone().into(), Compression::Gzip, 100);
        looked_at.plain_length().await.unwrap();
        let rest = looked_at.into_rest();
        assert_eq!((rest.size_hint().exact(), rest.is_end_stream()), (Some(both.len() as u64 - 5), false));
        assert!(http_body_util::BodyExt::collect(rest).await.unwrap().to_bytes() == both[5..]);
        let mut too_large = Frames::new(frame(0, &[0; 11]).into(), Compression::None, 10);
        assert_eq!(too_large.plain_length().await, Ok(None), "it is refused as ever");
    }

    #[tokio::test]
    async fn a_large_message_is_opened_in_pieces() {
        let text: Vec<u8> = (0..1_000_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let opened = first(frame(1, &gzip(&text)), Compression::Gzip, 1 << 23).await.unwrap().unwrap();
        assert!(opened == text);
    }

    #[tokio::test]
    async fn our_limit_decides_before_and_after_decompression() {
        assert_eq!(first(frame(0, &[0; 11]), Compression::None, 10).await, Err(FrameProblem::TooLarge));
        assert_eq!(first(frame(1, &gzip(&[0; 100_000])), Compression::Gzip, 1000).await, Err(FrameProblem::TooLarge));
        assert!(first(frame(1, &gzip(&[0; 1000])), Compression::Gzip, 1000).await.is_ok());
    }

    #[tokio::test]
    async fn a_bomb_is_charged_as_it_opens_and_ends_where_the_room_ends() {
        let channels = channels(1 << 20);
        let read = |limit| {
            let body = Body::from(frame(1, &gzip(&vec![0; 100 << 20])));
            let mut frames = Frames::new(body, Compression::Gzip, limit);
            let channels = Arc::clone(&channels);
            async move { frames.next(&mut purse(&channels, Duration::ZERO)).await }
        };
        assert_eq!(read(1 << 19).await, Err(FrameProblem::TooLarge));
        let larger_than_all = read(1 << 30).await;
        assert!(matches!(larger_than_all, Err(FrameProblem::Refused(TransportError::TooLarge { .. }))));
        let mut others = purse(&channels, Duration::ZERO);
        others.hold(1 << 19).await.unwrap();
        assert!(matches!(read(1 << 19).await, Err(FrameProblem::Refused(TransportError::Full { .. }))));
        assert_eq!(channels.levels().in_flight, 1 << 19, "what was opened so far is given back");
    }

    #[tokio::test]
    async fn an_opened_message_pays_for_itself_alone() {
        let (channels, text) = (channels(1 << 20), vec![b'x'; 200_000]);
        let mut pays = purse(&channels, Duration::ZERO);
        let opened = Frames::new(frame(1, &gzip(&text)).into(), Compression::Gzip, 1 << 20).next(&mut pays).await;
        assert_eq!((opened.unwrap().unwrap().len(), channels.levels().in_flight), (200_000, 200_000));
    }

    #[tokio::test]
    async fn cut_and_unannounced_messages_are_problems() {
        assert!(matches!(first(vec![0, 0, 0], Compression::None, 10).await, Err(FrameProblem::Broken(_))));
        assert!(matches!(first(vec![0, 0, 0, 0, 9, 1], Compression::None, 10).await, Err(FrameProblem::Broken(_))));
        assert_eq!(first(frame(1, b"x"), Compression::None, 10).await, Err(FrameProblem::Unannounced));
        assert!(matches!(first(frame(1, b"xyz"), Compression::Gzip, 10).await, Err(FrameProblem::Codec(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let channels = channels(1 << 20);
            let mut frames = Frames::new(bytes.into(), Compression::Gzip, 50);
            let read = async { while let Ok(Some(_)) = frames.next(&mut purse(&channels, Duration::ZERO)).await {} };
            prop_assert!(futures::FutureExt::now_or_never(read).is_some(), "a whole body never waits");
        }
    }
}
