//! One gRPC call that goes on: messages up, and the answers to them down, one at a time.

use std::{io::Write as _, net::SocketAddr};

use anyhow::{Context, Result, ensure};

use super::grpc::{
    ACK, DATA, END_HEADERS, END_STREAM, FRAME, Frame, Grpc, HEADERS, SETTINGS, WINDOW, WINDOW_UPDATE, block, frame,
    framed,
};
use crate::load::Exchange;

/// The call's stream: the first of its connection.
const STREAM: u32 = 1;
/// RFC 9113 section 6.5.2.
const INITIAL_WINDOW_SIZE: u16 = 4;
/// Flag and length before each message.
const PREFIX: usize = 5;

/// A connection with one call.
pub(crate) struct Conversation {
    connection: Grpc,
    message: Vec<u8>,
    /// An answer has at least so many bytes.
    least: usize,
    /// What the server lets us send on the stream, and what it let every stream at its beginning.
    credit: i64,
    initial: i64,
    /// What we have taken on the stream since we last gave credit.
    taken: u32,
    came: Vec<u8>,
}

impl Conversation {
    /// Connects and begins the call.
    pub(crate) fn open(to: SocketAddr, path: &str, message: &[u8], least: usize) -> Result<Self> {
        let mut connection = Grpc::open(to, "", &[])?;
        let mut out = Vec::new();
        frame(&mut out, HEADERS, END_HEADERS, STREAM, &block(to, path, "bench")?);
        connection.stream.get_mut().write_all(&out)?;
        let (message, came) = (framed(message)?, Vec::new());
        Ok(Self { connection, message, least, credit: 65_535, initial: 65_535, taken: 0, came })
    }

    fn send(&mut self) -> Result<()> {
        let mut at = 0;
        while at < self.message.len() {
            let room = usize::try_from(self.credit.min(self.connection.credit)).unwrap_or(0);
            let some = room.min(FRAME).min(self.message.len() - at);
            if some == 0 {
                self.take()?;
                continue;
            }
            let mut out = Vec::with_capacity(9 + some);
            frame(&mut out, DATA, 0, STREAM, &self.message[at..at + some]);
            self.connection.stream.get_mut().write_all(&out)?;
            at += some;
            self.credit -= some as i64;
            self.connection.credit -= some as i64;
        }
        Ok(())
    }

    /// Takes one frame.
    fn take(&mut self) -> Result<()> {
        let received = self.connection.read()?;
        self.connection.heed(&received)?;
        match received.kind {
            SETTINGS if received.flags & ACK == 0 => self.settings(&received),
            WINDOW_UPDATE if received.stream == STREAM => {
                let by: [u8; 4] = received.payload.as_slice().try_into().context("a window update of another size")?;
                self.credit += i64::from(u32::from_be_bytes(by));
                Ok(())
            }
            DATA | HEADERS => {
                ensure!(received.flags & END_STREAM == 0, "the call ended");
                if received.kind == DATA {
                    self.data(&received)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn settings(&mut self, received: &Frame) -> Result<()> {
        for setting in received.payload.chunks_exact(6) {
            let [a, b, value @ ..] = setting else { continue };
            if u16::from_be_bytes([*a, *b]) == INITIAL_WINDOW_SIZE {
                let initial = i64::from(u32::from_be_bytes(value.try_into()?));
                self.credit += initial - self.initial;
                self.initial = initial;
            }
        }
        Ok(())
    }

    fn data(&mut self, received: &Frame) -> Result<()> {
        self.came.extend_from_slice(&received.payload);
        self.taken += u32::try_from(received.payload.len())?;
        if self.taken > WINDOW / 4 {
            let mut out = Vec::new();
            frame(&mut out, WINDOW_UPDATE, 0, STREAM, &self.taken.to_be_bytes());
            self.connection.stream.get_mut().write_all(&out)?;
            self.taken = 0;
        }
        Ok(())
    }

    /// The length of the answer that comes, once that is known.
    fn length(&self) -> Option<usize> {
        let length = self.came.get(1..PREFIX)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(length)).ok()
    }
}

impl Exchange for Conversation {
    fn once(&mut self) -> Result<()> {
        self.send()?;
        loop {
            if let Some(length) = self.length()
                && self.came.len() >= PREFIX + length
            {
                ensure!(length >= self.least, "an answer of {length} bytes");
                ensure!(self.came.len() == PREFIX + length, "more than one answer came");
                self.came.clear();
                return Ok(());
            }
            self.take()?;
        }
    }
}
