//! Where the copies of messages stand: which are written in which estate, which are on their way, and which are lacking. Pure.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Bound::{Excluded, Unbounded},
};

use mesh_backplane::Place;

/// What a copy takes in a round beside its bytes, so that one of many small messages is bounded too.
const EACH: usize = 256;

/// One opening of an estate: one that is lost and won again is another.
pub(super) type Opening = u64;

/// All copies of this gateway's messages, by their names.
#[derive(Debug, Default)]
pub(super) struct Stands {
    all: HashMap<u64, Copied>,
    /// Those that are lacking.
    lacking: BTreeSet<u64>,
    /// The last that a round tried to have written.
    tried: u64,
    open: HashMap<Opening, Estate>,
    /// Where new ones are written.
    own: Option<Opening>,
    written: usize,
}

#[derive(Clone, Copy, Debug)]
struct Copied {
    bytes: usize,
    stand: Stand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// It is in memory alone.
    Lacking,
    OnWay,
    Written(Opening, Place),
}

#[derive(Debug, Default)]
struct Estate {
    /// Copies that are needed.
    needed: usize,
    /// Those that are not any more, and are to be removed.
    over: Vec<Place>,
    /// As many are there still: those, and what is being removed.
    leaving: usize,
    /// Whether all that was in it is in the topics.
    is_taken_over: bool,
}

impl Stands {
    /// An estate is open. `is_own`: new copies are written there.
    pub(super) fn opens(&mut self, opening: Opening, is_own: bool) {
        self.open.insert(opening, Estate::default());
        if is_own {
            self.own = Some(opening);
        }
    }

    /// An estate that was not as it was left is open anew, with copies in it at these places. Those of ours that are not among them are
    /// lacking. Answers the places that nobody knows here.
    pub(super) fn opens_anew(
        &mut self,
        before: Opening,
        opening: Opening,
        mut places: HashSet<Place>,
    ) -> HashSet<Place> {
        let was = self.open.remove(&before).unwrap_or_default();
        self.opens(opening, self.own == Some(before));
        for name in self.names_in(before) {
            let Some(Copied { bytes, stand: Stand::Written(_, place) }) = self.all.get(&name).copied() else {
                continue;
            };
            let stand = if places.remove(&place) { Stand::Written(opening, place) } else { Stand::Lacking };
            self.set(name, bytes, stand);
        }
        let estate = self.open.entry(opening).or_default();
        was.over.into_iter().filter(|place| places.remove(place)).for_each(|place| estate.is_over(place));
        places
    }

    /// All that was in an estate is in the topics.
    pub(super) fn is_taken_over(&mut self, opening: Opening) {
        if let Some(estate) = self.open.get_mut(&opening) {
            estate.is_taken_over = true;
        }
    }

    /// Whether there is an estate for new copies.
    pub(super) fn has_own(&self) -> bool {
        self.own.is_some()
    }

    /// Whether new copies are written there.
    pub(super) fn is_own(&self, opening: Opening) -> bool {
        self.own == Some(opening)
    }

    /// A copy of so many bytes is wanted. Where it is to be written, if anywhere.
    pub(super) fn keeps(&mut self, name: u64, bytes: usize) -> Option<Opening> {
        let stand = if self.own.is_some() { Stand::OnWay } else { Stand::Lacking };
        self.set(name, bytes, stand);
        self.own
    }

    /// Whether a copy is needed still.
    pub(super) fn is_needed(&self, name: u64) -> bool {
        self.all.contains_key(&name)
    }

    /// A copy is written, or is not (`None`).
    pub(super) fn landed(&mut self, name: u64, opening: Opening, place: Option<Place>) {
        let bytes = self.all.get(&name).map(|copied| copied.bytes);
        match (place, bytes, self.open.get_mut(&opening)) {
            (Some(place), None, Some(estate)) => estate.is_over(place),
            (Some(place), Some(bytes), Some(_)) => self.set(name, bytes, Stand::Written(opening, place)),
            // What was written where another gateway is at work now is that one's, and is written again.
            (_, Some(bytes), _) => self.set(name, bytes, Stand::Lacking),
            _ => {}
        }
    }

    /// A message is in its topic that was in an estate.
    pub(super) fn adopted(&mut self, name: u64, bytes: usize, opening: Opening, place: Place) {
        let is_open = self.open.contains_key(&opening);
        self.set(name, bytes, if is_open { Stand::Written(opening, place) } else { Stand::Lacking });
    }

    /// A copy is not needed any more. Whether it is to be removed.
    pub(super) fn forgets(&mut self, name: u64) -> bool {
        let Some(Stand::Written(opening, place)) = self.unset(name) else { return false };
        let estate = self.open.get_mut(&opening);
        estate.is_some_and(|estate| {
            estate.is_over(place);
            true
        })
    }

    /// Takes all that is to be removed.
    pub(super) fn over(&mut self) -> Vec<(Opening, Vec<Place>)> {
        let all = self.open.iter_mut().filter(|(_, estate)| !estate.over.is_empty());
        all.map(|(opening, estate)| (*opening, std::mem::take(&mut estate.over))).collect()
    }

    /// So many were removed.
    pub(super) fn removed(&mut self, opening: Opening, copies: usize) {
        if let Some(estate) = self.open.get_mut(&opening) {
            estate.leaving -= copies;
        }
    }

    /// They were not removed.
    pub(super) fn stays(&mut self, opening: Opening, places: Vec<Place>) {
        if let Some(estate) = self.open.get_mut(&opening) {
            estate.over.extend(places);
        }
    }

    /// Estates of others in which there is nothing any more.
    pub(super) fn done(&self) -> Vec<Opening> {
        let is_done = |estate: &Estate| estate.is_taken_over && estate.needed == 0 && estate.leaving == 0;
        let done = self.open.iter().filter(|(opening, estate)| self.own != Some(**opening) && is_done(estate));
        done.map(|(opening, _)| *opening).collect()
    }

    /// An estate is another's now, or nobody's: the copies that were in it.
    pub(super) fn closes(&mut self, opening: Opening) -> HashSet<u64> {
        self.open.remove(&opening);
        if self.own == Some(opening) {
            self.own = None;
        }
        let names = self.names_in(opening);
        for name in &names {
            self.unset(*name);
        }
        names
    }

    /// An estate cannot be read any more: the copies that were in it are lacking.
    pub(super) fn abandons(&mut self, opening: Opening) {
        for name in self.names_in(opening) {
            let bytes = self.all.get(&name).map_or(0, |copied| copied.bytes);
            self.set(name, bytes, Stand::Lacking);
        }
        self.closes(opening);
    }

    /// How many copies are to be written, and are not on their way.
    pub(super) fn lacking(&self) -> usize {
        self.lacking.len()
    }

    /// The lacking copies that are tried next: those behind the ones of the round before, as many as `most` bytes hold, and at least one.
    pub(super) fn round(&mut self, most: usize) -> BTreeSet<u64> {
        let behind = self.lacking.range((Excluded(self.tried), Unbounded));
        let (mut bytes, mut round, mut last) = (0, BTreeSet::new(), self.tried);
        for name in behind.chain(self.lacking.range(..=self.tried)) {
            bytes += EACH + self.all.get(name).map_or(0, |copied| copied.bytes);
            if bytes > most && !round.is_empty() {
                break;
            }
            round.insert(*name);
            last = *name;
        }
        self.tried = last;
        round
    }

    /// Copies that are written, those among them that are to be removed.
    pub(super) fn written(&self) -> usize {
        self.written + self.leaving()
    }

    /// Copies that are to be removed.
    pub(super) fn leaving(&self) -> usize {
        self.open.values().map(|estate| estate.leaving).sum()
    }

    /// Messages that are in memory alone, for now.
    pub(super) fn unwritten(&self) -> usize {
        self.all.len() - self.written
    }

    fn names_in(&self, opening: Opening) -> HashSet<u64> {
        let is_there = |copied: &Copied| matches!(copied.stand, Stand::Written(at, _) if at == opening);
        self.all.iter().filter(|(_, copied)| is_there(copied)).map(|(name, _)| *name).collect()
    }

    fn set(&mut self, name: u64, bytes: usize, stand: Stand) {
        self.unset(name);
        match stand {
            Stand::Written(opening, _) => {
                self.written += 1;
                self.open.entry(opening).or_default().needed += 1;
            }
            Stand::Lacking => {
                self.lacking.insert(name);
            }
            Stand::OnWay => {}
        }
        self.all.insert(name, Copied { bytes, stand });
    }

    fn unset(&mut self, name: u64) -> Option<Stand> {
        let stand = self.all.remove(&name)?.stand;
        match stand {
            Stand::Written(opening, _) => {
                self.written -= 1;
                if let Some(estate) = self.open.get_mut(&opening) {
                    estate.needed -= 1;
                }
            }
            Stand::Lacking => {
                self.lacking.remove(&name);
            }
            Stand::OnWay => {}
        }
        Some(stand)
    }
}

impl Estate {
    fn is_over(&mut self, place: Place) {
        self.over.push(place);
        self.leaving += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(sequence: u64) -> Place {
        Place { sequence, index: 0 }
    }

    fn counts(stands: &Stands) -> (usize, usize) {
        (stands.written(), stands.unwritten())
    }

    #[test]
    fn a_copy_is_lacking_until_there_is_an_estate_and_is_removed_when_its_message_is_settled() {
        let mut stands = Stands::default();
        assert_eq!((stands.keeps(7, 10), stands.lacking(), counts(&stands)), (None, 1, (0, 1)));
        stands.opens(1, true);
        assert_eq!((stands.keeps(7, 10), stands.lacking(), counts(&stands)), (Some(1), 0, (0, 1)));
        stands.landed(7, 1, Some(place(3)));
        assert_eq!(counts(&stands), (1, 0));
        assert!(stands.forgets(7) && !stands.forgets(7));
        assert_eq!((stands.over(), stands.over(), counts(&stands)), (vec![(1, vec![place(3)])], vec![], (1, 0)));
        stands.stays(1, vec![place(3)]);
        assert_eq!(stands.over(), [(1, vec![place(3)])]);
        stands.removed(1, 1);
        assert_eq!(counts(&stands), (0, 0));
        assert!(stands.done().is_empty(), "it is where new ones are written");
    }

    #[test]
    fn what_is_settled_on_its_way_is_removed_when_it_lands_and_what_does_not_land_is_lacking() {
        let mut stands = Stands::default();
        stands.opens(1, true);
        for name in 7..=9 {
            stands.keeps(name, 10);
        }
        assert!(!stands.forgets(7) && !stands.is_needed(7) && stands.is_needed(8));
        stands.landed(7, 1, Some(place(1)));
        stands.landed(8, 1, None);
        assert_eq!((stands.over(), stands.round(0), counts(&stands)), (vec![(1, vec![place(1)])], [8].into(), (1, 2)));
        assert!(!stands.forgets(8));
        assert_eq!(stands.closes(1), [].into());
        stands.landed(9, 1, Some(place(2)));
        assert_eq!((stands.lacking(), stands.round(0)), (1, [9].into()), "another gateway has that estate now");
        assert!(!stands.has_own());
    }

    #[test]
    fn an_estate_of_another_is_given_back_when_all_of_it_is_settled_and_not_while_it_is_being_read() {
        let mut stands = Stands::default();
        stands.opens(2, false);
        stands.adopted(7, 10, 2, place(1));
        assert!(stands.forgets(7));
        stands.over();
        stands.removed(2, 1);
        assert!(stands.done().is_empty(), "there may be more in it");
        stands.adopted(8, 10, 2, place(2));
        stands.is_taken_over(2);
        assert!(stands.done().is_empty());
        assert!(stands.forgets(8));
        assert!(stands.done().is_empty(), "it is to be removed first");
        stands.over();
        assert!(stands.done().is_empty());
        stands.removed(2, 1);
        assert_eq!(stands.done(), [2]);
    }

    #[test]
    fn what_was_in_an_estate_that_is_lost_is_anothers() {
        let mut stands = Stands::default();
        stands.opens(1, true);
        stands.opens(2, false);
        stands.adopted(7, 10, 2, place(1));
        stands.keeps(8, 10);
        stands.landed(8, 1, Some(place(2)));
        assert_eq!((stands.closes(2), counts(&stands)), ([7].into(), (1, 0)));
        assert!(!stands.forgets(7) && stands.has_own());
        stands.adopted(9, 10, 2, place(3));
        assert_eq!((stands.round(0), counts(&stands)), ([9].into(), (1, 1)), "it came too late");
    }

    #[test]
    fn what_is_not_in_an_estate_that_is_open_anew_is_lacking_and_what_is_in_it_stays_as_it_was() {
        let mut stands = Stands::default();
        stands.opens(1, true);
        for name in 1..=5 {
            stands.keeps(name, 10);
        }
        for name in 1..=4 {
            stands.landed(name, 1, Some(place(name)));
        }
        stands.forgets(3);
        stands.forgets(4);
        // The first one is there still, the third is to be removed, and the ninth is of nobody here.
        let unknown = stands.opens_anew(1, 2, [1, 3, 9].map(place).into());
        assert_eq!((unknown, stands.has_own()), ([place(9)].into(), true));
        assert_eq!((stands.lacking(), counts(&stands), stands.over()), (1, (2, 2), vec![(2, vec![place(3)])]));
        stands.landed(5, 1, None);
        assert_eq!(stands.round(1 << 20), [2, 5].into());
        assert!(stands.forgets(1));
        assert_eq!(stands.over(), [(2, vec![place(1)])]);
        stands.landed(2, 2, Some(place(12)));
        stands.abandons(2);
        assert_eq!((stands.round(1 << 20), counts(&stands), stands.has_own()), ([2, 5].into(), (0, 2), false));
    }

    #[test]
    fn a_round_has_as_many_as_its_bytes_hold_and_the_next_one_goes_on_behind_it() {
        let mut stands = Stands::default();
        for name in 1..=5 {
            stands.keeps(name, if name == 4 { 1 << 20 } else { 44 });
        }
        assert_eq!(stands.round(600), [1, 2].into());
        assert_eq!(stands.round(600), [3].into());
        assert_eq!(stands.round(600), [4].into(), "one is tried however large it is");
        assert_eq!(stands.round(600), [5, 1].into(), "those before come again");
        assert_eq!(stands.round(10 << 20), [1, 2, 3, 4, 5].into(), "each once");
        stands.forgets(1);
        assert_eq!((stands.lacking(), stands.round(600)), (4, [2, 3].into()));
    }
}
