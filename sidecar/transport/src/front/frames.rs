//! The messages of a gRPC body: a flag, a length, and that many bytes, opened where they are compressed.
//!
//! Our limit decides, before anything is set aside for a message, and once more while it is decompressed (PTP section 6.4).

use std::io::Read;

use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use mesh_core::Body;

use super::{
    encode::GRPC_PREFIX,
    intake::{self, Unread},
};

/// What is set aside for a message on its announcement alone.
const ON_TRUST: usize = 1 << 20;

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
    compression: Compression,
    limit: u64,
}

/// Why a message cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FrameProblem {
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
        Self { body, rest: Bytes::new(), compression, limit }
    }

    /// No messages at all.
    pub(crate) fn ended() -> Self {
        Self::new(Body::Empty, Compression::None, 0)
    }

    /// The next message; `None` where the body ends.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FrameProblem> {
        let Some(prefix) = self.prefix().await? else { return Ok(None) };
        let [flag, length @ ..] = prefix;
        let length = u32::from_be_bytes(length);
        if u64::from(length) > self.limit {
            return Err(FrameProblem::TooLarge);
        }
        let message = self.take(length as usize).await?;
        match (flag, self.compression) {
            (0, _) => Ok(Some(message)),
            (1, Compression::Gzip) => self.open(&message).map(Some),
            _ => Err(FrameProblem::Unannounced),
        }
    }

    async fn prefix(&mut self) -> Result<Option<[u8; GRPC_PREFIX]>, FrameProblem> {
        let mut prefix = [0; GRPC_PREFIX];
        let mut filled = 0;
        while filled < GRPC_PREFIX {
            if self.rest.is_empty() && !self.more().await? {
                return if filled == 0 { Ok(None) } else { Err(cut()) };
            }
            let part = self.rest.split_to(self.rest.len().min(GRPC_PREFIX - filled));
            prefix[filled..filled + part.len()].copy_from_slice(&part);
            filled += part.len();
        }
        Ok(Some(prefix))
    }

    async fn take(&mut self, length: usize) -> Result<Bytes, FrameProblem> {
        if length > 0 && self.rest.is_empty() && !self.more().await? {
            return Err(cut());
        }
        if self.rest.len() >= length {
            return Ok(self.rest.split_to(length));
        }
        let mut whole = BytesMut::with_capacity(length.min(ON_TRUST));
        while whole.len() < length {
            if self.rest.is_empty() && !self.more().await? {
                return Err(cut());
            }
            let part = self.rest.split_to(self.rest.len().min(length - whole.len()));
            whole.extend_from_slice(&part);
        }
        Ok(whole.freeze())
    }

    async fn more(&mut self) -> Result<bool, FrameProblem> {
        match intake::next(&mut self.body).await {
            Ok(Some(bytes)) => {
                self.rest = bytes;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(Unread::Broken(reason)) => Err(FrameProblem::Broken(reason)),
            Err(Unread::TooLarge) => Err(FrameProblem::TooLarge),
        }
    }

    fn open(&self, message: &[u8]) -> Result<Bytes, FrameProblem> {
        let mut opened = Vec::new();
        let mut reader = GzDecoder::new(message).take(self.limit.saturating_add(1));
        reader.read_to_end(&mut opened).map_err(|e| FrameProblem::Codec(e.to_string()))?;
        if opened.len() as u64 > self.limit { Err(FrameProblem::TooLarge) } else { Ok(opened.into()) }
    }
}

fn cut() -> FrameProblem {
    FrameProblem::Broken("the message is shorter than it says".into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression as Level, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[flag][..], &length, message].concat()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn first(bytes: Vec<u8>, compression: Compression, limit: u64) -> Result<Option<Bytes>, FrameProblem> {
        Frames::new(bytes.into(), compression, limit).next().await
    }

    #[tokio::test]
    async fn messages_come_out_as_they_went_in() {
        let both = [frame(0, b"one"), frame(1, &gzip(b"two")), frame(0, b"")].concat();
        let mut frames = Frames::new(both.into(), Compression::Gzip, 100);
        for expected in [Some("one"), Some("two"), Some(""), None] {
            assert_eq!(frames.next().await.unwrap(), expected.map(|text| Bytes::from_static(text.as_bytes())));
        }
    }

    #[tokio::test]
    async fn our_limit_decides_before_and_after_decompression() {
        assert_eq!(first(frame(0, &[0; 11]), Compression::None, 10).await, Err(FrameProblem::TooLarge));
        assert_eq!(first(frame(1, &gzip(&[0; 100_000])), Compression::Gzip, 1000).await, Err(FrameProblem::TooLarge));
        assert!(first(frame(1, &gzip(&[0; 1000])), Compression::Gzip, 1000).await.is_ok());
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
            let mut frames = Frames::new(bytes.into(), Compression::Gzip, 50);
            let read = async { while let Ok(Some(_)) = frames.next().await {} };
            prop_assert!(futures::FutureExt::now_or_never(read).is_some(), "a whole body never waits");
        }
    }
}
