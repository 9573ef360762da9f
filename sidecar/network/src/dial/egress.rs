//! The way out for routes that name no proxy of their own: the proxies that are registered on this node (PTP section 10.1).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;

use super::{Given, Proxy};

/// A dial tries each of them; more than a handful would only cost time.
const MOST: usize = 8;

/// The proxies in force; who changes them and who dials share it.
#[derive(Clone, Debug, Default)]
pub struct Egress(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    proxies: ArcSwap<Vec<(Proxy, Given)>>,
    changes: AtomicU64,
}

impl Egress {
    /// Puts `proxies` in force, each with who gave its address; the first that connects is used. Without one connections go
    /// out straight.
    pub fn set(&self, mut proxies: Vec<(Proxy, Given)>) {
        proxies.truncate(MOST);
        if **self.0.proxies.load() == proxies {
            return;
        }
        let shown: Vec<_> = proxies.iter().map(|(proxy, _)| proxy).collect();
        tracing::info!(proxies = ?shown, "routes without a proxy of their own go this way from now on");
        self.0.proxies.store(Arc::new(proxies));
        self.0.changes.fetch_add(1, Ordering::Release);
    }

    /// The proxies in force.
    pub(crate) fn all(&self) -> Arc<Vec<(Proxy, Given)>> {
        self.0.proxies.load_full()
    }

    /// Counts the changes: connections of before the last one go another way.
    pub(crate) fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }
}
