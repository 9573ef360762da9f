//! All links of one gateway, and the questions that are open on them. Pure: what is to be sent is taken out ([`Exchange::take`]),
//! what arrives goes to an [`Inward`].

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    packet::{HEAD, Kind, Packet, What},
    pair::Pair,
};
use crate::fabric::Inward;

/// Questions of one packet that are answered: as many as a room has under way at most. Answers are larger than questions, and are
/// all there before the first one is sent.
const MOST_QUESTIONS: usize = 1024;

/// All links of one gateway.
#[derive(Debug)]
pub(crate) struct Exchange {
    number: u16,
    life: u64,
    /// Bytes of frames that a packet has at most.
    most: usize,
    /// The next epoch of whichever link: one that was forgotten and comes again does not begin with one that was heard.
    epoch: u32,
    pairs: BTreeMap<u16, Link>,
    /// Questions without an answer: whom they went to, and who waits.
    open: HashMap<u64, (u16, oneshot::Sender<Bytes>)>,
    asked: u64,
    out: Vec<Sent>,
}

#[derive(Debug)]
struct Link {
    pair: Pair,
    /// The rooms know that it is heard.
    is_joined: bool,
}

/// A packet for another gateway.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// Its life.
    pub(crate) life: u64,
    /// The packet.
    pub(crate) packet: Bytes,
}

impl Exchange {
    /// The links of the gateway `number` in this life. The carrier takes messages of `largest` bytes.
    pub(crate) fn new(number: u16, life: u64, largest: usize) -> Self {
        let most = largest.saturating_sub(HEAD);
        Self { number, life, most, epoch: 0, pairs: BTreeMap::new(), open: HashMap::new(), asked: 0, out: Vec::new() }
    }

    /// A gateway is there.
    pub(crate) fn came(&mut self, number: u16, life: u64) {
        let mut pair = Pair::new(life, self.next_epoch());
        let opening = pair.open();
        self.pairs.insert(number, Link { pair, is_joined: false });
        self.send(number, opening);
    }

    /// A gateway is no more.
    pub(crate) fn went(&mut self, number: u16, inward: &dyn Inward) {
        self.forget_questions(number);
        if self.pairs.remove(&number).is_some_and(|link| link.is_joined) {
            inward.left(number);
        }
    }

    /// Asks a gateway; `answer` is dropped where none will come.
    pub(crate) fn ask(&mut self, number: u16, question: Bytes, answer: oneshot::Sender<Bytes>) {
        let Some(link) = self.pairs.get_mut(&number) else { return };
        // Who has gone away in time is no reason to ask.
        if answer.is_closed() {
            return;
        }
        let id = self.asked;
        self.asked += 1;
        let full = link.pair.put(What::Question, id, question, self.most);
        self.open.insert(id, (number, answer));
        self.send(number, full);
    }

    /// Tells a gateway something.
    pub(crate) fn tell(&mut self, number: u16, notice: Bytes) {
        self.put(number, What::Notice, 0, notice);
    }

    /// A packet has come.
    pub(crate) fn heard(&mut self, packet: Packet, inward: &dyn Inward) {
        let Packet { from, life, epoch, kind } = packet;
        let Some(link) = self.pairs.get_mut(&from).filter(|link| link.pair.life == life) else { return };
        if kind == Kind::Lost {
            if link.pair.has_lost(epoch) {
                self.begin_anew(from, inward);
            }
            return;
        }
        let arrived = link.pair.arrived(epoch, kind);
        if arrived.joined {
            self.leave(from, inward);
            self.join(from, inward);
        }
        let mut questions = 0;
        for (what, id, content) in arrived.frames {
            match what {
                What::Notice => inward.told(from, content),
                What::Question if questions == MOST_QUESTIONS => {}
                What::Question => {
                    questions += 1;
                    let answer = inward.asked(from, content);
                    self.put(from, What::Answer, id, answer);
                }
                What::Answer => {
                    // Whom it was put to answers it, and nobody else.
                    if let Entry::Occupied(open) = self.open.entry(id)
                        && open.get().0 == from
                    {
                        let (_, waits) = open.remove();
                        // Whoever asked may have gone away.
                        let _ = waits.send(content);
                    }
                }
            }
        }
        if let Some(lost) = arrived.lost {
            self.leave(from, inward);
            self.send_of(from, lost, Kind::Lost);
        }
    }

    /// Says to all which packet would come next, and forgets questions whose askers have gone.
    pub(crate) fn beat(&mut self) {
        let beats: Vec<_> = self.pairs.iter().map(|(number, link)| (*number, link.pair.beat())).collect();
        beats.into_iter().for_each(|(number, beat)| self.send(number, Some(beat)));
        self.open.retain(|_, (_, waits)| !waits.is_closed());
    }

    /// The carrier is away: nobody hears anything, and what was sent last may be lost.
    pub(crate) fn cut(&mut self, inward: &dyn Inward) {
        self.open.clear();
        self.out.clear();
        let all: Vec<u16> = self.pairs.keys().copied().collect();
        all.into_iter().for_each(|number| self.leave(number, inward));
    }

    /// Begins anew with all: the carrier was away, or let something fall.
    pub(crate) fn begin_anew_with_all(&mut self, inward: &dyn Inward) {
        let all: Vec<u16> = self.pairs.keys().copied().collect();
        all.into_iter().for_each(|number| self.begin_anew(number, inward));
    }

    /// Begins anew with one.
    pub(crate) fn begin_anew(&mut self, number: u16, inward: &dyn Inward) {
        let epoch = self.next_epoch();
        let Some(link) = self.pairs.get_mut(&number) else { return };
        link.pair.begin_anew(epoch);
        let (opening, is_heard) = (link.pair.open(), link.pair.is_heard());
        self.leave(number, inward);
        self.send(number, opening);
        if is_heard {
            self.join(number, inward);
        }
    }

    /// What is to be sent now, in order.
    pub(crate) fn take(&mut self) -> Vec<Sent> {
        let rest: Vec<_> = self.pairs.iter_mut().map(|(number, link)| (*number, link.pair.flush())).collect();
        rest.into_iter().for_each(|(number, kind)| self.send(number, kind));
        std::mem::take(&mut self.out)
    }

    fn put(&mut self, number: u16, what: What, id: u64, content: Bytes) {
        let Some(link) = self.pairs.get_mut(&number) else { return };
        let full = link.pair.put(what, id, content, self.most);
        self.send(number, full);
    }

    fn next_epoch(&mut self) -> u32 {
        let epoch = self.epoch;
        self.epoch = epoch.wrapping_add(1);
        epoch
    }

    fn join(&mut self, number: u16, inward: &dyn Inward) {
        if let Some(link) = self.pairs.get_mut(&number) {
            link.is_joined = true;
            inward.joined(number);
        }
    }

    fn leave(&mut self, number: u16, inward: &dyn Inward) {
        self.forget_questions(number);
        let was_joined = self.pairs.get_mut(&number).is_some_and(|link| std::mem::take(&mut link.is_joined));
        if was_joined {
            inward.left(number);
        }
    }

    fn forget_questions(&mut self, number: u16) {
        self.open.retain(|_, (to, _)| *to != number);
    }

    fn send(&mut self, number: u16, kinds: impl IntoIterator<Item = Kind>) {
        let Some(epoch) = self.pairs.get(&number).map(|link| link.pair.epoch()) else { return };
        kinds.into_iter().for_each(|kind| self.send_of(number, epoch, kind));
    }

    fn send_of(&mut self, number: u16, epoch: u32, kind: Kind) {
        let Some(link) = self.pairs.get(&number) else { return };
        let packet = Packet { from: self.number, life: self.life, epoch, kind };
        self.out.push(Sent { life: link.pair.life, packet: packet.write() });
    }
}

#[cfg(test)]
#[path = "exchange/tests.rs"]
mod tests;
