//! Lines of the log that others can bring about as often as they like: each of them is said once a minute, with how often it was not.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// What a line is not said again within.
const PERIOD: Duration = Duration::from_secs(60);

/// Lines that are told apart; beyond, all that are new count as one.
const MOST: usize = 64;

/// What the lines are called that are not told apart.
pub(crate) const OTHERS: &str = "others";

/// A line that is to be said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// How often it came since it was said last, this time with it.
    pub(crate) times: u64,
    /// Whether that is how often any came that are not told apart: it is not this one's alone.
    pub(crate) is_of_others: bool,
}

/// Which lines were said when, and how often they were not since.
#[derive(Debug)]
pub(crate) struct Seldom(Mutex<BTreeMap<String, (Instant, u64)>>);

impl Seldom {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Whether `line` is to be said now.
    pub(crate) fn due(&self, line: &str, now: Instant) -> Option<Due> {
        let mut said = self.0.lock();
        let is_old = |since: Instant| now.saturating_duration_since(since) >= PERIOD;
        if said.len() >= MOST {
            said.retain(|_, (since, _)| !is_old(*since));
        }
        let is_of_others = said.len() >= MOST && !said.contains_key(line);
        let line = if is_of_others { OTHERS } else { line };
        let (since, kept) = said.entry(line.to_owned()).or_insert((now, 0));
        if *kept > 0 && !is_old(*since) {
            *kept = kept.saturating_add(1);
            return None;
        }
        // The first of a line is said at once; `kept` counts it, so that the next is not.
        let times = kept.max(&mut 1).to_owned();
        (*since, *kept) = (now, 1);
        Some(Due { times, is_of_others })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_said_once_a_minute_with_how_often_it_was_not() {
        let (seldom, begun) = (Seldom::new(), Instant::now());
        let said = |line: &str, second: u64| seldom.due(line, begun + Duration::from_secs(second)).map(|due| due.times);
        let all: Vec<u64> = (0..1000).filter_map(|_| said("a", 0)).collect();
        assert_eq!(all, [1]);
        assert_eq!((said("b", 0), said("a", 59)), (Some(1), None), "each line by itself");
        assert_eq!((said("a", 60), said("a", 61)), (Some(1001), None));
        assert_eq!(said("a", 600), Some(2));
    }

    #[test]
    fn as_many_lines_as_somebody_thinks_of_take_no_more_room() {
        let (seldom, begun) = (Seldom::new(), Instant::now());
        let all: Vec<Due> = (0..1000).filter_map(|n| seldom.due(&n.to_string(), begun)).collect();
        assert_eq!((all.len(), seldom.0.lock().len()), (MOST + 1, MOST + 1));
        let of_others = |due: &Due| due.is_of_others;
        assert_eq!(all.iter().position(of_others), Some(MOST), "nobody is blamed for what others did");
        assert!(seldom.due("new", begun + PERIOD).is_some() && seldom.0.lock().len() <= MOST);
    }
}
