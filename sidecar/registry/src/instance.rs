//! One address that registrations name: whether it is ready, how busy it is, and the connections to it.
//!
//! Shared by every table that routes to it, so that its state and its connections outlive a change of routes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use mesh_network::dial::Given;
use parking_lot::Mutex;
use serde::Serialize;

use crate::{Address, dial::Dialer, proxy::pool::Pool};

/// A connection takes about 32 KiB while it is busy, so an instance can claim 32 MiB of ours; beyond it a call goes to
/// another instance or fails at once.
pub(crate) const MOST_CALLS: usize = 1024;

/// One address that registrations name.
#[derive(Debug)]
pub struct Instance {
    address: Address,
    down: AtomicBool,
    /// Why it is not ready, or that it was never checked. Read by people only.
    standing: Mutex<InstanceState>,
    under_way: AtomicUsize,
    most: usize,
    due: Mutex<Option<Instant>>,
    pub(crate) pool: Pool,
}

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
}

impl Instance {
    /// An instance that was not yet checked. `given` says who named its address.
    #[must_use]
    pub fn new(address: Address, given: Given, dialer: Dialer, most: usize) -> Self {
        Self {
            pool: Pool::new(address.clone(), given, dialer),
            address,
            down: AtomicBool::new(false),
            standing: Mutex::new(InstanceState::Unknown),
            under_way: AtomicUsize::new(0),
            most,
            due: Mutex::new(None),
        }
    }

    /// Whether it is time to ask whether it is there.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.due.lock().is_none_or(|due| due <= now)
    }

    /// It is not asked again before `then`.
    pub(crate) fn check_after(&self, then: Instant) {
        *self.due.lock() = Some(then);
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What is known of it.
    #[must_use]
    pub fn state(&self) -> InstanceState {
        self.standing.lock().clone()
    }

    /// Whether it accepted the last connection.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.down.load(Relaxed)
    }

    /// Whether a call may go there now.
    #[must_use]
    pub fn can_take(&self) -> bool {
        self.is_ready() && self.under_way() < self.most
    }

    /// The calls under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.load(Relaxed)
    }

    /// It accepted a connection. Answers whether that is news.
    pub fn mark_ready(&self) -> bool {
        let was = std::mem::replace(&mut *self.standing.lock(), InstanceState::Ready);
        self.down.store(false, Relaxed);
        was != InstanceState::Ready
    }

    /// It did not. Answers whether that is news; if so it is asked again at once.
    pub fn mark_not_ready(&self, reason: String) -> bool {
        if !self.down.swap(true, Relaxed) {
            *self.due.lock() = None;
        }
        let was = std::mem::replace(&mut *self.standing.lock(), InstanceState::NotReady(reason));
        !matches!(was, InstanceState::NotReady(_))
    }

    /// Why it takes no call now, for a message.
    #[must_use]
    pub fn complaint(&self) -> String {
        match self.state() {
            InstanceState::NotReady(reason) => reason,
            _ if self.under_way() >= self.most => {
                format!("{} has {} calls under way, its limit", self.address, self.most)
            }
            _ => format!("{} is drained: its weight is 0", self.address),
        }
    }

    /// Counts a call in, until what is answered is dropped; `None` at the limit.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Option<Load> {
        if self.under_way.fetch_add(1, Relaxed) >= self.most {
            self.under_way.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Load(self.clone()))
    }
}

/// A call under way at an instance.
#[derive(Debug)]
pub struct Load(Arc<Instance>);

impl Load {
    /// Where.
    #[must_use]
    pub fn instance(&self) -> &Arc<Instance> {
        &self.0
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_and_bounded() {
        let instance = Arc::new(Instance::new(Address::parse("a:1").unwrap(), Given::ByApi, Dialer::default(), 2));
        let first = instance.enter().unwrap();
        let second = instance.enter().unwrap();
        assert!(instance.enter().is_none() && !instance.can_take());
        drop(first);
        assert_eq!(instance.under_way(), 1);
        assert!(instance.can_take());
        drop(second);
        assert_eq!(instance.under_way(), 0);
    }

    #[test]
    fn an_instance_is_ready_until_it_is_found_not_to_be() {
        let instance = Instance::new(Address::parse("a:1").unwrap(), Given::ByApi, Dialer::default(), 2);
        assert!(instance.is_ready());
        assert!(instance.mark_not_ready("refused".into()));
        assert!(!instance.mark_not_ready("refused again".into()));
        assert_eq!((instance.is_ready(), instance.complaint().as_str()), (false, "refused again"));
        assert!(instance.mark_ready());
        assert!(instance.is_ready());
    }
}
