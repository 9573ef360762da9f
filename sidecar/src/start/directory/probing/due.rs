//! Whose endpoint is asked next: who came last first, then who was asked longest ago, so that what is new does not wait for all others.
//! None is asked twice at once. Pure: no task, and time comes in.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// A central system, by its folded id, and its endpoint.
pub(super) type Target = (String, String);

/// Who is there, who is asked, and who was.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// By their ids: endpoints, and with which look they came.
    there: HashMap<String, (String, u64)>,
    /// When those of them were asked that were.
    asked: HashMap<String, Instant>,
    asking: HashSet<Target>,
    waiting: VecDeque<Target>,
    looks: u64,
}

impl Due {
    /// Takes in who is there `now`. What was found less than `period` ago holds.
    pub(super) fn look(&mut self, there: Vec<Target>, now: Instant, period: Duration) {
        self.looks += 1;
        let (looks, before) = (self.looks, std::mem::take(&mut self.there));
        for (id, endpoint) in there {
            let came = before.get(&id).filter(|(old, _)| *old == endpoint).map_or(looks, |(_, came)| *came);
            self.there.insert(id, (endpoint, came));
        }
        let there = &self.there;
        // Another endpoint is one that nobody asked yet.
        self.asked.retain(|id, _| there.get(id).is_some_and(|(_, came)| *came < looks));
        let due = there.iter().filter_map(|(id, (endpoint, came))| {
            let asked = self.asked.get(id).copied();
            let target = (id.clone(), endpoint.clone());
            let holds = asked.is_some_and(|at| now.saturating_duration_since(at) < period);
            (!holds && !self.asking.contains(&target)).then_some((asked, Reverse(*came), target))
        });
        let mut due: Vec<_> = due.collect();
        due.sort_unstable();
        self.waiting = due.into_iter().map(|(_, _, target)| target).collect();
    }

    /// Who is asked next, from now on.
    pub(super) fn next(&mut self) -> Option<Target> {
        let target = self.waiting.pop_front()?;
        self.asking.insert(target.clone());
        Some(target)
    }

    /// Somebody was asked. Whether that says something: of an endpoint that is its central system's no longer it does not.
    pub(super) fn answered(&mut self, target: &Target, now: Instant) -> bool {
        self.asking.remove(target);
        let (id, endpoint) = target;
        let counts = self.there.get(id).is_some_and(|(own, _)| own == endpoint);
        if counts {
            self.asked.insert(id.clone(), now);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(60);

    fn targets(those: &[&str]) -> Vec<Target> {
        those.iter().map(|id| ((*id).to_owned(), format!("{}:1", id.to_lowercase()))).collect()
    }

    fn next(due: &mut Due, most: usize) -> Vec<Target> {
        (0..most).map_while(|_| due.next()).collect()
    }

    #[test]
    fn who_came_last_is_asked_first_and_then_who_was_asked_longest_ago() {
        let (start, mut due) = (Instant::now(), Due::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        due.look(targets(&["b", "a", "c"]), at(0), PERIOD);
        assert_eq!(next(&mut due, 1), targets(&["a"]));
        due.look(targets(&["b", "a", "c", "d"]), at(5), PERIOD);
        assert_eq!(next(&mut due, 9), targets(&["d", "b", "c"]), "a is being asked");
        for (seconds, id) in [(6, "c"), (7, "d"), (8, "a"), (9, "b")] {
            assert!(due.answered(&targets(&[id])[0], at(seconds)), "{id}");
        }
        due.look(targets(&["a", "b", "c", "d"]), at(65), PERIOD);
        assert!(next(&mut due, 9).is_empty(), "what was found holds");
        due.look(targets(&["a", "b", "c", "d", "e"]), at(68), PERIOD);
        assert_eq!(next(&mut due, 9), targets(&["e", "c", "d", "a"]));
    }

    #[test]
    fn what_is_found_of_another_endpoint_says_nothing() {
        let (now, mut due) = (Instant::now(), Due::default());
        due.look(targets(&["a", "b"]), now, PERIOD);
        let both = next(&mut due, 9);
        let moved = ("a".to_owned(), "elsewhere:2".to_owned());
        due.look(vec![moved.clone()], now, PERIOD);
        assert_eq!(due.next().as_ref(), Some(&moved), "it is asked beside the old one");
        assert!(!due.answered(&both[0], now) && !due.answered(&both[1], now), "one moved, and one is gone");
        assert!(due.answered(&moved, now));
        due.look(targets(&["a"]), now, PERIOD);
        assert_eq!(next(&mut due, 9), targets(&["a"]), "it moved back");
    }
}
