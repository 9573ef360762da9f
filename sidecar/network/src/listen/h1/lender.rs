//! Who has the stream of a connection while a request is served. Where its body did not come with its head, the body reads from the
//! stream and the answer is written to it, each when it can: a service may answer before it has read everything.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{BufMut as _, BytesMut};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    time::timeout,
};
use tokio_util::io::poll_read_buf;

use super::{answer::After, reader::Reader};
use crate::listen::{unread, wire::Stream};

/// Who has the stream.
pub(super) enum Holder {
    /// The connection: the body is read, or there is none.
    Connection(Stream),
    /// The connection and the body that arrives.
    Both(Arc<Lender>),
    /// Somebody who took it for good.
    Nobody,
}

/// A stream that a body is read from.
pub(super) struct Lender(Mutex<Lent>);

struct Lent {
    /// `None`: the connection took it back.
    stream: Option<Stream>,
    /// How much of the body is still to be read.
    left: u64,
    /// Whether there is a body to read it.
    is_wanted: bool,
    /// Who writes the answer.
    connection: Option<Waker>,
}

impl Lender {
    /// `left` bytes of a body are to be read from `stream`.
    pub(super) fn new(stream: Stream, left: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Lent { stream: Some(stream), left, is_wanted: true, connection: None })))
    }

    /// Reads up to `most` bytes of the body, and not one of what follows it.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, into: &mut BytesMut, most: usize) -> Poll<io::Result<usize>> {
        let mut lent = self.0.lock();
        let most = usize::try_from(lent.left).unwrap_or(usize::MAX).min(most);
        let Some(stream) = &mut lent.stream else { return Poll::Ready(Ok(0)) };
        let read = poll_read_buf(Pin::new(stream), cx, &mut into.limit(most));
        if let Poll::Ready(Ok(read)) = read {
            lent.left -= read as u64;
            if lent.left == 0 {
                // From here on somebody else sees to it that the client is still there.
                lent.wake_unless(cx);
            }
        }
        read
    }

    /// Nobody reads the rest.
    pub(super) fn leave(&self) {
        let mut lent = self.0.lock();
        lent.is_wanted = false;
        if let Some(connection) = lent.connection.take() {
            connection.wake();
        }
    }
}

impl Lent {
    fn wake_unless(&mut self, cx: &Context<'_>) {
        if let Some(connection) = self.connection.take_if(|connection| !connection.will_wake(cx.waker())) {
            connection.wake();
        }
    }

    fn register(&mut self, cx: &Context<'_>) {
        match &mut self.connection {
            Some(connection) => connection.clone_from(cx.waker()),
            None => self.connection = Some(cx.waker().clone()),
        }
    }

    /// The stream, if nothing more of the body is to be read from it.
    fn take_read(&mut self) -> Option<Stream> {
        self.stream.take_if(|_| self.left == 0)
    }
}

impl Holder {
    /// The stream, where nobody else has it.
    pub(super) fn own(&mut self) -> io::Result<&mut Stream> {
        match self {
            Self::Connection(stream) => Ok(stream),
            Self::Both(_) | Self::Nobody => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Takes the stream for good, or to lend it.
    pub(super) fn take(&mut self) -> io::Result<Stream> {
        match std::mem::replace(self, Self::Nobody) {
            Self::Connection(stream) => Ok(stream),
            Self::Both(_) | Self::Nobody => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Does something to the stream that does not wait.
    pub(super) fn with<T>(&mut self, act: impl FnOnce(&mut Stream) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match self {
            Self::Both(lender) => match &mut lender.0.lock().stream {
                Some(stream) => act(stream),
                None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            },
            Self::Connection(_) | Self::Nobody => act(self.own()?),
        }
    }

    /// Whether bytes can go from a pipe to its socket.
    pub(super) fn takes_pipes(&self) -> bool {
        match self {
            Self::Connection(stream) => stream.takes_pipes(),
            Self::Both(lender) => lender.0.lock().stream.as_ref().is_some_and(Stream::takes_pipes),
            Self::Nobody => false,
        }
    }

    /// Ready when the client has gone. That can be seen once all of its request was read.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>, reader: &mut Reader) -> Poll<io::Result<()>> {
        if let Self::Both(lender) = self {
            let mut lent = lender.0.lock();
            let Some(stream) = lent.take_read() else {
                lent.register(cx);
                return Poll::Pending;
            };
            drop(lent);
            *self = Self::Connection(stream);
        }
        self.with(|stream| reader.poll_end(cx, stream))
    }

    /// What an answer that is made now can say of the connection: a body that nobody wants and that is too long to be read for
    /// nobody cannot be told from the next request.
    pub(super) fn after(&self) -> After {
        let Self::Both(lender) = self else { return After::Goes };
        let lent = lender.0.lock();
        if !lent.is_wanted && lent.left > unread::MOST { After::Closes } else { After::Goes }
    }

    /// Whether the stream is still lent.
    pub(super) fn is_lent(&self) -> bool {
        matches!(self, Self::Both(_))
    }

    /// Has the stream back behind an answer, as soon as nothing of the body is left or nobody wants it, a little being read for
    /// nobody. Says whether it can bring another request.
    pub(super) async fn back(&mut self) -> io::Result<After> {
        let Self::Both(lender) = self else { return Ok(After::Goes) };
        let (stream, left) = poll_fn(|cx| {
            let mut lent = lender.0.lock();
            if lent.left > 0 && lent.is_wanted {
                lent.register(cx);
                return Poll::Pending;
            }
            Poll::Ready(lent.stream.take().map(|stream| (stream, lent.left)))
        })
        .await
        .ok_or(io::ErrorKind::NotConnected)?;
        *self = Self::Connection(stream);
        if left > unread::MOST {
            return Ok(After::Closes);
        }
        timeout(unread::WAIT, throw_away(self.own()?, left)).await.unwrap_or(Ok(After::Closes))
    }
}

/// Reads what nobody wants.
async fn throw_away(stream: &mut Stream, mut left: u64) -> io::Result<After> {
    poll_fn(|cx| {
        let mut bin = [0; 4096];
        while left > 0 {
            let some = usize::try_from(left).unwrap_or(bin.len()).min(bin.len());
            let mut buf = ReadBuf::new(bin.get_mut(..some).unwrap_or_default());
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
            match buf.filled().len() {
                0 => return Poll::Ready(Ok(After::Closes)),
                read => left -= read as u64,
            }
        }
        Poll::Ready(Ok(After::Goes))
    })
    .await
}
