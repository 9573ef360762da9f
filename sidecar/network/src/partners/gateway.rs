//! What a sidecar's calls do while its gateway is away: they wait, as long as surely nothing of them arrived there (design
//! section 5).
//!
//! The gateway is a process that starts anew within seconds; whoever calls a sidecar has a deadline of his own, which ends the
//! wait. What has left may have arrived, and is the caller's business: pushes go again by their id, pops by their lease.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use mesh_core::Body;
use rand::Rng as _;
use tokio::time::{Instant, sleep_until};

use super::metrics::Metrics;
use crate::RouteError;

/// The first pause, and the longest: a gateway that is back is found within half a second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// What chance puts on or takes off a pause, so that those who were cut off together do not come back together.
const SPREAD: f64 = 0.25;
/// No call waits longer for a connection, however long its answer may take: a pop's default (PTP section 9.3).
const LONGEST: Duration = Duration::from_secs(120);

/// Says how long the call may take; less is left of it after a wait.
const TIMEOUT: HeaderName = HeaderName::from_static("x-ptp-timeout");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Put among the extensions of a request: until when it may wait for its gateway, where that is less than its answer may take.
#[derive(Clone, Copy, Debug)]
pub struct WaitUntil(pub Instant);

/// One call's wait for its gateway.
#[derive(Debug)]
pub(super) struct Wait {
    until: Instant,
    pause: Duration,
}

impl Wait {
    pub(super) fn of(request: &mut Request<Body>) -> Self {
        let longest = Instant::now() + LONGEST;
        let until = request.extensions_mut().remove().map_or(longest, |WaitUntil(until)| until.min(longest));
        Self { until, pause: PAUSES.0 }
    }

    /// Whether to wait after this failure. A certificate that does not hold is no matter of time.
    pub(super) fn helps(&self, error: &RouteError) -> bool {
        matches!(error, RouteError::Unreachable { .. } | RouteError::Broken { .. }) && Instant::now() < self.until
    }

    /// Waits a little, and makes the call's own word of its time that much shorter.
    pub(super) async fn pause(&mut self, mut request: Request<Body>, metrics: &Metrics) -> Request<Body> {
        let began = Instant::now();
        metrics.waiting.inc();
        let _waiting = Waiting(metrics);
        let chance = rand::rng().random_range(1.0 - SPREAD..1.0 + SPREAD);
        sleep_until(self.until.min(began + self.pause.mul_f64(chance))).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
        shorten(request.headers_mut(), began.elapsed());
        request
    }
}

/// Counts a call that waits for as long as it does.
struct Waiting<'m>(&'m Metrics);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.dec();
    }
}

fn shorten(headers: &mut HeaderMap, by: Duration) {
    let number = |name: &HeaderName, unit: &str| -> Option<u64> {
        headers.get(name)?.to_str().ok()?.strip_suffix(unit)?.parse().ok()
    };
    let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    let less = |milliseconds: u64| milliseconds.saturating_sub(by).max(1);
    let timeout = number(&TIMEOUT, "").map(|milliseconds| less(milliseconds).to_string());
    // Whatever its unit was, eight digits of milliseconds are more than a day.
    let in_milliseconds = [("m", 1), ("S", 1000), ("M", 60_000), ("H", 3_600_000)];
    let limit = in_milliseconds.iter().find_map(|(unit, of)| Some(number(&GRPC_TIMEOUT, unit)?.saturating_mul(*of)));
    let limit = limit.map(|milliseconds| format!("{}m", less(milliseconds).min(99_999_999)));
    for (name, value) in [(TIMEOUT, timeout), (GRPC_TIMEOUT, limit)] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_says_of_its_time_is_shorter_after_a_wait() {
        let table = [
            ("x-ptp-timeout", "5000", "4000"),
            ("x-ptp-timeout", "500", "1"),
            ("x-ptp-timeout", "soon", "soon"),
            ("grpc-timeout", "5S", "4000m"),
            ("grpc-timeout", "2500m", "1500m"),
            ("grpc-timeout", "1H", "3599000m"),
            ("grpc-timeout", "99999999H", "99999999m"),
            ("grpc-timeout", "7u", "7u"),
        ];
        for (name, before, after) in table {
            let name = HeaderName::from_static(name);
            let mut headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(before))]);
            shorten(&mut headers, Duration::from_secs(1));
            assert_eq!(headers[&name], after, "{name} {before}");
        }
    }

    #[test]
    fn only_what_time_may_mend_is_waited_for() {
        let (node, address) = (mesh_core::NodeId::new("LX1"), "gw:7304".to_owned());
        let wait = Wait::of(&mut Request::new(Body::Empty));
        let away = RouteError::Unreachable { node: node.clone(), address, reason: "refused".into() };
        assert!(wait.helps(&away));
        assert!(!wait.helps(&RouteError::Crowded { node: node.clone(), limit: 1 }));
        assert!(!wait.helps(&RouteError::NoAddress { node }));
        let mut request = Request::new(Body::Empty);
        request.extensions_mut().insert(WaitUntil(Instant::now()));
        assert!(!Wait::of(&mut request).helps(&away), "its time is up");
    }
}
