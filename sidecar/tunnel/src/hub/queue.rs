//! What waits for a peer's socket: frames that are whole, in pieces that are written at once, and the few that go before them.
//!
//! A pure structure. Each packet is copied into the queue of its receiver, once, as the frame that will be sent: no buffer is
//! shared between peers or used again while something in it waits, so a packet cannot be torn or doubled (the original's fault
//! under load).

use std::collections::VecDeque;

use bytes::Bytes;
use mesh_websocket::{Close, Opcode, encode, put};

/// Bytes that may wait: at 100 Mbit/s these are 40 ms. More would only delay the news that the way is full, by which TCP slows down.
pub(crate) const MOST_BYTES: usize = 512 * 1024;
/// Packets that may wait: a bound of its own, for small ones cost the receiver more than their bytes say.
pub(crate) const MOST_PACKETS: usize = 4096;
/// A piece becomes one TLS record, which has at most so many bytes.
const PIECE: usize = 16 * 1024;
/// The head of a packet's frame: no packet is so long that its length takes eight bytes.
const HEAD: usize = 4;
/// The first byte of a binary message in one frame (RFC 6455 section 5.2).
const BINARY: u8 = 0x82;
/// Pieces that are given out at a time: as much as one call of the system takes in, and no more, since what is given out goes
/// before any ping that comes then.
const AT_ONCE: usize = 4;

/// How packets stand in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// Each is a text of its own, as legacy peers want it.
    #[default]
    Texts,
    /// Those that wait together are one binary message (protocol 2).
    Batches,
}

/// What waits for one peer.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    form: Form,
    pieces: VecDeque<Piece>,
    bytes: usize,
    packets: usize,
    /// The answer to the last ping, which is all that has to be answered (RFC 6455 section 5.5.3).
    pong: Option<Bytes>,
    ping: Option<Bytes>,
    end: End,
    /// Whoever writes has found nothing and waits to be woken.
    waits: bool,
}

/// Frames that lie one behind the other; never half of one.
#[derive(Debug)]
struct Piece {
    form: Form,
    /// Of a batch: room for its head, and its packets.
    frames: Vec<u8>,
    packets: usize,
}

impl Piece {
    /// As it is sent.
    fn whole(mut self) -> Bytes {
        if self.form == Form::Texts {
            return self.frames.into();
        }
        let length = self.frames.len().saturating_sub(HEAD);
        let (head, skipped) = match (u8::try_from(length), u16::try_from(length)) {
            (Ok(length @ ..=125), _) => ([0, 0, BINARY, length], 2),
            (_, length) => {
                // A packet is no longer, and more than one are a piece at most.
                let [high, low] = length.unwrap_or(u16::MAX).to_be_bytes();
                ([BINARY, 126, high, low], 0)
            }
        };
        if let Some(room) = self.frames.first_chunk_mut::<HEAD>() {
            *room = head;
        }
        Bytes::from(self.frames).slice(skipped..)
    }
}

#[derive(Debug, Default)]
enum End {
    #[default]
    Open,
    /// The close waits to be sent, and nothing else is.
    Asked(Close),
    /// It was given out.
    Said,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits, and somebody writes already.
    In,
    /// It waits, and the writer has to be woken.
    Wake,
    /// There is no room, or the session is over.
    Full,
}

/// What is to be written next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// Whole frames.
    pub(crate) pieces: VecDeque<Bytes>,
    /// How many packets are among them.
    pub(crate) packets: usize,
    /// The close that they are, if they are one.
    pub(crate) close: Option<Close>,
}

impl Queue {
    /// An empty one for a peer that takes packets so.
    pub(crate) fn new(form: Form) -> Self {
        Self { form, ..Self::default() }
    }

    /// Puts a packet behind the others.
    pub(crate) fn push(&mut self, packet: &[u8]) -> Pushed {
        self.add(packet, self.form)
    }

    /// Puts a text behind the others, whatever form packets have.
    pub(crate) fn say(&mut self, text: &[u8]) -> Pushed {
        self.add(text, Form::Texts)
    }

    fn add(&mut self, packet: &[u8], form: Form) -> Pushed {
        let is_full = self.packets >= MOST_PACKETS || self.bytes + packet.len() + HEAD > MOST_BYTES;
        if is_full || self.has_ended() {
            return Pushed::Full;
        }
        let piece = match self.pieces.pop_back() {
            Some(last) if last.form == form && last.frames.len() + packet.len() + HEAD <= PIECE => last,
            // Whoever is idle gets what it needs; where more waits already, a piece becomes full.
            last => {
                let room = if last.is_some() { PIECE.max(packet.len() + HEAD) } else { packet.len() + HEAD };
                self.pieces.extend(last);
                Piece { form, frames: Vec::with_capacity(room), packets: 0 }
            }
        };
        self.put(piece, packet);
        self.wake()
    }

    fn put(&mut self, mut piece: Piece, packet: &[u8]) {
        let before = piece.frames.len();
        match piece.form {
            Form::Texts => put(&mut piece.frames, Opcode::Text, packet),
            Form::Batches => {
                if piece.frames.is_empty() {
                    piece.frames.extend_from_slice(&[0; HEAD]);
                }
                piece.frames.extend_from_slice(packet);
            }
        }
        piece.packets += 1;
        self.bytes += piece.frames.len() - before;
        self.packets += 1;
        self.pieces.push_back(piece);
    }

    /// The answer to a ping, ahead of all that waits.
    pub(crate) fn pong(&mut self, payload: Bytes) -> Pushed {
        self.pong = Some(payload);
        self.wake()
    }

    /// A ping, ahead of all that waits.
    pub(crate) fn ping(&mut self, payload: Bytes) -> Pushed {
        self.ping = Some(payload);
        self.wake()
    }

    /// Ends it: what waits is dropped, and the first close is the last frame. Answers how many packets were dropped.
    pub(crate) fn end(&mut self, close: Close) -> (usize, Pushed) {
        if self.has_ended() {
            return (0, Pushed::In);
        }
        let dropped = self.packets;
        *self = Self { end: End::Asked(close), waits: self.waits, ..Self::new(self.form) };
        (dropped, self.wake())
    }

    /// Whether it was ended.
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.end, End::Open)
    }

    /// What is to be written next; `None` where nothing waits: whoever puts something in then is answered [`Pushed::Wake`].
    pub(crate) fn take(&mut self) -> Option<Outgoing> {
        let out = match std::mem::replace(&mut self.end, End::Said) {
            End::Open => {
                self.end = End::Open;
                self.frames()
            }
            End::Asked(close) => {
                let frame = encode(Opcode::Close, &close.payload(), false);
                Outgoing { pieces: [frame].into(), packets: 0, close: Some(close) }
            }
            End::Said => Outgoing::default(),
        };
        self.waits = out.pieces.is_empty();
        (!self.waits).then_some(out)
    }

    fn frames(&mut self) -> Outgoing {
        let mut out = Outgoing::default();
        for (opcode, payload) in [(Opcode::Pong, self.pong.take()), (Opcode::Ping, self.ping.take())] {
            out.pieces.extend(payload.map(|payload| encode(opcode, &payload, false)));
        }
        while out.pieces.len() < AT_ONCE
            && let Some(piece) = self.pieces.pop_front()
        {
            self.bytes -= piece.frames.len();
            self.packets -= piece.packets;
            out.packets += piece.packets;
            out.pieces.push_back(piece.whole());
        }
        if self.pieces.is_empty() {
            // An idle peer holds no memory for it.
            self.pieces = VecDeque::new();
        }
        out
    }

    fn wake(&mut self) -> Pushed {
        if std::mem::take(&mut self.waits) { Pushed::Wake } else { Pushed::In }
    }
}

#[cfg(test)]
mod tests {
    use mesh_websocket::{CloseCode, Data, Read, Reader, Reading, Sender, Texts};
    use proptest::prelude::*;

    use super::*;

    /// What a legacy client reads of what is written.
    fn read(out: &Outgoing) -> Vec<Read> {
        let messages = Reading::messages(1 << 20);
        let reading = Reading { texts: Texts::Bytes, sender: Sender::Server, ..messages };
        let mut reader = Reader::default();
        out.pieces.iter().for_each(|piece| reader.extend(piece));
        std::iter::from_fn(|| reader.next(reading).unwrap()).collect()
    }

    fn packets(out: &Outgoing) -> Vec<Vec<u8>> {
        let packet = |read| match read {
            Read::Part(part) => match (part.opcode, part.data) {
                (Opcode::Text, Data::Binary(bytes)) => Some(bytes.to_vec()),
                other => panic!("{other:?}"),
            },
            _ => None,
        };
        read(out).into_iter().filter_map(packet).collect()
    }

    #[test]
    fn pongs_and_pings_go_before_what_waits_and_a_close_instead_of_it() {
        let mut queue = Queue::default();
        assert_eq!(queue.take(), None);
        assert_eq!(queue.push(b"packet"), Pushed::Wake);
        assert_eq!(queue.pong(Bytes::from_static(b"old")), Pushed::In);
        queue.pong(Bytes::from_static(b"new"));
        queue.ping(Bytes::from_static(b"?"));
        let out = queue.take().unwrap();
        let [Read::Pong(pong), Read::Ping(ping), Read::Part(_)] = &read(&out)[..] else { panic!("{out:?}") };
        assert_eq!((&pong[..], &ping[..], out.packets), (&b"new"[..], &b"?"[..], 1));
        queue.push(b"late");
        assert_eq!(queue.end(Close::new(CloseCode::GOING_AWAY, "bye")).0, 1);
        assert_eq!(queue.end(Close::protocol("no")), (0, Pushed::In), "the first counts");
        let out = queue.take().unwrap();
        assert_eq!(read(&out), [Read::Close(Close::new(CloseCode::GOING_AWAY, "bye"))]);
        queue.pong(Bytes::new());
        assert_eq!((queue.take(), queue.push(b"later")), (None, Pushed::Full));
    }

    #[test]
    fn bytes_and_packets_are_bounded() {
        let mut queue = Queue::default();
        let small = (0..).take_while(|_| queue.push(b"x") != Pushed::Full).count();
        assert_eq!(small, MOST_PACKETS);
        let mut queue = Queue::default();
        let large = (0..).take_while(|_| queue.push(&[7; 1400]) != Pushed::Full).count();
        assert_eq!(large, MOST_BYTES / 1404);
        queue.take();
        assert_ne!(queue.push(&[7; 1400]), Pushed::Full, "what was taken makes room");
    }

    #[test]
    fn packets_that_wait_together_are_one_message_of_protocol_2_and_texts_stay_texts() {
        let mut queue = Queue::new(Form::Batches);
        queue.say(b"{}");
        for size in [20, 40, 60, 65_535, 20] {
            queue.push(&vec![7; size]);
        }
        let parts = |out: &Outgoing| {
            let part = |read| match read {
                Read::Part(part) => match part.data {
                    Data::Binary(bytes) => (part.opcode, bytes.len()),
                    Data::Text(text) => (part.opcode, text.len()),
                },
                other => panic!("{other:?}"),
            };
            read(out).into_iter().map(part).collect::<Vec<_>>()
        };
        let out = queue.take().unwrap();
        let binary = |size| (Opcode::Binary, size);
        assert_eq!(parts(&out), [(Opcode::Text, 2), binary(120), binary(65_535), binary(20)]);
        queue.push(&[7; 126]);
        assert_eq!(parts(&queue.take().unwrap()), [binary(126)]);
        assert_eq!((queue.bytes, queue.packets), (0, 0));
    }

    #[test]
    fn the_largest_packet_is_a_piece_of_its_own() {
        let mut queue = Queue::default();
        for size in [20, 65_535, 20] {
            queue.push(&vec![7; size]);
        }
        let out = queue.take().unwrap();
        assert_eq!(out.pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [22, 65_539, 22]);
        assert_eq!(packets(&out).iter().map(Vec::len).collect::<Vec<_>>(), [20, 65_535, 20]);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_its_order_and_once(
            steps in proptest::collection::vec(prop_oneof![4 => (20..3000usize).prop_map(Some), 1 => Just(None)], 0..200),
        ) {
            let (mut queue, mut sent, mut come) = (Queue::default(), Vec::new(), Vec::new());
            let mut last = 0u32;
            for step in steps.into_iter().chain(std::iter::repeat_n(None, 60)) {
                match step {
                    Some(size) => {
                        last += 1;
                        let mut packet = vec![last.to_le_bytes()[0]; size];
                        packet[..4].copy_from_slice(&last.to_le_bytes());
                        if queue.push(&packet) != Pushed::Full {
                            sent.push(packet);
                        }
                    }
                    None => {
                        let out = queue.take().unwrap_or_default();
                        prop_assert!(out.pieces.len() <= AT_ONCE);
                        let taken = packets(&out);
                        prop_assert_eq!(taken.len(), out.packets);
                        come.extend(taken);
                    }
                }
            }
            prop_assert_eq!(come, sent);
            prop_assert_eq!((queue.bytes, queue.packets), (0, 0));
        }
    }
}
