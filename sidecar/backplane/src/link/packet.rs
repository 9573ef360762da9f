//! What one message of the carrier between two gateways looks like. Pure: bytes in, plain types out, and the other way.
//!
//! A packet is a head of 24 bytes and, where it is data, frames. Numbers are big-endian.
//!
//! | bytes | |
//! |---|---|
//! | 1 | version: 1 |
//! | 1 | kind: 0 data, 1 beat, 2 lost |
//! | 2 | the sender's number |
//! | 8 | the sender's life |
//! | 4 | epoch |
//! | 8 | number of this packet within the epoch; of a beat: of the next one |
//!
//! A frame is its kind (1), whether more of it follows (1), the number of the question (8), its length (4), and so many bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

const VERSION: u8 = 1;
/// Bytes before the frames.
pub(crate) const HEAD: usize = 24;
/// Bytes before the content of a frame.
pub(crate) const FRAME_HEAD: usize = 14;

/// One message between two gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// The sender's number.
    pub(crate) from: u16,
    /// The sender's life: another one each time that it starts.
    pub(crate) life: u64,
    /// Which beginning of the link from the sender to the receiver this belongs to.
    pub(crate) epoch: u32,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a packet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Frames, and the number of the packet.
    Data(u64, Bytes),
    /// Nothing is new; the next packet would have this number.
    Beat(u64),
    /// Something of that epoch of the receiver's was lost.
    Lost,
}

/// What is carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// What it is.
    pub(crate) what: What,
    /// The number of the question, which its answer repeats.
    pub(crate) id: u64,
    /// Whether more of it follows in the next frame.
    pub(crate) more: bool,
    /// A piece of it, or all.
    pub(crate) content: Bytes,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum What {
    /// Something that is told.
    Notice = 0,
    /// Something that is asked.
    Question = 1,
    /// What is answered.
    Answer = 2,
}

impl Packet {
    /// As it is sent.
    pub(crate) fn write(&self) -> Bytes {
        let (kind, number, frames) = match &self.kind {
            Kind::Data(number, frames) => (0, *number, frames.as_ref()),
            Kind::Beat(next) => (1, *next, &[][..]),
            Kind::Lost => (2, 0, &[][..]),
        };
        let mut out = BytesMut::with_capacity(HEAD + frames.len());
        out.put_u8(VERSION);
        out.put_u8(kind);
        out.put_u16(self.from);
        out.put_u64(self.life);
        out.put_u32(self.epoch);
        out.put_u64(number);
        out.put_slice(frames);
        out.freeze()
    }

    /// `None`: it is none of this version.
    pub(crate) fn read(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < HEAD || bytes.get_u8() != VERSION {
            return None;
        }
        let kind = bytes.get_u8();
        let (from, life, epoch, number) = (bytes.get_u16(), bytes.get_u64(), bytes.get_u32(), bytes.get_u64());
        let kind = match kind {
            0 => Kind::Data(number, bytes),
            1 => Kind::Beat(number),
            2 => Kind::Lost,
            _ => return None,
        };
        Some(Self { from, life, epoch, kind })
    }
}

impl Frame {
    /// Appends it.
    pub(crate) fn write(&self, out: &mut BytesMut) {
        out.reserve(FRAME_HEAD + self.content.len());
        out.put_u8(self.what as u8);
        out.put_u8(u8::from(self.more));
        out.put_u64(self.id);
        // Pieces are of a packet's size at most.
        out.put_u32(self.content.len() as u32);
        out.put_slice(&self.content);
    }

    /// Takes one off the front. `None`: these are no frames.
    pub(crate) fn take(bytes: &mut Bytes) -> Option<Self> {
        if bytes.len() < FRAME_HEAD {
            return None;
        }
        let what = match bytes.get_u8() {
            0 => What::Notice,
            1 => What::Question,
            2 => What::Answer,
            _ => return None,
        };
        let (more, id, length) = (bytes.get_u8() != 0, bytes.get_u64(), bytes.get_u32() as usize);
        (length <= bytes.len()).then(|| Self { what, id, more, content: bytes.split_to(length) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(from: u16, life: u64, epoch: u32, n: u64, content: Vec<u8>, kind in 0..3u8) {
            let mut frames = BytesMut::new();
            let frame = Frame { what: What::Question, id: n, more: epoch % 2 == 0, content: content.into() };
            frame.write(&mut frames);
            let kind = [Kind::Data(n, frames.freeze()), Kind::Beat(n), Kind::Lost][usize::from(kind)].clone();
            let packet = Packet { from, life, epoch, kind };
            let read = Packet::read(packet.write()).unwrap();
            prop_assert_eq!(&read, &packet);
            if let Kind::Data(_, mut frames) = read.kind {
                prop_assert_eq!(Frame::take(&mut frames), Some(frame));
                prop_assert_eq!(Frame::take(&mut frames), None);
            }
        }

        #[test]
        fn whatever_comes_is_read_or_refused(bytes: Vec<u8>) {
            if let Some(Packet { kind: Kind::Data(_, mut frames), .. }) = Packet::read(bytes.into()) {
                while Frame::take(&mut frames).is_some() {}
            }
        }
    }
}
