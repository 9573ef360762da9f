//! The ids of released sessions, refused for a while (PTP decision D8), and bounded in number.
//!
//! Where the bound is met the oldest goes early: a late caller of that session then opens a new one instead of hearing
//! `E0000000608`, which is the lesser evil beside memory without an end.

use std::collections::{HashMap, VecDeque};

use mesh_core::SessionId;
use tokio::time::Instant;

/// The ids of released sessions.
#[derive(Debug)]
pub(crate) struct Tombstones {
    until: HashMap<SessionId, Instant>,
    order: VecDeque<(Instant, SessionId)>,
    most: usize,
}

impl Tombstones {
    pub(crate) fn at_most(most: usize) -> Self {
        Self { until: HashMap::new(), order: VecDeque::new(), most }
    }

    /// Refuses `session` until `until`. The empty session is never refused.
    pub(crate) fn put(&mut self, session: &SessionId, until: Instant) {
        if session.is_empty() {
            return;
        }
        self.until.insert(session.clone(), until);
        self.order.push_back((until, session.clone()));
        while self.order.len() > self.most {
            self.drop_first();
        }
    }

    /// Whether `session` is refused at `now`.
    pub(crate) fn refuse(&self, session: &SessionId, now: Instant) -> bool {
        !self.until.is_empty() && self.until.get(session).is_some_and(|until| *until > now)
    }

    /// Forgets those whose time is over.
    pub(crate) fn sweep(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.drop_first();
        }
        if self.order.is_empty() {
            *self = Self::at_most(self.most);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.until.len()
    }

    /// A session that was released again meanwhile has a later entry and stays.
    fn drop_first(&mut self) {
        if let Some((until, session)) = self.order.pop_front()
            && self.until.get(&session) == Some(&until)
        {
            self.until.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn session(name: &str) -> SessionId {
        SessionId::new(name)
    }

    #[test]
    fn a_released_session_is_refused_until_its_time_is_over() {
        let (now, mut tombs) = (Instant::now(), Tombstones::at_most(10));
        tombs.put(&session("s1"), now + Duration::from_secs(5));
        assert!(tombs.refuse(&session("s1"), now) && !tombs.refuse(&session("s10"), now));
        assert!(!tombs.refuse(&session("s1"), now + Duration::from_secs(5)));
        tombs.sweep(now + Duration::from_secs(5));
        assert_eq!(tombs.len(), 0);
    }

    #[test]
    fn the_empty_session_is_never_refused() {
        let (now, mut tombs) = (Instant::now(), Tombstones::at_most(10));
        tombs.put(&session(""), now + Duration::from_secs(5));
        assert!(!tombs.refuse(&session(""), now));
    }

    #[test]
    fn the_oldest_goes_early_where_the_bound_is_met() {
        let (now, mut tombs) = (Instant::now(), Tombstones::at_most(2));
        for name in ["a", "b", "c"] {
            tombs.put(&session(name), now + Duration::from_secs(5));
        }
        assert_eq!(["a", "b", "c"].map(|name| tombs.refuse(&session(name), now)), [false, true, true]);
    }

    #[test]
    fn a_session_released_twice_keeps_the_later_time() {
        let (now, mut tombs) = (Instant::now(), Tombstones::at_most(10));
        tombs.put(&session("s"), now + Duration::from_secs(1));
        tombs.put(&session("s"), now + Duration::from_secs(9));
        tombs.sweep(now + Duration::from_secs(5));
        assert!(tombs.refuse(&session("s"), now + Duration::from_secs(5)));
    }
}
