//! Leases that other nodes hold on messages of this one: named by whoever popped, settled by nobody else, and taken back
//! after 15 s of silence (design section 6, "Across nodes").
//!
//! `Table` is pure; `Leases` is the lock around it, and the one task that sweeps while there is something to sweep. Messages
//! go back with no lock held.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until};

use crate::{Lease, Origin, sync::Mutex};

/// A holder that is silent for so long is gone, and its message goes back (design section 6).
pub(crate) const SILENCE: Duration = Duration::from_secs(15);
/// How often a node that ends looks whether all leases are settled.
const LOOK: Duration = Duration::from_millis(20);
/// Leases of one holder: above the calls that it may have under way, and a bound for what it can make us remember.
const MOST: usize = 1 << 14;
/// The longest name: 128 random bits take 32 digits.
const LONGEST_NAME: usize = 64;

/// The leases that other nodes hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leases(Arc<Mutex<Table>>);

/// Who holds a lease, and under which name. A name says nothing to anybody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Holding {
    pub(crate) holder: Origin,
    pub(crate) name: Arc<str>,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<Holding, Open>,
    /// How many each holder has.
    held: HashMap<Origin, usize>,
    /// The same leases by the time at which they end.
    ends: BTreeMap<End, Holding>,
    /// Numbers leases that end at the same time.
    next: u64,
    is_swept: bool,
}

type End = (Instant, u64);

#[derive(Debug)]
struct Open {
    lease: Lease,
    is_passed_on: bool,
    end: End,
}

impl Leases {
    /// Whether `name` can be the name of a lease.
    pub(crate) fn is_name(name: &str) -> bool {
        (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric())
    }

    /// Opens a lease, which another gateway of this node passes on to the holder if `is_passed_on`; `None`: the name is taken, or the
    /// holder has too many, and the message went back.
    pub(crate) fn open(&self, holding: Holding, lease: Lease, is_passed_on: bool) -> Option<Lease> {
        let name = Arc::clone(&holding.name);
        let (refused, starts) = {
            let mut table = self.0.lock();
            let refused = table.open(holding.clone(), lease, is_passed_on, Instant::now());
            let starts = refused.is_none() && !std::mem::replace(&mut table.is_swept, true);
            (refused, starts)
        };
        if starts {
            tokio::spawn(self.clone().sweep());
        }
        if refused.is_some() {
            return None;
        }
        let leases = self.clone();
        Some(Lease::answer(name, move || drop(leases.take(&holding))))
    }

    /// The holder is still there; `false` if it holds no such lease.
    pub(crate) fn renew(&self, holding: &Holding) -> bool {
        self.0.lock().renew(holding, Instant::now())
    }

    /// The lease itself, to be settled; `None` if the holder holds no such lease.
    pub(crate) fn take(&self, holding: &Holding) -> Option<Lease> {
        self.0.lock().take(holding)
    }

    /// Whether another gateway of this node has passed the lease on, and knows it by the same name.
    pub(crate) fn is_passed_on(&self, holding: &Holding) -> bool {
        self.0.lock().open.get(holding).is_some_and(|open| open.is_passed_on)
    }

    /// Resolves when no lease is open. It looks now and then: leases are settled far more often than somebody waits for the last one.
    pub(crate) async fn ended(&self) {
        let mut empty = 0;
        // Twice: what was being given out when the first look was taken is a lease at the second.
        while empty < 2 {
            empty = if self.0.lock().open.is_empty() { empty + 1 } else { 0 };
            sleep(LOOK).await;
        }
    }

    /// Hands back what was silent for too long, until no lease is open.
    async fn sweep(self) {
        loop {
            let (gone, next) = {
                let mut table = self.0.lock();
                let gone = table.expired(Instant::now());
                let next = table.ends.first_key_value().map(|((end, _), _)| *end);
                table.is_swept = next.is_some();
                (gone, next)
            };
            if !gone.is_empty() {
                tracing::info!(messages = gone.len(), "a node that popped was silent for 15 s: what it held goes back");
            }
            drop(gone);
            match next {
                Some(end) => sleep_until(end).await,
                None => return,
            }
        }
    }
}

impl Table {
    fn open(&mut self, holding: Holding, lease: Lease, is_passed_on: bool, now: Instant) -> Option<Lease> {
        let held = self.held.get(&holding.holder).copied().unwrap_or_default();
        if held >= MOST || self.open.contains_key(&holding) {
            return Some(lease);
        }
        self.held.insert(holding.holder.clone(), held + 1);
        let end = self.end(now);
        self.ends.insert(end, holding.clone());
        self.open.insert(holding, Open { lease, is_passed_on, end });
        None
    }

    fn renew(&mut self, holding: &Holding, now: Instant) -> bool {
        let end = self.end(now);
        let Some(open) = self.open.get_mut(holding) else { return false };
        self.ends.remove(&std::mem::replace(&mut open.end, end));
        self.ends.insert(end, holding.clone());
        true
    }

    fn take(&mut self, holding: &Holding) -> Option<Lease> {
        let open = self.open.remove(holding)?;
        self.ends.remove(&open.end);
        if let Some(held) = self.held.get_mut(&holding.holder) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&holding.holder);
            }
        }
        Some(open.lease)
    }

    /// The leases whose holders were silent for too long.
    fn expired(&mut self, now: Instant) -> Vec<Lease> {
        let mut gone = Vec::new();
        while let Some(first) = self.ends.first_entry().filter(|first| first.key().0 <= now) {
            let holding = first.remove();
            gone.extend(self.take(&holding));
        }
        gone
    }

    fn end(&mut self, now: Instant) -> End {
        self.next += 1;
        (now + SILENCE, self.next)
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use mesh_core::NodeId;

    use super::*;
    use crate::channels::Verdict;

    fn holding(holder: &str, name: &str) -> Holding {
        Holding { holder: Origin::Partner(NodeId::new(holder)), name: name.into() }
    }

    /// A lease that counts how often it went back.
    fn lease(back: &Arc<AtomicUsize>) -> Lease {
        let back = Arc::clone(back);
        Lease::there(move |verdict| {
            if verdict == Verdict::Return {
                back.fetch_add(1, Ordering::SeqCst);
            }
        })
    }

    #[test]
    fn a_lease_is_settled_by_its_holder_and_once() {
        let (back, now, mut table) = (Arc::default(), Instant::now(), Table::default());
        assert!(table.open(holding("b", "x"), lease(&back), false, now).is_none());
        for stranger in [holding("c", "x"), holding("b", "y")] {
            assert!(table.take(&stranger).is_none() && !table.renew(&stranger, now), "{stranger:?}");
        }
        table.take(&holding("b", "x")).unwrap().commit();
        assert!(table.take(&holding("b", "x")).is_none());
        assert_eq!(back.load(Ordering::SeqCst), 0);
        assert!(table.open(holding("b", "x"), lease(&back), false, now).is_none(), "the name is free again");
        assert!(table.open(holding("c", "x"), lease(&back), false, now).is_none(), "names are each holder's own");
        assert!(table.open(holding("c", "x"), lease(&back), false, now).is_some(), "and taken until they are settled");
    }

    #[test]
    fn silence_gives_a_message_back_and_a_renewal_keeps_it() {
        let (back, now, mut table) = (Arc::default(), Instant::now(), Table::default());
        for name in ["silent", "renewed"] {
            assert!(table.open(holding("b", name), lease(&back), false, now).is_none());
        }
        assert!(table.renew(&holding("b", "renewed"), now + Duration::from_secs(14)));
        assert!(table.expired(now + Duration::from_secs(14)).is_empty());
        assert_eq!(table.expired(now + SILENCE).len(), 1);
        assert_eq!(back.load(Ordering::SeqCst), 1);
        assert!(table.take(&holding("b", "silent")).is_none(), "too late");
        assert!(table.expired(now + Duration::from_secs(28)).is_empty());
        assert_eq!(table.expired(now + Duration::from_secs(29)).len(), 1);
        assert!(table.open.is_empty() && table.held.is_empty() && table.ends.is_empty());
    }

    #[test]
    fn a_holder_has_so_many_leases_and_no_more() {
        let (back, now, mut table) = (Arc::default(), Instant::now(), Table::default());
        for n in 0..MOST {
            assert!(table.open(holding("b", &n.to_string()), lease(&back), false, now).is_none());
        }
        assert!(table.open(holding("b", "more"), lease(&back), false, now).is_some());
        assert!(table.open(holding("c", "more"), lease(&back), false, now).is_none(), "the next has its own");
    }

    #[test]
    fn names_are_short_and_plain() {
        for (name, is_name) in [("0a1b", true), ("", false), ("a b", false), ("a\"b", false), (&"a".repeat(65), false)]
        {
            assert_eq!(Leases::is_name(name), is_name, "{name}");
        }
    }
}
