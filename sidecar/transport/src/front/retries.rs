//! When a push that failed on its way to a partner is sent again (design section 6, "Across nodes"; PTP section 8.4).
//!
//! What surely did not arrive may go anywhere again. What may have arrived goes again only to our kind, with the same id and
//! to the same address, where it is remembered. Pure: time comes in as a value.

use std::time::Duration;

use http::HeaderMap;
use mesh_core::{Refusal, Retry};
use mesh_network::{Kind, Place, Slip, Went};
use tokio::time::Instant;

use crate::channels::LONGEST_RETRY;

/// The first pause before a push is sent again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause: a partner that comes back is found within a second.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Repeats that a partner gets beside one for every five first tries, in a second and at once: enough for a restart of it to
/// go unnoticed, too few to keep it down.
const SPARE: f64 = 20.0;
/// What each first try adds: repeats stay below a fifth of the load.
const SHARE: f64 = 0.2;
/// Repeats that may be saved up.
const MOST_SAVED: f64 = 1000.0;

/// The tries of one push.
#[derive(Debug)]
pub(crate) struct Tries {
    ours: HeaderMap,
    /// It may have arrived here, and is remembered nowhere else.
    bound: Option<Place>,
    /// Why it may have arrived.
    open: Option<Refusal>,
    doubt: Doubt,
    pause: Duration,
    until: Instant,
}

/// What a push that may have arrived may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Go again to our kind, which remembers it.
    Repeat,
    /// Nothing: who remembers it is not known here.
    End,
}

/// The repeats that one partner may still get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    saved: f64,
    at: Instant,
}

impl Tries {
    /// The tries of a push with these headers for our kind, until its time is up.
    pub(crate) fn new(ours: HeaderMap, until: Instant, doubt: Doubt) -> Self {
        Self { ours, bound: None, open: None, doubt, pause: FIRST_PAUSE, until }
    }

    /// What goes with the next try.
    pub(crate) fn slip(&self) -> Slip {
        Slip::repeated(self.ours.clone(), self.bound.clone())
    }

    /// After which pause a failed try is followed by the next.
    ///
    /// # Errors
    /// What the caller hears where it is the last: that it may have arrived weighs more than what was in the way later.
    pub(crate) fn again(&mut self, refusal: Refusal, went: Option<Went>, now: Instant) -> Result<Duration, Refusal> {
        let may_go_on = match (refusal.retry, went) {
            (Retry::Safe, _) => true,
            (Retry::Unknown, Some(Went { place, kind: Kind::Ours })) if self.doubt == Doubt::Repeat => {
                if self.bound.is_none() {
                    // The receiver remembers the push for as long as this and no longer.
                    self.until = self.until.min(now + LONGEST_RETRY);
                }
                self.bound = Some(place);
                true
            }
            (Retry::Unknown | Retry::Useless, _) => false,
        };
        if refusal.retry == Retry::Unknown {
            self.open = Some(refusal.clone());
        }
        let pause = self.pause;
        if !may_go_on || now + pause >= self.until {
            return Err(self.open.take().unwrap_or(refusal));
        }
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Ok(pause)
    }
}

impl Tries {
    /// Somebody else of our kind is asked next, who knows the push by its id for this long and no longer.
    pub(crate) fn is_remembered_for_a_while(&mut self, now: Instant) {
        self.until = self.until.min(now + LONGEST_RETRY);
    }

    /// Whether another process may go on with the push, under the same id. `went`: where the try under way has gone; `addresses`:
    /// how many the partner has. What may have arrived is known by its id at the one address of a partner of our kind.
    pub(crate) fn may_move(&self, went: Option<Went>, addresses: usize) -> bool {
        let is_known = |kind: Kind| kind == Kind::Ours && addresses == 1;
        went.is_none_or(|went| is_known(went.kind)) && (self.open.is_none() || is_known(Kind::Ours))
    }
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { saved: SPARE, at: now }
    }

    /// A push is tried for the first time.
    pub(crate) fn first(&mut self) {
        self.saved = (self.saved + SHARE).min(MOST_SAVED);
    }

    /// Takes a repeat; answers how long it must wait for its turn.
    pub(crate) fn repeat(&mut self, now: Instant) -> Duration {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        if self.saved < SPARE {
            self.saved = (self.saved + elapsed * SPARE).min(SPARE);
        }
        self.saved -= 1.0;
        if self.saved >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.saved / SPARE) }
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::{Code, Fault};

    use super::*;

    fn refusal(retry: Retry) -> Refusal {
        Refusal { code: Code::UNREACHABLE, message: format!("{retry:?}"), fault: Fault::Peer, retry }
    }

    fn went(place: &str, kind: Kind) -> Option<Went> {
        Some(Went { place: Place::new(place), kind })
    }

    fn tries(now: Instant) -> Tries {
        Tries::new(HeaderMap::new(), now + Duration::from_secs(10), Doubt::Repeat)
    }

    #[test]
    fn only_our_kind_gets_again_what_may_have_arrived() {
        let now = Instant::now();
        let table = [
            (Retry::Safe, went("b", Kind::Other), true),
            (Retry::Safe, None, true),
            (Retry::Unknown, went("b", Kind::Ours), true),
            (Retry::Unknown, went("b", Kind::Other), false),
            (Retry::Unknown, None, false),
            (Retry::Useless, went("b", Kind::Ours), false),
        ];
        for (retry, went, again) in table {
            assert_eq!(tries(now).again(refusal(retry), went.clone(), now).is_ok(), again, "{retry:?} {went:?}");
        }
    }

    #[test]
    fn what_a_gateway_may_have_passed_on_does_not_go_again() {
        let now = Instant::now();
        for (doubt, again) in [(Doubt::Repeat, true), (Doubt::End, false)] {
            let mut tries = Tries::new(HeaderMap::new(), now + Duration::from_secs(10), doubt);
            assert_eq!(tries.again(refusal(Retry::Unknown), went("gw", Kind::Ours), now).is_ok(), again, "{doubt:?}");
        }
    }

    #[test]
    fn what_may_have_arrived_stays_with_its_address_and_its_doubt() {
        let (now, mut tries) = (Instant::now(), tries(Instant::now()));
        tries.again(refusal(Retry::Safe), None, now).unwrap();
        assert!(tries.slip().permits(&Place::new("c")), "nothing arrived: any address will do");
        tries.again(refusal(Retry::Unknown), went("b", Kind::Ours), now).unwrap();
        assert!(tries.slip().permits(&Place::new("b")) && !tries.slip().permits(&Place::new("c")));
        let last = tries.again(refusal(Retry::Safe), None, now + Duration::from_secs(10)).unwrap_err();
        assert_eq!(last.retry, Retry::Unknown, "it may have arrived at the first try");
    }

    #[test]
    fn what_may_have_arrived_moves_to_another_process_only_where_its_one_address_knows_it() {
        let now = Instant::now();
        let fresh = tries(now);
        assert!(fresh.may_move(None, 1) && fresh.may_move(None, 2), "nothing has left");
        assert!(fresh.may_move(went("b", Kind::Ours), 1), "it is remembered there");
        assert!(!fresh.may_move(went("b", Kind::Ours), 2), "another address knows nothing of it");
        assert!(!fresh.may_move(went("b", Kind::Other), 1), "others remember nothing");
        let mut open = tries(now);
        open.again(refusal(Retry::Unknown), went("b", Kind::Ours), now).unwrap();
        assert!(open.may_move(None, 1) && !open.may_move(None, 2));
    }

    #[test]
    fn pauses_grow_to_a_second_and_end_with_the_time() {
        let now = Instant::now();
        let mut tries = tries(now);
        let mut pauses = Vec::new();
        let mut at = now;
        while let Ok(pause) = tries.again(refusal(Retry::Safe), None, at) {
            pauses.push(pause.as_millis());
            at += pause;
        }
        assert_eq!(pauses[..7], [50, 100, 200, 400, 800, 1000, 1000]);
        assert!(at < now + Duration::from_secs(10) && at >= now + Duration::from_secs(8), "{:?}", at - now);
    }

    #[test]
    fn repeats_are_a_fifth_of_the_load_and_twenty_a_second() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let free = (0..100).filter(|_| budget.repeat(now).is_zero()).count();
        assert_eq!(free, 20);
        assert_eq!(budget.repeat(now), Duration::from_secs_f64(81.0 / 20.0), "the others wait for their turn");
        let mut budget = Budget::new(now);
        (0..500).for_each(|_| budget.first());
        assert_eq!((0..500).filter(|_| budget.repeat(now).is_zero()).count(), 120);
    }
}
