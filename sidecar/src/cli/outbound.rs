//! The answer of a pop: `TransportOutbound` (PTP section 6.1), whose payload is written while it arrives.

use bytes::{Buf, Bytes};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use mesh_core::Code;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::progress::Progress;
use crate::exit::Exit;

/// Metadata, code and text of an answer are short; a peer that sends more is none of ours.
const LONGEST_FIELD: u64 = 1 << 20;

/// What an answer said beside its payload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outbound {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// The length of the payload; `None` without one. Protobuf cannot tell an empty message from none.
    pub(crate) payload: Option<u64>,
}

/// Reads an answer and writes its payload to `sink`.
pub(crate) async fn read<B>(
    body: B,
    sink: &mut (impl AsyncWrite + Unpin),
    progress: &mut Progress,
) -> Result<Outbound, Exit>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut reader = Reader { body, buffer: Bytes::new() };
    let (mut code, mut message, mut payload) = (None, String::new(), None);
    while let Some(field) = reader.field().await? {
        match field {
            Field::Bytes(2, length) => {
                progress.begins(length);
                reader.copy(length, sink, |bytes| progress.moved(bytes)).await?;
                payload = Some(length);
            }
            Field::Bytes(3, length) => code = Code::parse(&reader.text(length).await?),
            Field::Bytes(4, length) => message = reader.text(length).await?,
            Field::Bytes(_, length) => reader.text(length).await.map(drop)?,
            Field::Number => {}
        }
    }
    sink.flush().await.map_err(|e| Exit::local("the message cannot be written", e))?;
    // Proto3 leaves defaults out, but success is a text: an answer without a code is no answer.
    let code = code.ok_or_else(|| unreadable("it has no code"))?;
    Ok(Outbound { code, message, payload })
}

enum Field {
    Bytes(u64, u64),
    Number,
}

struct Reader<B> {
    body: B,
    buffer: Bytes,
}

impl<B> Reader<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// Whether there is at least one byte more.
    async fn more(&mut self) -> Result<bool, Exit> {
        while self.buffer.is_empty() {
            let Some(frame) = self.body.frame().await else { return Ok(false) };
            let frame = frame.map_err(|e| Exit::Unreachable(format!("the answer broke off: {e}")))?;
            self.buffer = frame.into_data().unwrap_or_default();
        }
        Ok(true)
    }

    async fn field(&mut self) -> Result<Option<Field>, Exit> {
        if !self.more().await? {
            return Ok(None);
        }
        let key = self.varint().await?;
        Ok(Some(match key & 7 {
            0 => self.varint().await.map(|_| Field::Number)?,
            2 => Field::Bytes(key >> 3, self.varint().await?),
            other => return Err(unreadable(&format!("wire type {other}"))),
        }))
    }

    async fn varint(&mut self) -> Result<u64, Exit> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            if !self.more().await? {
                return Err(unreadable("it is cut short"));
            }
            let byte = self.buffer.get_u8();
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(unreadable("a number has no end"))
    }

    async fn text(&mut self, length: u64) -> Result<String, Exit> {
        if length > LONGEST_FIELD {
            return Err(unreadable("a field is too long"));
        }
        let mut bytes = Vec::new();
        self.copy(length, &mut bytes, |_| ()).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn copy(
        &mut self,
        mut left: u64,
        sink: &mut (impl AsyncWrite + Unpin),
        mut copied: impl FnMut(u64),
    ) -> Result<(), Exit> {
        while left > 0 {
            if !self.more().await? {
                return Err(unreadable("it is cut short"));
            }
            let here = usize::try_from(left).map_or(self.buffer.len(), |left| left.min(self.buffer.len()));
            let chunk = self.buffer.split_to(here);
            sink.write_all(&chunk).await.map_err(|e| Exit::local("the message cannot be written", e))?;
            left -= here as u64;
            copied(here as u64);
        }
        Ok(())
    }
}

fn unreadable(reason: &str) -> Exit {
    Exit::Unreachable(format!("the answer is none of PTP/1.0: {reason}"))
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use prost::Message as _;
    use proto::ptp::TransportOutbound;

    use super::*;

    async fn read_in_pieces(bytes: &[u8], piece: usize) -> Result<(Outbound, Vec<u8>), Exit> {
        let frames: Vec<Result<_, std::io::Error>> =
            bytes.chunks(piece).map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk)))).collect();
        let mut sink = Vec::new();
        let outbound = read(StreamBody::new(stream::iter(frames)), &mut sink, &mut Progress::none()).await?;
        Ok((outbound, sink))
    }

    #[tokio::test]
    async fn an_answer_is_read_however_it_is_cut() {
        let answer = TransportOutbound {
            metadata: [("k".to_owned(), "v".to_owned())].into(),
            payload: vec![7; 1000].into(),
            code: "E0000000000".into(),
            message: "请求成功".into(),
        };
        let bytes = answer.encode_to_vec();
        for piece in [1, 2, 3, 500, 5000] {
            let (outbound, payload) = read_in_pieces(&bytes, piece).await.unwrap();
            assert_eq!(outbound, Outbound { code: Code::SUCCESS, message: "请求成功".into(), payload: Some(1000) });
            assert!(payload == [7; 1000], "in pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_short_or_no_answer_is_refused() {
        let answer =
            TransportOutbound { payload: vec![7; 10].into(), code: "E0000000000".into(), ..Default::default() };
        let bytes = answer.encode_to_vec();
        assert!(read_in_pieces(&bytes[..bytes.len() - 3], 4).await.is_err());
        assert!(read_in_pieces(b"<html>", 4).await.is_err());
        assert!(read_in_pieces(b"", 4).await.is_err());
    }
}
