//! One TCP connection: what the other end sends goes into a stream that somebody in this process reads, and the other way.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use smoltcp::{
    iface::SocketHandle,
    socket::tcp::{Socket, State},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    time::Instant,
};

/// Bytes between the connection and who serves it.
const STREAM: usize = 16 * 1024;

/// A connection.
pub(super) struct Connection<O> {
    pub(super) handle: SocketHandle,
    /// Whose it is, to the one who carries the packets.
    pub(super) owner: O,
    /// Whether it has one of its owner's places: not once it is over, or has to give way.
    pub(super) has_place: bool,
    /// When bytes of it moved last, or when it began.
    pub(super) moved: Instant,
    ours: DuplexStream,
    /// For whoever serves it, until it is established.
    theirs: Option<DuplexStream>,
    has_read_all: bool,
    has_written_all: bool,
}

impl<O> Connection<O> {
    pub(super) fn new(handle: SocketHandle, owner: O) -> Self {
        let (ours, theirs) = duplex(STREAM);
        Self {
            handle,
            owner,
            has_place: true,
            moved: Instant::now(),
            ours,
            theirs: Some(theirs),
            has_read_all: false,
            has_written_all: false,
        }
    }

    /// The other end of its stream, once the other end has shown that it is there: whoever forges or floods opens nothing.
    pub(super) fn established(&mut self, socket: &Socket<'_>) -> Option<DuplexStream> {
        match socket.state() {
            State::Listen | State::SynSent | State::SynReceived | State::Closed => None,
            _ => self.theirs.take(),
        }
    }

    /// Moves what can be moved. Answers whether anything was.
    pub(super) fn pump(&mut self, socket: &mut Socket<'_>, cx: &mut Context<'_>) -> bool {
        if self.theirs.is_some() {
            return false;
        }
        match self.inward(socket, cx).and_then(|inward| Ok(inward | self.outward(socket, cx)?)) {
            Ok(moved) => moved,
            Err(_) => {
                // Whoever served it is gone.
                socket.abort();
                true
            }
        }
    }

    fn inward(&mut self, socket: &mut Socket<'_>, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut moved = false;
        while socket.can_recv() {
            let ours = &mut self.ours;
            let written = socket.recv(|bytes| match Pin::new(ours).poll_write(cx, bytes) {
                Poll::Ready(Ok(size)) => (size, Poll::Ready(Ok(()))),
                Poll::Ready(Err(e)) => (0, Poll::Ready(Err(e))),
                Poll::Pending => (0, Poll::Pending),
            });
            match written {
                Ok(Poll::Ready(written)) => written?,
                Ok(Poll::Pending) | Err(_) => return Ok(moved),
            }
            moved = true;
        }
        if !self.has_read_all && !socket.may_recv() {
            self.has_read_all = true;
            let _ = Pin::new(&mut self.ours).poll_shutdown(cx)?;
        }
        Ok(moved)
    }

    fn outward(&mut self, socket: &mut Socket<'_>, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut moved = false;
        while !self.has_written_all && socket.can_send() {
            let ours = &mut self.ours;
            let read = socket.send(|room| {
                let mut room = ReadBuf::new(room);
                let read = Pin::new(ours).poll_read(cx, &mut room);
                let size = room.filled().len();
                (size, read.map_ok(|()| size))
            });
            match read {
                Ok(Poll::Ready(size)) => {
                    moved = true;
                    if size? == 0 {
                        self.has_written_all = true;
                        socket.close();
                    }
                }
                Ok(Poll::Pending) | Err(_) => return Ok(moved),
            }
        }
        Ok(moved)
    }
}
