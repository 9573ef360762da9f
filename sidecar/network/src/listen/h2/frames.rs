//! HTTP/2 frames as they pass in one direction: which streams end, and which are reset (RFC 9113 sections 4.1, 5.1, 6.4).
//!
//! A pure reader of frame heads; payloads are skipped. Whether the frames make sense is the protocol's business, not ours:
//! what breaks its rules ends the connection there.

/// What a client says first (RFC 9113 section 3.4).
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const HEAD: usize = 9;
/// A reset's payload is its reason.
const REASON: usize = 4;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What a frame said, once all of it has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Of this stream so many bytes of a body.
    Data(u32, usize),
    /// This stream has ended.
    End(u32),
    /// This stream was reset, for this reason.
    Reset(u32, u32),
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Frames {
    /// The head of the frame that passes, and the reason of a reset.
    kept: [u8; HEAD + REASON],
    filled: usize,
    /// Bytes of its payload that are still to come.
    left: usize,
    /// The stream whose last headers go on in further frames.
    ending: Option<u32>,
}

impl Frames {
    /// What a client sends, with its preface.
    pub(super) fn of_client() -> Self {
        // The preface passes like the payload of a frame that says nothing.
        Self { kept: [u8::MAX; HEAD + REASON], filled: HEAD, left: PREFACE, ending: None }
    }

    /// What a server sends.
    pub(super) fn of_server() -> Self {
        Self { kept: [0; HEAD + REASON], filled: 0, left: 0, ending: None }
    }

    /// Takes note of the next bytes.
    pub(super) fn pass(&mut self, mut bytes: &[u8], mut say: impl FnMut(Said)) {
        while !bytes.is_empty() {
            if self.filled < HEAD {
                bytes = self.keep(bytes, HEAD - self.filled);
                if self.filled < HEAD {
                    return;
                }
                let [a, b, c, ..] = self.kept;
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
            } else {
                let some = self.left.min(bytes.len());
                self.left -= some;
                // Of other frames' payloads nothing is kept.
                let wanted = if self.kind() == RST_STREAM { HEAD + REASON - self.filled } else { 0 };
                let (payload, rest) = bytes.split_at(some);
                self.keep(payload, wanted);
                bytes = rest;
            }
            if self.left == 0 {
                self.passed(&mut say);
            }
        }
    }

    /// Keeps the first bytes, `most` at most; answers the others.
    fn keep<'b>(&mut self, bytes: &'b [u8], most: usize) -> &'b [u8] {
        let (kept, rest) = bytes.split_at(most.min(bytes.len()));
        if let Some(place) = self.kept.get_mut(self.filled..self.filled + kept.len()) {
            place.copy_from_slice(kept);
            self.filled += kept.len();
        }
        rest
    }

    fn kind(&self) -> u8 {
        let [_, _, _, kind, ..] = self.kept;
        kind
    }

    /// A whole frame has passed.
    fn passed(&mut self, say: &mut impl FnMut(Said)) {
        let [a, b, c, kind, flags, s0, s1, s2, s3, reason @ ..] = self.kept;
        self.filled = 0;
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        match kind {
            DATA => {
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                say(Said::Data(stream, length));
                if flags & END_STREAM != 0 {
                    say(Said::End(stream));
                }
            }
            HEADERS if flags & END_STREAM != 0 => self.ending = Some(stream),
            RST_STREAM => say(Said::Reset(stream, u32::from_be_bytes(reason))),
            _ => {}
        }
        if matches!(kind, HEADERS | CONTINUATION)
            && flags & END_HEADERS != 0
            && let Some(ended) = self.ending.take()
        {
            say(Said::End(ended));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream][..], payload].concat()
    }

    /// What is said of these bytes when they pass in pieces of this size.
    fn said(mut frames: Frames, bytes: &[u8], size: usize) -> Vec<Said> {
        let mut all = Vec::new();
        bytes.chunks(size).for_each(|piece| frames.pass(piece, |said| all.push(said)));
        all
    }

    #[test]
    fn ends_and_resets_are_seen_wherever_the_bytes_are_cut() {
        let bytes = [
            frame(HEADERS, END_HEADERS, 1, b"head"),
            frame(DATA, 0, 1, b"abc"),
            frame(DATA, END_STREAM, 1, b""),
            // An unknown kind, a window update, an empty SETTINGS: nothing to say.
            frame(0xfa, 0xff, 3, b"whatever"),
            frame(8, 0, 0, &[0, 0, 0, 1]),
            frame(4, 0, 0, b""),
            frame(HEADERS, END_HEADERS | END_STREAM, 3, b"trailers"),
            frame(HEADERS, END_STREAM, 5, b"many "),
            frame(CONTINUATION, 0, 5, b"more "),
            frame(CONTINUATION, END_HEADERS, 5, b"trailers"),
            frame(RST_STREAM, 0, 7, &[0, 0, 0, 8]),
            frame(DATA, END_STREAM, 9, b"x"),
        ]
        .concat();
        let expected = [
            Said::Data(1, 3),
            Said::Data(1, 0),
            Said::End(1),
            Said::End(3),
            Said::End(5),
            Said::Reset(7, 8),
            Said::Data(9, 1),
            Said::End(9),
        ];
        let with_preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &bytes[..]].concat();
        for size in 1..=with_preface.len() {
            assert_eq!(said(Frames::of_server(), &bytes, size), expected, "pieces of {size}");
            assert_eq!(said(Frames::of_client(), &with_preface, size), expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_frame_is_said_when_its_last_byte_has_passed_and_not_before() {
        let mut frames = Frames::of_server();
        let bytes = frame(DATA, END_STREAM, 1, b"abc");
        let (most, last) = bytes.split_at(bytes.len() - 1);
        frames.pass(most, |said| panic!("{said:?}"));
        let mut all = Vec::new();
        frames.pass(last, |said| all.push(said));
        assert_eq!(all, [Said::Data(1, 3), Said::End(1)]);
    }
}
