//! The body of a push: `PushInbound` (PTP section 6.1) around a file that is read while it is sent.

use std::{io, path::Path};

use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use mesh_core::Body;
use prost::encoding::{WireType, encode_key, encode_varint};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt as _},
};

use super::progress::Progress;
use crate::exit::Exit;

/// Large enough that the system calls do not show, small enough not to.
const CHUNK: usize = 256 << 10;

/// A body and how long it is.
pub(crate) struct Sized {
    pub(crate) body: Body,
    pub(crate) length: u64,
    /// The length of the message in it.
    pub(crate) payload: u64,
}

/// The push of what `file` holds; `-` or nothing is standard input, which is read first: its length is not known.
pub(crate) async fn push(topic: &str, file: Option<&Path>, progress: Progress) -> Result<Sized, Exit> {
    match file.filter(|path| *path != Path::new("-")) {
        None => {
            let mut bytes = Vec::new();
            tokio::io::stdin().read_to_end(&mut bytes).await.map_err(|e| Exit::local("standard input", e))?;
            let length = bytes.len() as u64;
            Ok(around(topic, length, chunks(io::Cursor::new(bytes), length), progress))
        }
        Some(path) => {
            let failed = |e| Exit::local(path.display(), e);
            let file = File::open(path).await.map_err(failed)?;
            let length = file.metadata().await.map_err(failed)?.len();
            Ok(around(topic, length, chunks(file, length), progress))
        }
    }
}

fn around(
    topic: &str,
    payload: u64,
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    mut progress: Progress,
) -> Sized {
    progress.begins(payload);
    let chunks = chunks.inspect(move |chunk| progress.moved(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64)));
    let mut head = BytesMut::new();
    encode_key(1, WireType::LengthDelimited, &mut head);
    encode_varint(topic.len() as u64, &mut head);
    head.put_slice(topic.as_bytes());
    encode_key(2, WireType::LengthDelimited, &mut head);
    encode_varint(payload, &mut head);
    let length = head.len() as u64 + payload;
    let frames = stream::iter([Ok(head.freeze())]).chain(chunks).map(|chunk| chunk.map(Frame::data));
    Sized { body: Body::boxed(StreamBody::new(frames)), length, payload }
}

/// Exactly `length` bytes of `file`: what grows meanwhile is cut, what shrinks is an error.
fn chunks(file: impl AsyncRead + Send + Unpin + 'static, length: u64) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut chunk = BytesMut::with_capacity(usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK)));
        let read = (&mut file).take(left).read_buf(&mut chunk).await?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was sent"));
        }
        Ok(Some((chunk.freeze(), (file, left - read as u64))))
    })
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use prost::Message as _;
    use proto::ptp::PushInbound;

    use super::*;
    use crate::args::Show;

    #[tokio::test]
    async fn a_push_is_what_every_client_sends() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..CHUNK + 17).map(|i| (i % 251) as u8).collect();
        std::fs::write(file.path(), &content).unwrap();
        let sized = push("topicA", Some(file.path()), Progress::new(Show::Never)).await.unwrap();
        let bytes = sized.body.collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len() as u64, sized.length);
        let inbound = PushInbound::decode(bytes).unwrap();
        assert_eq!((inbound.topic.as_str(), inbound.payload.len()), ("topicA", content.len()));
        assert!(inbound.payload == content);
    }

    #[tokio::test]
    async fn a_file_that_shrinks_is_an_error_and_not_a_short_message() {
        let taken: Vec<_> = chunks(&b"abc"[..], 5).collect().await;
        assert!(taken.last().unwrap().is_err());
    }
}
