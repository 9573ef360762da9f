//! The link to one other gateway: packets that are numbered in both directions, so that what the carrier loses is noticed, and
//! both begin anew. Pure: no clock, no task; what is to be sent is a value.
//!
//! Each direction has epochs. The first packet of an epoch has the number 0; a gap ends the epoch for the receiver, who says so
//! ([`Kind::Lost`]) and takes no more of it; the sender begins the next one. A sender that is silent says from time to time which
//! number comes next, so that the loss of a last packet is noticed too.

use bytes::{Bytes, BytesMut};

use super::packet::{FRAME_HEAD, Frame, Kind, What};

/// The largest thing that is carried: 64 MiB, the most that a publication of several messages may be.
pub(crate) const LARGEST: usize = 64 << 20;

/// What a packet holds at least, whatever the carrier says of its limit: a piece of something.
const SMALLEST_PACKET: usize = 2 * FRAME_HEAD;

/// One other gateway.
#[derive(Debug)]
pub(crate) struct Pair {
    /// Its life.
    pub(crate) life: u64,
    /// The epoch of what goes there.
    epoch: u32,
    /// The number of the next packet that goes there.
    next: u64,
    /// Frames for the next packet.
    waiting: BytesMut,
    heard: Heard,
}

/// How far it was heard.
#[derive(Debug)]
enum Heard {
    /// Nothing of an epoch after this one yet.
    After(Option<u32>),
    /// All packets of this epoch before that number.
    Until(u32, u64, Option<Piece>),
}

/// The beginning of a frame whose end comes in the next ones.
#[derive(Debug)]
struct Piece {
    what: What,
    id: u64,
    content: BytesMut,
}

/// What a packet from there means.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// What it was told before counts no more.
    pub(crate) left: bool,
    /// From here on it is heard.
    pub(crate) joined: bool,
    /// What it carries, in order.
    pub(crate) frames: Vec<(What, u64, Bytes)>,
    /// It is to learn that something of this epoch was lost.
    pub(crate) lost: Option<u32>,
}

impl Pair {
    /// A gateway of which nothing was heard. `epoch` is later than any that it may have heard of us.
    pub(crate) fn new(life: u64, epoch: u32) -> Self {
        Self { life, epoch, next: 0, waiting: BytesMut::new(), heard: Heard::After(None) }
    }

    /// Puts something into the packets that go there: whole packets of at most `most` bytes of frames that are full now.
    pub(crate) fn put(&mut self, what: What, id: u64, mut content: Bytes, most: usize) -> Vec<Kind> {
        let (mut full, most) = (Vec::new(), most.max(SMALLEST_PACKET));
        loop {
            let room = most.saturating_sub(self.waiting.len() + FRAME_HEAD);
            if room == 0 || (content.len() > room && !self.waiting.is_empty()) {
                full.extend(self.flush());
                continue;
            }
            let piece = content.split_to(room.min(content.len()));
            let more = !content.is_empty();
            Frame { what, id, more, content: piece }.write(&mut self.waiting);
            if !more {
                return full;
            }
        }
    }

    /// What waits, as a packet.
    pub(crate) fn flush(&mut self) -> Option<Kind> {
        (!self.waiting.is_empty()).then(|| self.number())
    }

    /// The first packet of an epoch, which may be empty.
    pub(crate) fn open(&mut self) -> Option<Kind> {
        (self.next == 0).then(|| self.number())
    }

    fn number(&mut self) -> Kind {
        let number = self.next;
        self.next += 1;
        Kind::Data(number, self.waiting.split().freeze())
    }

    /// What is said from time to time.
    pub(crate) fn beat(&self) -> Kind {
        Kind::Beat(self.next)
    }

    /// The epoch of what goes there.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Begins anew: nobody knows what arrived of what was sent before.
    pub(crate) fn begin_anew(&mut self, epoch: u32) {
        (self.epoch, self.next) = (epoch, 0);
        self.waiting.clear();
    }

    /// Whether it is heard from the beginning of an epoch on.
    pub(crate) fn is_heard(&self) -> bool {
        matches!(self.heard, Heard::Until(..))
    }

    /// It lost something of an epoch. Whether that is the one of now, and it is to begin anew.
    pub(crate) fn has_lost(&self, epoch: u32) -> bool {
        epoch == self.epoch
    }

    /// A packet from there.
    pub(crate) fn arrived(&mut self, epoch: u32, kind: Kind) -> Arrived {
        match kind {
            Kind::Data(0, frames) if self.is_new(epoch) => {
                let left = matches!(self.heard, Heard::Until(..));
                self.heard = Heard::Until(epoch, 1, None);
                let mut arrived = Arrived { left, joined: true, ..Arrived::default() };
                self.read(epoch, frames, &mut arrived);
                arrived
            }
            Kind::Data(number, frames) => match &mut self.heard {
                Heard::Until(current, next, _) if *current == epoch && *next == number => {
                    *next += 1;
                    let mut arrived = Arrived::default();
                    self.read(epoch, frames, &mut arrived);
                    arrived
                }
                _ => self.missed(epoch),
            },
            Kind::Beat(number) => match &self.heard {
                Heard::Until(current, next, _) if *current == epoch && *next == number => Arrived::default(),
                _ => self.missed(epoch),
            },
            Kind::Lost => Arrived::default(),
        }
    }

    /// Whether an epoch is none that was heard, or given up.
    fn is_new(&self, epoch: u32) -> bool {
        let before = match self.heard {
            Heard::After(before) => before,
            Heard::Until(current, ..) => Some(current),
        };
        // An epoch comes after those of the half circle before it.
        before.is_none_or(|before| epoch != before && epoch.wrapping_sub(before) < 1 << 31)
    }

    /// Something of `epoch` is missing. What is left of older epochs is not worth a word.
    fn missed(&mut self, epoch: u32) -> Arrived {
        let is_current = matches!(self.heard, Heard::Until(current, ..) if current == epoch);
        let is_given_up = matches!(self.heard, Heard::After(Some(before)) if before == epoch);
        if !is_current && !is_given_up && !self.is_new(epoch) {
            return Arrived::default();
        }
        let left = matches!(self.heard, Heard::Until(..));
        self.heard = Heard::After(Some(epoch));
        Arrived { left, lost: Some(epoch), ..Arrived::default() }
    }

    /// Reads the frames of a packet that is the next one.
    fn read(&mut self, epoch: u32, mut frames: Bytes, arrived: &mut Arrived) {
        while !frames.is_empty() {
            let whole = Frame::take(&mut frames).map(|frame| self.join(frame));
            match whole {
                Some(Ok(Some(whole))) => arrived.frames.push(whole),
                Some(Ok(None)) => {}
                Some(Err(Torn)) | None => {
                    let missed = self.missed(epoch);
                    (arrived.left, arrived.lost) = (arrived.left || missed.left, missed.lost);
                    return;
                }
            }
        }
    }

    /// Joins the pieces of a frame.
    fn join(&mut self, frame: Frame) -> Result<Option<(What, u64, Bytes)>, Torn> {
        let Heard::Until(_, _, begun) = &mut self.heard else { return Err(Torn) };
        let Frame { what, id, more, content } = frame;
        let whole = match begun.take() {
            None if !more => return Ok(Some((what, id, content))),
            None => Piece { what, id, content: content.into() },
            Some(piece) if (piece.what, piece.id) != (what, id) => return Err(Torn),
            Some(mut piece) => {
                if piece.content.len() + content.len() > LARGEST {
                    return Err(Torn);
                }
                piece.content.extend_from_slice(&content);
                piece
            }
        };
        if more {
            *begun = Some(whole);
            return Ok(None);
        }
        Ok(Some((what, id, whole.content.freeze())))
    }
}

/// Pieces that do not belong together, or are too large.
struct Torn;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 100;

    fn sent(pair: &mut Pair, contents: &[&[u8]]) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = pair.open().into_iter().collect();
        for (id, content) in contents.iter().enumerate() {
            kinds.extend(pair.put(What::Notice, id as u64, Bytes::copy_from_slice(content), MOST));
        }
        kinds.extend(pair.flush());
        kinds
    }

    fn contents(arrived: Arrived) -> Vec<Vec<u8>> {
        arrived.frames.into_iter().map(|(_, _, content)| content.to_vec()).collect()
    }

    #[test]
    fn what_is_larger_than_a_packet_goes_in_pieces_and_comes_whole() {
        let (mut here, mut there) = (Pair::new(1, 0), Pair::new(2, 0));
        let large = vec![7; 10 * MOST];
        let kinds = sent(&mut here, &[b"first", &large, b"", b"last"]);
        assert!(kinds.len() > 10);
        let came: Vec<_> = kinds.into_iter().flat_map(|kind| contents(there.arrived(0, kind))).collect();
        assert_eq!(came, [b"first".to_vec(), large, Vec::new(), b"last".to_vec()]);
    }

    #[test]
    fn a_gap_ends_the_epoch_and_the_next_one_begins_anew() {
        let (mut here, mut there) = (Pair::new(1, 0), Pair::new(2, 0));
        let mut first: Vec<Kind> =
            ["a", "b", "c"].iter().flat_map(|text| sent(&mut here, &[text.as_bytes()])).collect();
        assert!(there.arrived(0, first.remove(0)).joined);
        // The packet after it is lost.
        first.remove(0);
        let gap = there.arrived(0, first.remove(0));
        assert_eq!(gap, Arrived { left: true, lost: Some(0), ..Arrived::default() });
        // Said again as long as it goes on, as the word of it may be lost too; it has left already.
        let again = there.arrived(0, first.remove(0));
        assert_eq!(again, Arrived { lost: Some(0), ..Arrived::default() });
        assert!(here.has_lost(0));
        here.begin_anew(1);
        assert!(!here.has_lost(0));
        let next = there.arrived(1, sent(&mut here, &[b"d"]).remove(0));
        assert!(next.joined && !next.left);
        // What is late of an epoch that is over is nothing.
        assert_eq!(there.arrived(0, Kind::Beat(9)), Arrived::default());
    }

    #[test]
    fn the_loss_of_a_last_packet_is_noticed_by_the_next_beat() {
        let (mut here, mut there) = (Pair::new(1, 0), Pair::new(2, 0));
        there.arrived(0, sent(&mut here, &[]).remove(0));
        assert_eq!(there.arrived(0, here.beat()), Arrived::default());
        sent(&mut here, &[b"lost"]);
        assert_eq!(there.arrived(0, here.beat()).lost, Some(0));
    }

    #[test]
    fn who_begins_in_the_middle_asks_for_a_beginning() {
        let mut there = Pair::new(2, 0);
        assert_eq!(there.arrived(4, Kind::Beat(3)).lost, Some(4));
        assert!(there.arrived(5, Kind::Data(0, Bytes::new())).joined);
    }

    #[test]
    fn a_new_epoch_of_one_who_was_heard_means_that_it_left_and_came() {
        let mut there = Pair::new(2, 0);
        there.arrived(0, Kind::Data(0, Bytes::new()));
        let again = there.arrived(1, Kind::Data(0, Bytes::new()));
        assert!(again.left && again.joined);
    }

    #[test]
    fn frames_that_are_none_end_the_epoch() {
        let mut there = Pair::new(2, 0);
        let arrived = there.arrived(0, Kind::Data(0, Bytes::from_static(b"these are no frames at all")));
        assert_eq!((arrived.frames.len(), arrived.left, arrived.lost), (0, true, Some(0)));
    }

    proptest! {
        /// Whatever is lost: what arrives of an epoch is what was sent in it, from its beginning, with nothing left out.
        #[test]
        fn what_arrives_is_a_beginning_of_what_was_sent(
            sizes in proptest::collection::vec(0..300usize, 1..30),
            lost in proptest::collection::vec(any::<bool>(), 200),
        ) {
            let (mut here, mut there) = (Pair::new(1, 0), Pair::new(2, 0));
            let (mut told, mut came, mut losses) = (Vec::new(), Vec::new(), lost.into_iter());
            for (n, size) in sizes.into_iter().enumerate() {
                let content = vec![n as u8; size];
                told.push(content.clone());
                for kind in sent(&mut here, &[&content]) {
                    if !losses.next().unwrap_or_default() {
                        let epoch = here.epoch();
                        came.extend(contents(there.arrived(epoch, kind)));
                    }
                }
            }
            prop_assert!(told.starts_with(&came));
        }
    }
}
