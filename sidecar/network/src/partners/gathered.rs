//! Writes once in a turn of the runtime: what a connection of HTTP/2 has to send when it is asked for its first bytes is a request's
//! head, and its body comes from another task, which has room for it only after that. Both travel in one record when the write
//! waits for the tasks that are ready; whoever is called wakes once and has all that it needs.
//!
//! Keeps no bytes: the crate `h2` holds what was not taken, and adds to it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// More than a head has: a body is on its way already, and nothing is to be waited for.
const SMALL: usize = 4 * 1024;

/// A stream whose small writes wait for the end of the turn.
pub(super) struct Gathered<S> {
    stream: S,
    has_waited: bool,
}

impl<S> Gathered<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, has_waited: false }
    }

    /// Ready when so many bytes may be written now. A write that the stream does not take waits for no further turn.
    fn poll_turn(&mut self, bytes: usize, cx: &Context<'_>) -> Poll<()> {
        if bytes >= SMALL || self.has_waited {
            return Poll::Ready(());
        }
        self.has_waited = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn written(&mut self, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.has_waited &= done.is_pending();
        done
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_turn(bytes.len(), cx));
        let done = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_turn(pieces.iter().map(|piece| piece.len()).sum(), cx));
        let done = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.written(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::{BodyExt as _, Full};
    use hyper::client::conn::http2;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_small_write_waits_for_one_turn_and_a_large_one_for_none() {
        let (near, mut far) = duplex(1 << 16);
        let mut gathered = Gathered::new(near);
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut write = |bytes: &[u8]| Pin::new(&mut gathered).poll_write(&mut context, bytes).is_ready();
        assert_eq!(
            [write(b"head"), write(b"headbody"), write(b"head"), write(&[0; SMALL])],
            [false, true, false, true]
        );
        drop(gathered);
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 8 + SMALL);
    }

    /// Counts what is written, and passes it on.
    struct Counted<S>(S, tokio::sync::mpsc::UnboundedSender<usize>);

    impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let done = Pin::new(&mut self.0).poll_write(cx, bytes);
            if let Poll::Ready(Ok(written)) = done {
                let _ = self.1.send(written);
            }
            done
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    /// What the crates do without it is two writes: the day when that changes, this file can go.
    #[tokio::test]
    async fn head_and_body_of_a_small_call_leave_in_one_write() {
        let (near, far) = duplex(1 << 16);
        let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async {
            Ok::<_, hyper::Error>(Response::new(Full::new(request.into_body().collect().await?.to_bytes())))
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(server.serve_connection(TokioIo::new(far), service));
        let (count, mut counted) = tokio::sync::mpsc::unbounded_channel();
        let io = TokioIo::new(Gathered::new(Counted(near, count)));
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new()).handshake(io).await.unwrap();
        tokio::spawn(connection);
        let mut writes = Vec::new();
        for _ in 0..3 {
            let request = Request::post("http://a/b").body(Full::new(Bytes::from_static(b"a small body"))).unwrap();
            while counted.try_recv().is_ok() {}
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "a small body");
            writes = std::iter::from_fn(|| counted.try_recv().ok()).collect();
        }
        assert_eq!(writes.len(), 1, "{writes:?}");
    }
}
