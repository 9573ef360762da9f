//! When keys that stand at a URL are fetched: pure, time comes in. `remote.rs` fetches.
//!
//! Keys are used while they are fresh. When they are not, they are fetched again beside the handshakes that still use them, until
//! they are so old that an issuer may long have given one up. A token of an unknown key is a reason to look whether the issuer has
//! a new one, but not for everybody who makes a name up.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::keys::Keys;

/// How long keys are fresh where their server does not say it. Issuers announce a new key for longer than that.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// What a server may say: less would be a question for every handshake, more would keep a key that was given up.
const FRESH_AT_LEAST: Duration = Duration::from_secs(30);
const FRESH_AT_MOST: Duration = Duration::from_secs(60 * 60);
/// Keys that could not be fetched for so long count no more.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);
/// Questions for a key that is not known come no closer than that.
const UNKNOWN: Duration = Duration::from_secs(10);
/// Questions after one that failed come no closer than that.
const FAILED: Duration = Duration::from_secs(1);

/// What is known of a URL.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    keys: Option<Fetched>,
    /// When a question went out last.
    asked: Option<Instant>,
    is_asking: bool,
    has_failed: bool,
}

#[derive(Debug)]
struct Fetched {
    keys: Arc<Keys>,
    at: Instant,
    fresh_for: Duration,
}

/// What a handshake does.
#[derive(Debug)]
pub(super) enum Plan {
    /// It uses these.
    Use(Arc<Keys>),
    /// It uses these, and the keys are fetched beside it.
    UseAndAsk(Arc<Keys>),
    /// It waits for a question that it begins.
    Ask,
    /// It waits for a question that is out.
    Wait,
    /// There are no keys, and it is too early to ask again.
    None,
}

impl Rotation {
    /// What a handshake does whose token one of the keys may verify: `knows` says whether that is so.
    pub(super) fn plan(&mut self, knows: impl Fn(&Keys) -> bool, now: Instant) -> Plan {
        let fetched = self.keys.as_ref().filter(|fetched| now.duration_since(fetched.at) < OLD);
        let Some(fetched) = fetched else { return self.ask(FAILED, now, Plan::None) };
        let (keys, age) = (Arc::clone(&fetched.keys), now.duration_since(fetched.at));
        let fresh_for = fetched.fresh_for;
        if !knows(&keys) {
            return self.ask(UNKNOWN, now, Plan::Use(keys));
        }
        if age < fresh_for {
            return Plan::Use(keys);
        }
        match self.ask(FAILED, now, Plan::None) {
            Plan::Ask => Plan::UseAndAsk(keys),
            _ => Plan::Use(keys),
        }
    }

    /// A question where the last one is `pause` ago.
    fn ask(&mut self, pause: Duration, now: Instant, otherwise: Plan) -> Plan {
        if self.is_asking {
            return Plan::Wait;
        }
        let pause = if self.has_failed { FAILED } else { pause };
        if self.asked.is_some_and(|asked| now.duration_since(asked) < pause) {
            return otherwise;
        }
        (self.asked, self.is_asking) = (Some(now), true);
        Plan::Ask
    }

    /// A question was answered, with keys and how long their server says that they are fresh; or it failed.
    pub(super) fn answered(&mut self, keys: Option<(Keys, Option<Duration>)>, now: Instant) {
        (self.is_asking, self.has_failed) = (false, keys.is_none());
        if let Some((keys, fresh_for)) = keys {
            let fresh_for = fresh_for.unwrap_or(FRESH).clamp(FRESH_AT_LEAST, FRESH_AT_MOST);
            self.keys = Some(Fetched { keys: Arc::new(keys), at: now, fresh_for });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn name(plan: &Plan) -> &'static str {
        match plan {
            Plan::Use(_) => "use",
            Plan::UseAndAsk(_) => "use and ask",
            Plan::Ask => "ask",
            Plan::Wait => "wait",
            Plan::None => "none",
        }
    }

    #[test]
    fn keys_are_fetched_once_used_while_fresh_and_fetched_again_beside_their_use() {
        let (start, mut rotation) = (Instant::now(), Rotation::default());
        let plan = |rotation: &mut Rotation, seconds| name(&rotation.plan(|_| true, start + seconds * SECOND));
        assert_eq!([plan(&mut rotation, 0), plan(&mut rotation, 0)], ["ask", "wait"]);
        rotation.answered(Some((Keys::default(), None)), start);
        assert_eq!([plan(&mut rotation, 299), plan(&mut rotation, 300)], ["use", "use and ask"]);
        assert_eq!(plan(&mut rotation, 301), "use");
        rotation.answered(None, start + 301 * SECOND);
        assert_eq!([plan(&mut rotation, 302), plan(&mut rotation, 302)], ["use and ask", "use"]);
        rotation.answered(None, start + 303 * SECOND);
        assert_eq!(plan(&mut rotation, 24 * 60 * 60), "ask", "keys of yesterday count no more");
    }

    #[test]
    fn a_server_that_says_how_long_is_believed_within_bounds() {
        for (said, fresh_for) in [(0, 30), (60, 60), (u64::MAX, 3600)] {
            let (start, mut rotation) = (Instant::now(), Rotation::default());
            rotation.answered(Some((Keys::default(), Some(Duration::from_secs(said)))), start);
            assert_eq!(name(&rotation.plan(|_| true, start + (fresh_for - 1) * SECOND)), "use", "{said}");
            assert_eq!(name(&rotation.plan(|_| true, start + fresh_for * SECOND)), "use and ask", "{said}");
        }
    }

    #[test]
    fn a_key_that_is_not_known_is_asked_for_every_ten_seconds_at_most() {
        let (start, mut rotation) = (Instant::now(), Rotation::default());
        let plan = |rotation: &mut Rotation, seconds| name(&rotation.plan(|_| false, start + seconds * SECOND));
        assert_eq!(plan(&mut rotation, 0), "ask");
        rotation.answered(Some((Keys::default(), None)), start);
        assert_eq!([plan(&mut rotation, 1), plan(&mut rotation, 9), plan(&mut rotation, 10)], ["use", "use", "ask"]);
        assert_eq!(plan(&mut rotation, 11), "wait");
        rotation.answered(Some((Keys::default(), None)), start + 11 * SECOND);
        assert_eq!([plan(&mut rotation, 19), plan(&mut rotation, 20)], ["use", "ask"]);
    }

    #[test]
    fn without_any_key_a_server_that_fails_is_asked_every_second_at_most() {
        let (start, mut rotation) = (Instant::now(), Rotation::default());
        let plan = |rotation: &mut Rotation, ms| name(&rotation.plan(|_| true, start + Duration::from_millis(ms)));
        assert_eq!(plan(&mut rotation, 0), "ask");
        rotation.answered(None, start + SECOND / 10);
        assert_eq!(
            [plan(&mut rotation, 200), plan(&mut rotation, 999), plan(&mut rotation, 1000)],
            ["none", "none", "ask"]
        );
    }
}
