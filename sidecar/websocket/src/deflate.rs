//! permessage-deflate (RFC 7692), each message by itself: no window is kept between two, so it costs an idle client nothing, and
//! a message for many is compressed once.

use std::io::Read;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status, read::DeflateDecoder};

use super::{Opcode, encode};

/// What a compressed message ends with, and what is left off on the wire (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Less than this is sent as it is: its compressed form is no shorter.
const WORTH: usize = 128;

/// What became of a compressed message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inflated {
    Whole(Vec<u8>),
    TooLarge,
    Broken,
}

/// A message for clients with and without compression; each form is made once.
#[derive(Clone, Debug)]
pub struct Deflate {
    plain: Bytes,
    packed: Option<Bytes>,
}

impl Deflate {
    /// The frame of a message, and its compressed form where `is_wanted` and where it pays.
    #[must_use]
    pub fn frames(opcode: Opcode, payload: &[u8], is_wanted: bool) -> Self {
        let packed = (is_wanted && payload.len() >= WORTH).then(|| deflated(payload));
        let packed = packed.filter(|packed| packed.len() < payload.len());
        Self { plain: encode(opcode, payload, false), packed: packed.map(|packed| encode(opcode, &packed, true)) }
    }

    /// The same message, with each form that it has put through `change`.
    #[must_use]
    pub fn map(self, change: impl Fn(Bytes) -> Bytes) -> Self {
        Self { plain: change(self.plain), packed: self.packed.map(change) }
    }

    /// The form for a client.
    #[must_use]
    pub fn form(&self, deflates: bool) -> &Bytes {
        self.packed.as_ref().filter(|_| deflates).unwrap_or(&self.plain)
    }
}

/// Compresses the payload of one message.
#[must_use]
pub fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut compress = Compress::new(Compression::fast(), false);
    // A stored block has five bytes for each 64 KiB.
    let mut packed = Vec::with_capacity(payload.len() + payload.len() / 1000 + 64);
    loop {
        let taken = usize::try_from(compress.total_in()).unwrap_or(payload.len()).min(payload.len());
        let status = compress.compress_vec(&payload[taken..], &mut packed, FlushCompress::Sync);
        let is_whole = compress.total_in() == payload.len() as u64 && packed.len() < packed.capacity();
        if is_whole || !matches!(status, Ok(Status::Ok | Status::BufError)) {
            break;
        }
        packed.reserve(64);
    }
    if packed.ends_with(&TAIL) {
        packed.truncate(packed.len() - TAIL.len());
    }
    packed
}

/// Opens a message that may have `limit` bytes at most.
pub(super) fn inflated(packed: &[u8], limit: usize) -> Inflated {
    // A last block, so that the end of the message is the end of the stream.
    const END: [u8; 5] = [1, 0, 0, 0xff, 0xff];
    let source = packed.chain(&TAIL[..]).chain(&END[..]);
    let mut opened = Vec::new();
    match DeflateDecoder::new(source).take(limit as u64 + 1).read_to_end(&mut opened) {
        Ok(_) if opened.len() > limit => Inflated::TooLarge,
        Ok(_) => Inflated::Whole(opened),
        Err(_) => Inflated::Broken,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_opened() {
        // RFC 7692 section 7.2.3.1.
        assert_eq!(inflated(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], 10), Inflated::Whole(b"Hello".to_vec()));
    }

    #[test]
    fn a_short_or_random_message_is_sent_as_it_is() {
        let short = Deflate::frames(Opcode::Text, b"short", true);
        assert_eq!(short.form(true), short.form(false));
        let long = Deflate::frames(Opcode::Text, &[b'a'; 1000], true);
        assert!(long.form(true).len() < 50 && long.form(false).len() > 1000);
        assert_eq!(Deflate::frames(Opcode::Text, &[b'a'; 1000], false).form(true).len(), 1004);
    }

    proptest! {
        #[test]
        fn what_is_compressed_is_opened(payload in proptest::collection::vec(0..4u8, 0..3000), noise in proptest::collection::vec(any::<u8>(), 0..300)) {
            let payload = [payload, noise].concat();
            prop_assert_eq!(inflated(&deflated(&payload), payload.len()), Inflated::Whole(payload.clone()));
            if !payload.is_empty() {
                prop_assert_eq!(inflated(&deflated(&payload), payload.len() - 1), Inflated::TooLarge);
            }
        }
    }
}
