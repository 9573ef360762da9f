//! Numbers, texts and lists as bytes: numbers are big-endian, and whatever has a length says it first, in four bytes.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// What is written so far.
#[derive(Debug, Default)]
pub(super) struct Written(BytesMut);

/// What is to be read still.
#[derive(Debug)]
pub(super) struct Unread(Bytes);

impl Written {
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.put_u8(byte);
    }

    pub(super) fn short(&mut self, number: u16) {
        self.0.put_u16(number);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.put_u64(number);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        // What a node says is of some MiB at most.
        self.0.put_u32(bytes.len() as u32);
        self.0.put_slice(bytes);
    }

    pub(super) fn list<T>(&mut self, all: &[T], mut one: impl FnMut(&mut Self, &T)) {
        self.0.put_u32(all.len() as u32);
        all.iter().for_each(|each| one(self, each));
    }

    pub(super) fn done(self) -> Bytes {
        self.0.freeze()
    }
}

impl Unread {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.0.try_get_u8().ok()
    }

    pub(super) fn short(&mut self) -> Option<u16> {
        self.0.try_get_u16().ok()
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.0.try_get_u64().ok()
    }

    pub(super) fn bytes(&mut self) -> Option<Bytes> {
        let length = self.0.try_get_u32().ok()? as usize;
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    pub(super) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.into()).ok()
    }

    /// A list; each of its members has a byte at least, so that a length that is made up costs nothing.
    pub(super) fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.0.try_get_u32().ok()? as usize;
        if length > self.0.len() {
            return None;
        }
        (0..length).map(|_| one(self)).collect()
    }

    /// `what`, if nothing is left behind it.
    pub(super) fn whole<T>(self, what: T) -> Option<T> {
        self.0.is_empty().then_some(what)
    }
}
