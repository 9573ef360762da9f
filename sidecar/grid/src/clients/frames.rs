//! Frames in order, on their way to one socket. Shared with other outboxes, as far as they are for others too.
//!
//! Most of the time a client has none, and next to that one: only several take memory beside the client's own.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};

/// Frames, the oldest first. Each is whole, but for the first, of which a part may have been written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Frames(Held);

#[derive(Debug, Default, PartialEq, Eq)]
enum Held {
    #[default]
    None,
    One(Bytes),
    Many(VecDeque<Bytes>),
}

impl Frames {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Held::None => 0,
            Held::One(_) => 1,
            Held::Many(all) => all.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, frame: Bytes) {
        self.0 = match std::mem::take(&mut self.0) {
            Held::None => Held::One(frame),
            Held::One(first) => Held::Many(VecDeque::from([first, frame])),
            Held::Many(mut all) => {
                all.push_back(frame);
                Held::Many(all)
            }
        };
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        let (one, many) = match &self.0 {
            Held::None => (None, None),
            Held::One(one) => (Some(one), None),
            Held::Many(all) => (None, Some(all)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Fills `slices` with the oldest of them; how many there are.
    pub(super) fn slices<'f>(&'f self, slices: &mut [IoSlice<'f>]) -> usize {
        slices.iter_mut().zip(self.iter()).map(|(slice, frame)| *slice = IoSlice::new(frame)).count()
    }

    /// So many bytes of them have been written.
    pub(super) fn advance(&mut self, mut bytes: usize) {
        match &mut self.0 {
            Held::None => {}
            Held::One(one) if bytes < one.len() => one.advance(bytes),
            Held::One(_) => self.0 = Held::None,
            Held::Many(all) => {
                while let Some(first) = all.front_mut() {
                    if bytes < first.len() {
                        return first.advance(bytes);
                    }
                    bytes -= first.len();
                    all.pop_front();
                }
                // An idle client holds no memory for it.
                self.0 = Held::None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(frames: &Frames) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 4];
        let count = frames.slices(&mut slices);
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn they_are_written_in_order_wherever_they_are_cut() {
        let texts: [&'static [u8]; 3] = [b"ab", b"cde", b"f"];
        for count in 0..=texts.len() {
            let whole = texts[..count].concat();
            for cut in 0..=whole.len() {
                let mut frames = Frames::default();
                texts[..count].iter().for_each(|text| frames.push(Bytes::from_static(text)));
                assert_eq!((frames.len(), written(&frames)), (count, whole.clone()));
                frames.advance(cut);
                assert_eq!((frames.is_empty(), written(&frames)), (cut == whole.len(), whole[cut..].to_vec()));
            }
        }
    }
}
