//! What waits for one client, within its bound (G-24). Frames are shared: a thousand outboxes hold one.

use bytes::Bytes;

use super::frames::Frames;
use crate::wire::{Close, CloseCode, Opcode, encode};

/// Bytes above the bound that are left to control frames: a hundred of the largest.
const CONTROLS: usize = 12_800;
/// A frame takes memory beside its bytes: more than one for each so many bytes of the bound do not wait, however short they are.
const SMALLEST: usize = 64;
/// A bound that is small still has room for a few short ones.
const FRAMES_AT_LEAST: usize = 16;

/// What waits for one client.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: Frames,
    /// Of the frames here, and of those that were taken and are not written.
    bytes: usize,
    /// In a box: few clients have it, and for a short time.
    closing: Option<Box<Close>>,
    is_taken_over: bool,
}

/// What a client's task is to write.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Frames, in order.
    pub frames: Frames,
    /// The end: behind these frames comes the close, whose frame is the last of them.
    pub close: Option<Close>,
}

impl Outbox {
    /// Puts a frame in. `false`: it found no room, and the client is closed for being too slow. Whoever has taken all so far is never
    /// too slow for one message: a bound of the size of the largest has no room for its head.
    pub(super) fn put(&mut self, frame: &Bytes, limit: usize) -> bool {
        if self.bytes > 0 && !self.has_room(frame.len(), limit) {
            self.give_up();
            return false;
        }
        self.bytes += frame.len();
        self.frames.push(frame.clone());
        true
    }

    /// Whether a frame of so many bytes, or several in one piece, would be taken.
    pub(super) fn has_room(&self, bytes: usize, limit: usize) -> bool {
        self.bytes + bytes <= limit && self.frames.len() < FRAMES_AT_LEAST.max(limit / SMALLEST)
    }

    /// What it has not taken it will not take: the last thing it may learn is why.
    pub(super) fn give_up(&mut self) {
        self.frames = Frames::default();
        self.close(Close::new(CloseCode::TOO_SLOW, "messages were taken too slowly"));
    }

    /// Puts a control frame in: it finds room where messages do not, but whoever only pings and takes no pong is too slow, too.
    pub(super) fn put_control(&mut self, frame: &Bytes, limit: usize) {
        if !self.is_closing() {
            self.put(frame, limit + CONTROLS);
        }
    }

    /// Ends the client behind what waits. The first reason counts.
    pub(super) fn close(&mut self, close: Close) {
        if self.closing.is_none() {
            self.closing = Some(Box::new(close));
        }
    }

    pub(super) fn closing(&self) -> Option<&Close> {
        self.closing.as_deref()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Takes out all that waits; `None` where that is nothing.
    pub(super) fn take(&mut self) -> Option<Outgoing> {
        let close = if self.is_taken_over { None } else { self.closing().cloned() };
        if self.frames.is_empty() && close.is_none() {
            return None;
        }
        let mut frames = std::mem::take(&mut self.frames);
        if let Some(close) = &close {
            self.is_taken_over = true;
            frames.push(encode(Opcode::Close, &close.payload(), false));
        }
        Some(Outgoing { frames, close })
    }

    /// Takes out the frames alone: whoever does is not the one who ends the client.
    pub(super) fn take_frames(&mut self) -> Frames {
        std::mem::take(&mut self.frames)
    }

    /// So many of the bytes that were taken have been written.
    pub(super) fn written(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Bytes that wait, or are being written.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_takes_too_little_is_closed_and_learns_why() {
        let frame = encode(Opcode::Text, b"12345678", false);
        let mut outbox = Outbox::default();
        assert!(outbox.put(&frame, 20) && outbox.put(&frame, 20) && !outbox.put(&frame, 20));
        let outgoing = outbox.take().unwrap();
        assert_eq!(outgoing.frames.len(), 1, "the close alone");
        assert_eq!(outgoing.close.unwrap().code, Some(CloseCode::TOO_SLOW));
        assert_eq!(outbox.take(), None);
    }

    #[test]
    fn whoever_has_taken_all_is_not_too_slow_for_one_message() {
        let frame = encode(Opcode::Text, b"12345678", false);
        let mut outbox = Outbox::default();
        assert!(outbox.put(&frame, 8), "its head is beyond the bound");
        outbox.take();
        assert!(!outbox.put(&frame, 8), "what was taken is not written yet");
    }

    #[test]
    fn bytes_count_until_they_are_written() {
        let frame = encode(Opcode::Text, b"12345678", false);
        let mut outbox = Outbox::default();
        assert!(outbox.put(&frame, 20) && outbox.put(&frame, 20));
        assert_eq!(outbox.take().unwrap().frames.len(), 2);
        assert_eq!(outbox.bytes(), 20);
        outbox.written(10);
        assert!(outbox.put(&frame, 20));
    }

    #[test]
    fn the_first_end_counts_and_comes_behind_what_waits() {
        let frame = encode(Opcode::Text, b"x", false);
        let mut outbox = Outbox::default();
        outbox.put(&frame, 20);
        outbox.close(Close::new(CloseCode::RESTART, ""));
        outbox.close(Close::new(CloseCode::NORMAL, ""));
        outbox.put_control(&encode(Opcode::Ping, b"", false), 20);
        let outgoing = outbox.take().unwrap();
        assert_eq!((outgoing.frames.len(), outgoing.close.unwrap().code), (2, Some(CloseCode::RESTART)));
    }

    #[test]
    fn frames_without_a_byte_fill_it_too() {
        let mut outbox = Outbox::default();
        let frames = (0..).take_while(|_| {
            outbox.put_control(&encode(Opcode::Pong, b"", false), 1 << 20);
            !outbox.is_closing()
        });
        assert_eq!(frames.count(), ((1 << 20) + CONTROLS) / SMALLEST, "and not half a million");
    }

    #[test]
    fn a_client_that_pings_and_takes_no_pong_is_closed_too() {
        let mut outbox = Outbox::default();
        let pings = (0..).take_while(|_| {
            outbox.put_control(&encode(Opcode::Pong, &[0; 125], false), 1000);
            !outbox.is_closing()
        });
        assert_eq!(pings.count(), (1000 + CONTROLS) / 127);
        assert_eq!(outbox.take().unwrap().close.unwrap().code, Some(CloseCode::TOO_SLOW));
    }
}
