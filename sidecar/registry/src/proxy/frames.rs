//! Where the frames of a WebSocket end (RFC 6455 section 5.2), and the frame that says that this side restarts.
//!
//! Nothing of a frame is kept or changed. Who passes bytes on asks here after which of them he may speak for himself: between two
//! frames, be it in the middle of a message. Pure.

/// "Service Restart" (RFC 6455 section 11.7): connect again, after a moment.
const RESTART: u16 = 1012;
/// What stands in the log of whoever hears it.
const REASON: &[u8] = b"the node restarts: connect again";

const CLOSE: u8 = 0x8;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
/// The longest head: two bytes, a length of eight, a mask of four.
const LONGEST_HEAD: usize = 14;

/// One direction of a WebSocket, as far as it has passed.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; LONGEST_HEAD],
    /// How much of the head is here.
    have: usize,
    /// How much of the payload is still to come.
    left: u64,
    closes: bool,
    closed: bool,
}

/// Which side a frame goes to: only a client masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    Client,
    Server { mask: [u8; 4] },
}

impl Frames {
    /// Takes what comes, all of it, or with `one` up to the end of the first frame that ends in it. Says how much that is.
    pub(super) fn take(&mut self, bytes: &[u8], one: bool) -> usize {
        let mut rest = bytes;
        while let Some((first, behind)) = rest.split_first() {
            if self.left > 0 {
                let some = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                self.left -= some as u64;
                rest = rest.get(some..).unwrap_or_default();
            } else {
                if let Some(place) = self.head.get_mut(self.have) {
                    *place = *first;
                }
                self.have += 1;
                rest = behind;
                let Some(left) = payload(&self.head, self.have) else { continue };
                (self.left, self.have, self.closes) = (left, 0, self.head[0] & 0xf == CLOSE);
            }
            if self.left == 0 {
                self.closed |= self.closes;
                if one {
                    break;
                }
            }
        }
        bytes.len() - rest.len()
    }

    /// Whether nothing of a frame is under way.
    pub(super) fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Whether a close frame has passed: nothing may follow it.
    pub(super) fn has_closed(&self) -> bool {
        self.closed
    }
}

/// The length of the payload, once the head is whole.
fn payload(head: &[u8; LONGEST_HEAD], have: usize) -> Option<u64> {
    let [_, second, ..] = head;
    let mask = if second & MASKED == 0 { 0 } else { 4 };
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    let (length, extended) = match second & !MASKED {
        126 => (number(head.get(2..4)?), 2),
        127 => (number(head.get(2..10)?), 8),
        short => (u64::from(short), 0),
    };
    (have == 2 + extended + mask).then_some(length)
}

/// The frame that ends a WebSocket because this node restarts.
pub(super) fn restart(to: To) -> Vec<u8> {
    let mut payload = RESTART.to_be_bytes().to_vec();
    payload.extend_from_slice(REASON);
    let length = u8::try_from(payload.len()).unwrap_or(0);
    let mut frame = vec![FINAL | CLOSE];
    match to {
        To::Client => frame.push(length),
        To::Server { mask } => {
            frame.push(MASKED | length);
            frame.extend_from_slice(&mask);
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        }
    }
    frame.append(&mut payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with so much payload.
    fn frame(opcode: u8, masked: bool, payload: usize) -> Vec<u8> {
        let mut frame = vec![FINAL | opcode];
        let bit = if masked { MASKED } else { 0 };
        match payload {
            0..126 => frame.push(bit | u8::try_from(payload).unwrap()),
            126..65536 => {
                frame.push(bit | 126);
                frame.extend(u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(bit | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend(std::iter::repeat_n(0xff, payload + if masked { 4 } else { 0 }));
        frame
    }

    #[test]
    fn the_ends_of_frames_are_found_however_the_bytes_come() {
        for masked in [false, true] {
            let sizes = [0, 1, 125, 126, 65_535, 65_536, 70_000];
            let all: Vec<Vec<u8>> = sizes.iter().map(|size| frame(2, masked, *size)).collect();
            let bytes = all.concat();
            for piece in [1, 2, 3, 1000, bytes.len()] {
                let (mut frames, mut ends, mut at) = (Frames::default(), Vec::new(), 0);
                for part in bytes.chunks(piece) {
                    let mut part = part;
                    while !part.is_empty() {
                        let taken = frames.take(part, true);
                        at += taken;
                        part = &part[taken..];
                        if frames.is_between() {
                            ends.push(at);
                        }
                    }
                }
                let mut sum = 0;
                let wanted: Vec<usize> = all
                    .iter()
                    .map(|frame| {
                        sum += frame.len();
                        sum
                    })
                    .collect();
                assert_eq!(ends, wanted, "in pieces of {piece}, masked: {masked}");
            }
        }
    }

    #[test]
    fn a_close_frame_is_seen_when_all_of_it_has_passed() {
        let (mut frames, bytes) = (Frames::default(), [frame(1, true, 3), frame(CLOSE, true, 2)].concat());
        let (last, before) = bytes.split_last().unwrap();
        assert_eq!(frames.take(before, false), before.len());
        assert!(!frames.has_closed() && !frames.is_between());
        frames.take(&[*last], false);
        assert!(frames.has_closed() && frames.is_between());
    }

    #[test]
    fn the_last_word_is_a_close_frame_of_1012_that_only_a_server_gets_masked() {
        let (mut mask, plain) = ([1, 2, 3, 4].iter().cycle(), restart(To::Client));
        assert_eq!(plain[..4], [0x88, u8::try_from(plain.len() - 2).unwrap(), 0x03, 0xf4]);
        let masked = restart(To::Server { mask: [1, 2, 3, 4] });
        assert_eq!((masked[1] & MASKED, &masked[2..6]), (MASKED, &[1, 2, 3, 4][..]));
        let open: Vec<u8> = masked[6..].iter().map(|byte| byte ^ mask.next().unwrap()).collect();
        assert_eq!(open, plain[2..]);
        for frame in [plain, masked] {
            let mut frames = Frames::default();
            assert_eq!(frames.take(&frame, true), frame.len());
            assert!(frames.has_closed() && frames.is_between());
        }
    }
}
