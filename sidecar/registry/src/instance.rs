//! One address that registrations name: whether it is ready, how busy it is, and the connections to it.
//!
//! Shared by every table that routes to it, so that its state and its connections outlive a change of routes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use mesh_core::NodeId;
use mesh_network::dial::Given;
use parking_lot::Mutex;
use serde::Serialize;

use crate::{
    Address,
    dial::Dialer,
    load::{Calls, Full, Most},
    proxy::pool::Pool,
};

/// So many calls in a row that it did not answer in time or broke off take an instance out of the turn: one or two are
/// the fate of a call, five are the state of an instance (Envoy's own number).
pub(crate) const EJECTED_AFTER: u32 = 5;
/// How long it is left out the first time; doubled each time that the next calls fail as well.
const FIRST_EJECTION: Duration = Duration::from_secs(1);
/// It is asked again within half a minute, however long it has been ill.
const LONGEST_EJECTION: Duration = Duration::from_secs(30);
/// The value of `back_at` of an instance that is not left out.
const IN_TURN: u64 = 0;

/// One address that registrations name.
#[derive(Debug)]
pub struct Instance {
    address: Address,
    /// What times below count from.
    since: Instant,
    /// Calls in a row that failed.
    failures: AtomicU32,
    /// Milliseconds after `since` until which it is left out.
    back_at: AtomicU64,
    down: AtomicBool,
    /// Why it is not ready, or that it was never checked. Read by people only.
    standing: Mutex<InstanceState>,
    calls: Calls,
    /// Milliseconds after `since` from which on it is to be checked; [`BEING_CHECKED`] while it is.
    due: AtomicU64,
    pub(crate) pool: Pool,
}

/// What a failure too many means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ejected {
    /// For how long the instance is left out.
    pub(crate) span: Duration,
    /// Whether it was in turn before.
    pub(crate) is_news: bool,
}

/// Nobody else checks it in the meantime.
const BEING_CHECKED: u64 = u64::MAX;

/// What is known of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state", content = "reason")]
pub enum InstanceState {
    /// Registered and not yet checked; it gets calls.
    Unknown,
    /// It accepts connections.
    Ready,
    /// It does not, and gets no calls until it does.
    NotReady(String),
    /// It accepts connections and answered badly: it gets no calls for a while, unless all are like that.
    Ejected(String),
}

impl Instance {
    /// An instance that was not yet checked. `given` says who named its address.
    #[must_use]
    pub(crate) fn new(address: Address, given: Given, dialer: Dialer, most: impl Into<Most>) -> Self {
        Self {
            pool: Pool::new(address.clone(), given, dialer),
            address,
            since: Instant::now(),
            failures: AtomicU32::new(0),
            back_at: AtomicU64::new(IN_TURN),
            down: AtomicBool::new(false),
            standing: Mutex::new(InstanceState::Unknown),
            calls: Calls::new(most.into()),
            due: AtomicU64::new(0),
        }
    }

    /// Whether it is time to ask whether it is there; if so nobody else is told until [`Self::check_in`].
    pub(crate) fn take_due(&self) -> bool {
        let due = self.due.load(Relaxed);
        due <= self.clock() && self.due.compare_exchange(due, BEING_CHECKED, Relaxed, Relaxed).is_ok()
    }

    /// It is asked again after `span`.
    pub(crate) fn check_in(&self, span: Duration) {
        self.due.store(self.clock().saturating_add(millis(span)), Relaxed);
    }

    /// Milliseconds of its life.
    fn clock(&self) -> u64 {
        millis(self.since.elapsed())
    }

    /// A call was answered. Answers whether that is news, because the instance was left out.
    pub(crate) fn note_success(&self) -> bool {
        if self.failures.load(Relaxed) == 0 {
            return false;
        }
        self.back_at.store(IN_TURN, Relaxed);
        self.failures.swap(0, Relaxed) >= EJECTED_AFTER
    }

    /// A call was not answered in time, or broke off before the head of its answer. Answers for how long the instance is
    /// left out, if it is now.
    pub(crate) fn note_failure(&self) -> Option<Ejected> {
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        let times = failures.checked_sub(EJECTED_AFTER)?;
        let span = (FIRST_EJECTION * (1 << times.min(5))).min(LONGEST_EJECTION);
        // Nought means that it is in turn.
        self.back_at.store(self.clock().saturating_add(millis(span)).max(1), Relaxed);
        Some(Ejected { span, is_news: times == 0 })
    }

    /// Whether it is left out for now.
    pub(crate) fn is_ejected(&self) -> bool {
        // The clock is read only for an instance that was.
        let back_at = self.back_at.load(Relaxed);
        back_at != IN_TURN && self.clock() < back_at
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What is known of it.
    #[must_use]
    pub fn state(&self) -> InstanceState {
        match self.standing.lock().clone() {
            InstanceState::Ready | InstanceState::Unknown if self.is_ejected() => {
                let failures = self.failures.load(Relaxed);
                InstanceState::Ejected(format!("its last {failures} calls were not answered in time, or broke off"))
            }
            state => state,
        }
    }

    /// Whether it accepted the last connection.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.down.load(Relaxed)
    }

    /// Whether a call may go there now: one of the node's own, or of this partner.
    #[must_use]
    pub fn can_take(&self, partner: Option<&NodeId>) -> bool {
        self.is_ready() && self.calls.full(partner).is_none()
    }

    /// The calls under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.calls.under_way()
    }

    /// It accepted a connection. Answers whether that is news.
    pub fn mark_ready(&self) -> bool {
        let was = std::mem::replace(&mut *self.standing.lock(), InstanceState::Ready);
        self.down.store(false, Relaxed);
        was != InstanceState::Ready
    }

    /// It did not. Answers whether that is news; if so it is asked again at once.
    pub fn mark_not_ready(&self, reason: String) -> bool {
        if !self.down.swap(true, Relaxed) && self.due.load(Relaxed) != BEING_CHECKED {
            self.due.store(0, Relaxed);
        }
        let was = std::mem::replace(&mut *self.standing.lock(), InstanceState::NotReady(reason));
        !matches!(was, InstanceState::NotReady(_))
    }

    /// Why it takes no call now, for a message.
    #[must_use]
    pub fn complaint(&self, partner: Option<&NodeId>) -> String {
        let address = &self.address;
        match (self.state(), self.calls.full(partner)) {
            (InstanceState::NotReady(reason), _) => reason,
            (_, Some(Full::Whole(most))) => format!("{address} has {most} calls under way, its limit"),
            (_, Some(Full::Partners(most))) => {
                format!("{address} has {most} calls of partners under way, their share of its limit")
            }
            (_, Some(Full::Partner(most))) => {
                format!("{address} has {most} calls of this partner under way, its share of the limit")
            }
            _ => format!("{address} is drained: its weight is 0"),
        }
    }

    /// Counts a call in, until what is answered is dropped; `None` at the limit.
    #[must_use]
    pub fn enter(self: &Arc<Self>, partner: Option<&NodeId>) -> Option<Load> {
        self.calls.enter(partner).ok()?;
        Some(Load { instance: self.clone(), partner: partner.cloned() })
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX - 1)
}

/// A call under way at an instance.
#[derive(Debug)]
pub struct Load {
    instance: Arc<Instance>,
    partner: Option<NodeId>,
}

impl Load {
    /// Where.
    #[must_use]
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.instance.calls.leave(self.partner.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_and_bounded() {
        let instance = Arc::new(Instance::new(Address::parse("a:1").unwrap(), Given::ByApi, Dialer::default(), 2));
        let first = instance.enter(None).unwrap();
        let second = instance.enter(None).unwrap();
        assert!(instance.enter(None).is_none() && !instance.can_take(None));
        drop(first);
        assert_eq!(instance.under_way(), 1);
        assert!(instance.can_take(None));
        drop(second);
        assert_eq!(instance.under_way(), 0);
    }

    #[test]
    fn five_bad_answers_in_a_row_take_it_out_of_the_turn_and_a_good_one_brings_it_back() {
        let instance = Instance::new(Address::parse("a:1").unwrap(), Given::ByApi, Dialer::default(), 2);
        let spans: Vec<_> = (0..4).map(|_| instance.note_failure()).collect();
        assert_eq!((spans, instance.is_ejected()), (vec![None; 4], false));
        assert!(!instance.note_success(), "it was never left out");
        let ejected: Vec<_> = (0..12).filter_map(|_| instance.note_failure()).collect();
        assert_eq!(ejected.iter().map(|e| e.span.as_secs()).collect::<Vec<_>>(), [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(ejected.iter().filter(|e| e.is_news).count(), 1, "it is said once");
        assert!(instance.is_ejected() && matches!(instance.state(), InstanceState::Ejected(_)));
        assert!(instance.note_success() && !instance.note_success(), "so is its return");
        assert_eq!((instance.is_ejected(), instance.state()), (false, InstanceState::Unknown));
    }

    #[test]
    fn a_check_is_due_once() {
        let instance = Instance::new(Address::parse("a:1").unwrap(), Given::ByApi, Dialer::default(), 2);
        assert!(instance.take_due() && !instance.take_due());
        instance.check_in(Duration::from_secs(60));
        assert!(!instance.take_due());
        instance.mark_not_ready("refused".into());
        assert!(instance.take_due());
    }

    #[test]
    fn an_instance_is_ready_until_it_is_found_not_to_be() {
        let instance = Instance::new(Address::parse("a:1").unwrap(), Given::ByApi, Dialer::default(), 2);
        assert!(instance.is_ready());
        assert!(instance.mark_not_ready("refused".into()));
        assert!(!instance.mark_not_ready("refused again".into()));
        assert_eq!((instance.is_ready(), instance.complaint(None).as_str()), (false, "refused again"));
        assert!(instance.mark_ready());
        assert!(instance.is_ready());
    }
}
