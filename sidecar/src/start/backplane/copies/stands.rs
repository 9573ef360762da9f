//! Where the copies of messages stand: which are written in which estate, which are on their way, and which are lacking. Pure.

use std::collections::{HashMap, HashSet};

use mesh_backplane::Place;

/// One opening of an estate: one that is lost and won again is another.
pub(super) type Opening = u64;

/// All copies of this gateway's messages, by their names.
#[derive(Debug, Default)]
pub(super) struct Stands {
    all: HashMap<u64, Stand>,
    open: HashMap<Opening, Estate>,
    /// Where new ones are written.
    own: Option<Opening>,
    written: usize,
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

    /// A copy is wanted. Where it is to be written, if anywhere.
    pub(super) fn keeps(&mut self, name: u64) -> Option<Opening> {
        let stand = if self.own.is_some() { Stand::OnWay } else { Stand::Lacking };
        self.set(name, stand);
        self.own
    }

    /// Whether a copy is needed still.
    pub(super) fn is_needed(&self, name: u64) -> bool {
        self.all.contains_key(&name)
    }

    /// A copy is written, or is not (`None`).
    pub(super) fn landed(&mut self, name: u64, opening: Opening, place: Option<Place>) {
        let is_needed = self.all.contains_key(&name);
        match (place, self.open.get_mut(&opening)) {
            (Some(place), Some(estate)) if !is_needed => estate.is_over(place),
            (Some(place), Some(_)) => self.set(name, Stand::Written(opening, place)),
            // What was written where another gateway is at work now is that one's, and is written again.
            _ if is_needed => self.set(name, Stand::Lacking),
            _ => {}
        }
    }

    /// A message is in its topic that was in an estate.
    pub(super) fn adopted(&mut self, name: u64, opening: Opening, place: Place) {
        let is_open = self.open.contains_key(&opening);
        self.set(name, if is_open { Stand::Written(opening, place) } else { Stand::Lacking });
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
        let is_there = |stand: &Stand| matches!(stand, Stand::Written(at, _) if *at == opening);
        let gone: HashSet<u64> = self.all.extract_if(|_, stand| is_there(stand)).map(|(name, _)| name).collect();
        self.written -= gone.len();
        gone
    }

    /// Copies that are to be written, and are not on their way.
    pub(super) fn lacking(&self) -> HashSet<u64> {
        self.all.iter().filter(|(_, stand)| **stand == Stand::Lacking).map(|(name, _)| *name).collect()
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

    fn set(&mut self, name: u64, stand: Stand) {
        self.unset(name);
        if let Stand::Written(opening, _) = stand {
            self.written += 1;
            self.open.entry(opening).or_default().needed += 1;
        }
        self.all.insert(name, stand);
    }

    fn unset(&mut self, name: u64) -> Option<Stand> {
        let stand = self.all.remove(&name)?;
        if let Stand::Written(opening, _) = stand {
            self.written -= 1;
            if let Some(estate) = self.open.get_mut(&opening) {
                estate.needed -= 1;
            }
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
        assert_eq!((stands.keeps(7), stands.lacking(), counts(&stands)), (None, [7].into(), (0, 1)));
        stands.opens(1, true);
        assert_eq!((stands.keeps(7), stands.lacking(), counts(&stands)), (Some(1), [].into(), (0, 1)));
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
            stands.keeps(name);
        }
        assert!(!stands.forgets(7) && !stands.is_needed(7) && stands.is_needed(8));
        stands.landed(7, 1, Some(place(1)));
        stands.landed(8, 1, None);
        assert_eq!((stands.over(), stands.lacking(), counts(&stands)), (vec![(1, vec![place(1)])], [8].into(), (1, 2)));
        assert!(!stands.forgets(8));
        assert_eq!(stands.closes(1), [].into());
        stands.landed(9, 1, Some(place(2)));
        assert_eq!(stands.lacking(), [9].into(), "another gateway has that estate now");
        assert!(!stands.has_own());
    }

    #[test]
    fn an_estate_of_another_is_given_back_when_all_of_it_is_settled_and_not_while_it_is_being_read() {
        let mut stands = Stands::default();
        stands.opens(2, false);
        stands.adopted(7, 2, place(1));
        assert!(stands.forgets(7));
        stands.over();
        stands.removed(2, 1);
        assert!(stands.done().is_empty(), "there may be more in it");
        stands.adopted(8, 2, place(2));
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
        stands.adopted(7, 2, place(1));
        stands.keeps(8);
        stands.landed(8, 1, Some(place(2)));
        assert_eq!((stands.closes(2), counts(&stands)), ([7].into(), (1, 0)));
        assert!(!stands.forgets(7) && stands.has_own());
        stands.adopted(9, 2, place(3));
        assert_eq!((stands.lacking(), counts(&stands)), ([9].into(), (1, 1)), "it came too late");
    }
}
