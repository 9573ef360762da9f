//! One frame: its head, its mask, and frames to be sent (RFC 6455 section 5).

use bytes::{BufMut, Bytes, BytesMut};

use super::Close;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// More of the message before.
    Continuation,
    /// Text.
    Text,
    /// Bytes.
    Binary,
    /// The end.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

/// The head of a frame that a peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) fin: bool,
    /// The first reserved bit: the message is compressed.
    pub(super) rsv1: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: Option<[u8; 4]>,
    pub(super) length: u64,
    /// How many bytes the head itself has.
    pub(super) size: usize,
}

/// The longest payload of a control frame.
const MOST_OF_CONTROL: u64 = 125;

impl Opcode {
    fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Whether it may stand between the fragments of a message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    /// The word in events (Grid section 2).
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Continuation => "continuation",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
        }
    }
}

impl Head {
    /// Reads a head; `None` where more bytes are needed.
    ///
    /// # Errors
    /// The close for a head that no peer may send.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, Close> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let opcode = Opcode::of(first & 0x0f).ok_or_else(|| Close::protocol("an unknown opcode"))?;
        let (fin, rsv1) = (first & 0x80 != 0, first & 0x40 != 0);
        if first & 0x30 != 0 {
            return Err(Close::protocol("a reserved bit is set"));
        }
        let (length, extended) = match (second & 0x7f, rest) {
            (126, [a, b, ..]) => (u16::from_be_bytes([*a, *b]).into(), 2),
            (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 8),
            (126 | 127, _) => return Ok(None),
            (short, _) => (short.into(), 0),
        };
        if length >> 63 != 0 || extended == 2 && length < 126 || extended == 8 && length <= 0xffff {
            return Err(Close::protocol("a length that is not written in its shortest form"));
        }
        if opcode.is_control() && (!fin || rsv1 || length > MOST_OF_CONTROL) {
            return Err(Close::protocol("a control frame that is fragmented, compressed, or above 125 bytes"));
        }
        let mask = if second & 0x80 == 0 {
            None
        } else {
            let Some(&[a, b, c, d]) = rest.get(extended..extended + 4) else { return Ok(None) };
            Some([a, b, c, d])
        };
        let size = 2 + extended + if mask.is_some() { 4 } else { 0 };
        Ok(Some(Self { fin, rsv1, opcode, mask, length, size }))
    }
}

/// Takes a mask off, or puts it on.
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let long = u64::from(u32::from_ne_bytes(mask));
    let long = (long << 32 | long).to_ne_bytes();
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(long)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(long) {
        *byte ^= mask;
    }
}

/// A whole frame of a server: not masked, not fragmented. `compressed`: its payload is what [`deflated`](super::deflated) made.
#[must_use]
pub fn encode(opcode: Opcode, payload: &[u8], compressed: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + MOST_OF_HEAD);
    put_head(&mut frame, 0x80 | if compressed { 0x40 } else { 0 } | opcode.bits(), 0, payload.len());
    frame.put_slice(payload);
    frame.freeze()
}

/// Puts a whole frame of a server behind others.
pub fn put(frames: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    put_head(frames, 0x80 | opcode.bits(), 0, payload.len());
    frames.extend_from_slice(payload);
}

/// Puts a whole frame of a client behind others. `mask` is one that nobody who gave the payload could foresee (RFC 6455 section
/// 10.3).
pub fn put_masked(frames: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    put_head(frames, 0x80 | opcode.bits(), 0x80, payload.len());
    frames.extend_from_slice(&mask);
    let start = frames.len();
    frames.extend_from_slice(payload);
    if let Some(payload) = frames.get_mut(start..) {
        unmask(payload, mask);
    }
}

/// The longest head of a frame without a mask.
const MOST_OF_HEAD: usize = 10;

fn put_head(frames: &mut impl BufMut, first: u8, masked: u8, length: usize) {
    frames.put_u8(first);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=125), _) => frames.put_u8(masked | length),
        (_, Ok(length)) => {
            frames.put_u8(masked | 126);
            frames.put_u16(length);
        }
        _ => {
            frames.put_u8(masked | 127);
            frames.put_u64(length as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heads_are_read_as_the_rfc_writes_them() {
        let table: [(&[u8], Head); 5] = [
            (&[0x81, 0x05], head(true, Opcode::Text, 5, 2)),
            (&[0x01, 0x03], head(false, Opcode::Text, 3, 2)),
            (&[0x80, 0x02], head(true, Opcode::Continuation, 2, 2)),
            (&[0x82, 0x7e, 0x01, 0x00], head(true, Opcode::Binary, 256, 4)),
            (&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], head(true, Opcode::Binary, 65536, 10)),
        ];
        for (bytes, expected) in table {
            assert_eq!(Head::read(bytes), Ok(Some(expected)), "{bytes:02x?}");
            for cut in 0..bytes.len() {
                assert_eq!(Head::read(&bytes[..cut]), Ok(None), "{bytes:02x?} cut at {cut}");
            }
        }
        let masked = Head::read(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d]).unwrap().unwrap();
        assert_eq!((masked.mask, masked.size), (Some([0x37, 0xfa, 0x21, 0x3d]), 6));
    }

    fn head(fin: bool, opcode: Opcode, length: u64, size: usize) -> Head {
        Head { fin, rsv1: false, opcode, mask: None, length, size }
    }

    #[test]
    fn heads_that_no_peer_may_send_are_refused() {
        let table: [&[u8]; 10] = [
            &[0x83, 0],
            &[0x8b, 0],
            &[0x91, 0],
            &[0xa1, 0],
            &[0x09, 0],
            &[0xc9, 0],
            &[0x88, 126, 0, 126],
            &[0x81, 126, 0, 125],
            &[0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            &[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
        ];
        for bytes in table {
            let refused = Head::read(bytes).unwrap_err();
            assert_eq!(refused.code, Some(super::super::CloseCode::PROTOCOL), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn a_frame_that_is_encoded_is_read_again(length in prop_oneof![0..200usize, 65_000..66_000usize]) {
            let payload = vec![7; length];
            let frame = encode(Opcode::Binary, &payload, false);
            let head = Head::read(&frame).unwrap().unwrap();
            prop_assert_eq!((head.length, head.fin, head.rsv1, head.mask), (length as u64, true, false, None));
            prop_assert_eq!(&frame[head.size..], &payload[..]);
        }

        #[test]
        fn frames_stand_one_behind_the_other(length in prop_oneof![0..200usize, 65_000..66_000usize], mask: [u8; 4]) {
            let payload = vec![7; length];
            let mut frames = b"before".to_vec();
            put(&mut frames, Opcode::Text, &payload);
            prop_assert_eq!(&frames[6..], &encode(Opcode::Text, &payload, false)[..]);
            frames.clear();
            put_masked(&mut frames, Opcode::Text, &payload, mask);
            let head = Head::read(&frames).unwrap().unwrap();
            prop_assert_eq!((head.length, head.mask), (length as u64, Some(mask)));
            let mut sent = frames.split_off(head.size);
            unmask(&mut sent, mask);
            prop_assert_eq!(sent, payload);
        }

        #[test]
        fn a_mask_goes_on_and_off(mut payload in proptest::collection::vec(any::<u8>(), 0..40), mask: [u8; 4]) {
            let before = payload.clone();
            unmask(&mut payload, mask);
            let by_byte: Vec<u8> = before.iter().enumerate().map(|(n, byte)| byte ^ mask[n % 4]).collect();
            prop_assert_eq!(&payload, &by_byte);
            unmask(&mut payload, mask);
            prop_assert_eq!(payload, before);
        }
    }
}
