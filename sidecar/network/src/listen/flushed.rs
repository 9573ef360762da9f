//! Answers that hyper has taken and not written. It lets go of a body as soon as the last piece lies in its buffer, whatever the
//! socket has taken of that. Here the body stays until the buffer was flushed: no sooner does it ask for its fate, and
//! one that never was written is lost.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use mesh_core::{Body, BoxError};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Settlement;

/// The answers in hyper's buffer, of one connection.
#[derive(Clone, Default)]
pub(super) struct Buffered(Arc<Mutex<Answers>>);

#[derive(Default)]
struct Answers(Vec<(Settlement, Body)>);

impl Buffered {
    /// The answer, with a body that comes here when it was taken to its end. One that nobody waits to settle needs no such care.
    pub(super) fn keeps(&self, answer: Response<Body>) -> Response<Body> {
        let Some(settlement) = answer.extensions().get::<Settlement>().cloned() else { return answer };
        answer.map(|body| Body::boxed(Kept { body, settlement, buffered: self.clone() }))
    }

    /// All that was taken is written.
    fn is_written(&self) {
        let written = std::mem::take(&mut self.0.lock().0);
        // With no lock held: let go at their end, they ask what becomes of them.
        drop(written);
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.0.iter().for_each(|(settlement, _)| settlement.lose());
    }
}

/// The body of an answer, as hyper has it.
struct Kept {
    body: Body,
    settlement: Settlement,
    buffered: Buffered,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            let body = std::mem::take(&mut self.body);
            self.buffered.0.lock().0.push((self.settlement.clone(), body));
        }
    }
}

impl HttpBody for Kept {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The bytes of a connection as hyper has them. It flushes when its buffer is empty.
pub(super) struct Flushed<S> {
    stream: S,
    buffered: Buffered,
}

impl<S> Flushed<S> {
    pub(super) fn new(stream: S, buffered: Buffered) -> Self {
        Self { stream, buffered }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Flushed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Flushed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.buffered.is_written();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::{body::Incoming, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        sync::mpsc::{UnboundedReceiver, unbounded_channel},
        time::timeout,
    };

    use super::*;

    const BYTES: usize = 100_000;

    /// A body that says when it is let go of what became of it.
    struct Told {
        piece: Option<Bytes>,
        settlement: Settlement,
        fate: tokio::sync::mpsc::UnboundedSender<&'static str>,
    }

    impl HttpBody for Told {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Ready(self.piece.take().map(Frame::data).map(Ok))
        }

        fn is_end_stream(&self) -> bool {
            self.piece.is_none()
        }
    }

    impl Drop for Told {
        fn drop(&mut self) {
            let is_lost = self.piece.is_some() || self.settlement.is_lost();
            self.fate.send(if is_lost { "lost" } else { "written" }).unwrap();
        }
    }

    /// A client that has asked, by a wire that holds a thousand bytes, and what becomes of the answer.
    async fn asked() -> (DuplexStream, UnboundedReceiver<&'static str>) {
        let ((mut client, server), (fate, fates)) = (duplex(1000), unbounded_channel());
        let buffered = Buffered::default();
        let stream = TokioIo::new(Flushed::new(server, buffered.clone()));
        let service = service_fn(move |_: http::Request<Incoming>| {
            let settlement = Settlement::default();
            let piece = Some(vec![b'x'; BYTES].into());
            let body = Body::boxed(Told { piece, settlement: settlement.clone(), fate: fate.clone() });
            let mut response = Response::new(body);
            response.extensions_mut().insert(settlement);
            let response = buffered.keeps(response);
            async move { Ok::<_, Infallible>(response) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(stream, service));
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        // Its first bytes are here, so hyper has taken all of it.
        assert_eq!(client.read_u8().await.unwrap(), b'H');
        (client, fates)
    }

    #[tokio::test]
    async fn a_body_asks_for_its_fate_when_the_last_byte_is_written_and_no_sooner() {
        let (mut client, mut fates) = asked().await;
        let pause = std::time::Duration::from_millis(50);
        assert!(timeout(pause, fates.recv()).await.is_err(), "most of it is in the buffer");
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert!(rest.len() > BYTES);
        assert_eq!(fates.recv().await, Some("written"));
    }

    #[tokio::test]
    async fn what_was_in_the_buffer_when_the_client_went_is_lost() {
        let (client, mut fates) = asked().await;
        drop(client);
        assert_eq!(fates.recv().await, Some("lost"));
    }
}
