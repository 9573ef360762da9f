//! A client that speaks HTTP/2 frame by frame, so that it can say what no library lets it say, when it wants.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::Plain;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const CANCEL: u32 = 8;

/// One connection.
pub(crate) struct Frames<IO = TcpStream> {
    pub(crate) io: IO,
}

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn ends(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

impl Frames {
    /// Connects; each stream of this end takes `window` bytes before it asks for more.
    pub(crate) async fn to(address: SocketAddr, window: u32) -> Self {
        Self::over(Plain::to(address).await.tcp, window).await
    }

    /// Ends by a reset.
    pub(crate) fn reset_connection(self) {
        socket2::SockRef::from(&self.io).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Frames<IO> {
    /// Says hello on a connection.
    pub(crate) async fn over(io: IO, window: u32) -> Self {
        let mut this = Self { io };
        this.io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let [a, b, c, d] = window.to_be_bytes();
        this.write(SETTINGS, 0, 0, &[0, 4, a, b, c, d]).await;
        // Its windows count from the acknowledgement on.
        while this.next().await.is_some_and(|frame| frame.kind != SETTINGS || frame.flags != ACK) {}
        this
    }

    pub(crate) async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&[a, b, c, kind, flags][..], &stream.to_be_bytes()].concat();
        self.io.write_all(&[&head, payload].concat()).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// A whole GET of a path of a few letters.
    pub(crate) async fn get(&mut self, stream: u32, path: &str) {
        self.head(stream, END_STREAM, path).await;
    }

    /// The head of a request; more may follow.
    pub(crate) async fn head(&mut self, stream: u32, flags: u8, path: &str) {
        // GET, http and the path as a literal, by the table of RFC 7541 appendix A; then `:authority localhost`.
        let mut block = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
        block.extend_from_slice(path.as_bytes());
        block.extend_from_slice(b"\x01\x09localhost");
        self.write(HEADERS, END_HEADERS | flags, stream, &block).await;
    }

    pub(crate) async fn reset(&mut self, stream: u32, reason: u32) {
        self.write(RST_STREAM, 0, stream, &reason.to_be_bytes()).await;
    }

    pub(crate) async fn open_window(&mut self, stream: u32, bytes: u32) {
        self.write(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes()).await;
    }

    /// The next frame; `None` at the end. Settings and pings are acknowledged.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let frame = timeout(Duration::from_secs(60), self.read()).await.expect("a frame or an end")?;
        if matches!(frame.kind, SETTINGS | PING) && frame.flags & ACK == 0 {
            let payload = if frame.kind == PING { &frame.payload[..] } else { &[] };
            self.write(frame.kind, ACK, 0, payload).await;
        }
        Some(frame)
    }

    /// Reads on until a frame is such a one.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection is still open");
            if wanted(&frame) {
                return frame;
            }
        }
    }

    async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.io.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }
}
