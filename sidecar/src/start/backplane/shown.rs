//! How it stands with the backplane, for people and probes. Pure: the time comes in.

use std::time::{Duration, Instant};

use crds::{BackplaneState, BackplaneStatus};
use mesh_backplane::Standing;

/// So long a gateway is ready without the servers: they are started anew one by one in that time, and all gateways lose them together.
const GRACE: Duration = Duration::from_secs(30);

/// Why no call should come here.
pub(super) fn unready(standing: &Standing, now: Instant, now_ms: u64) -> Option<String> {
    if standing.is_fenced {
        return Some("another gateway has the number of this one, which ends".into());
    }
    let away = standing.away_since.map(|since| now.saturating_duration_since(since));
    if let Some(away) = away.filter(|away| *away >= GRACE) {
        return Some(format!("the backplane is away for {} s: other gateways cannot be reached", away.as_secs()));
    }
    (standing.ids_until <= now_ms).then(|| "JetStream does not renew this gateway's lease: no client gets an id".into())
}

/// How it stands once it was joined, under a number and with so many others. `is_same`: the configuration has not changed since.
pub(super) fn status(standing: &Standing, (number, others): (u16, usize), is_same: bool) -> BackplaneStatus {
    let (state, problem) = if standing.is_fenced {
        (BackplaneState::Fenced, "another gateway has its number: it was away for too long, and ends")
    } else if standing.away_since.is_some() {
        (BackplaneState::Away, "the servers of NATS are away: other gateways cannot be reached")
    } else if is_same {
        (BackplaneState::Joined, "")
    } else {
        (BackplaneState::Joined, "its settings have changed: this gateway takes them up when it is started again")
    };
    let others = u16::try_from(others).unwrap_or(u16::MAX);
    BackplaneStatus { state, number: Some(number), others, problem: problem.into() }
}

/// The same where it is not joined, and why; `None`: nobody waits for it.
pub(super) fn waiting(why: Option<String>) -> BackplaneStatus {
    let later = || "this gateway runs without it, and takes it up when it is started again".into();
    BackplaneStatus { problem: why.unwrap_or_else(later), ..BackplaneStatus::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_637_829_000_000;

    #[test]
    fn a_gateway_is_ready_for_half_a_minute_without_the_servers_and_not_at_all_without_its_number() {
        let now = Instant::now();
        let joined = Standing { ids_until: NOW + 1, away_since: None, is_fenced: false };
        assert_eq!(unready(&joined, now, NOW), None);
        let away = Standing { away_since: Some(now), ..joined };
        assert_eq!(unready(&away, now + GRACE - Duration::from_millis(1), NOW), None);
        assert!(unready(&away, now + GRACE, NOW).unwrap().starts_with("the backplane is away for 30 s"));
        assert!(unready(&joined, now, NOW + 1).unwrap().starts_with("JetStream"));
        let fenced = Standing { is_fenced: true, ..joined };
        assert!(unready(&fenced, now, NOW).unwrap().contains("number"));
    }

    #[test]
    fn what_is_shown_says_what_to_do() {
        let joined = Standing { ids_until: NOW, away_since: None, is_fenced: false };
        let shown = |standing: &Standing, is_same| {
            let shown = status(standing, (7, 2), is_same);
            assert_eq!((shown.number, shown.others), (Some(7), 2));
            (shown.state, shown.problem.is_empty())
        };
        assert_eq!(shown(&joined, true), (BackplaneState::Joined, true));
        assert_eq!(shown(&joined, false), (BackplaneState::Joined, false));
        let away = Standing { away_since: Some(Instant::now()), ..joined };
        assert_eq!(shown(&away, true), (BackplaneState::Away, false));
        assert_eq!(shown(&Standing { is_fenced: true, ..away }, true), (BackplaneState::Fenced, false));
        let waiting = [waiting(Some("refused".into())), waiting(None)];
        assert!(waiting.iter().all(|one| one.state == BackplaneState::Waiting && one.number.is_none()));
        assert_eq!(waiting[0].problem, "refused");
    }
}
