//! Connections that are no client's yet: so many at a time, for each takes an open file, and whoever says nothing takes it for as
//! long as a handshake may take. Where there are too many the oldest is cut: a handshake in earnest is over long before.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// What a storm of clients who all come back at once may bring on a port within the time of one handshake, twice over.
const MOST: usize = 4096;

/// The handshakes under way at a port.
#[derive(Debug)]
pub struct Handshakes {
    most: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    under_way: BTreeMap<u64, CancellationToken>,
}

/// A handshake under way, until it is dropped.
#[derive(Debug)]
pub struct Handshake {
    all: Arc<Handshakes>,
    number: u64,
    cut: CancellationToken,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl Handshakes {
    fn of(most: usize) -> Self {
        Self { most, table: Mutex::default() }
    }

    /// One more.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Handshake {
        let (mut table, cut) = (self.table.lock(), CancellationToken::new());
        table.last += 1;
        let number = table.last;
        table.under_way.insert(number, cut.clone());
        if table.under_way.len() > self.most
            && let Some((_, oldest)) = table.under_way.pop_first()
        {
            oldest.cancel();
        }
        Handshake { all: Arc::clone(self), number, cut }
    }
}

impl Handshake {
    /// Waits until it has to give way.
    pub async fn cut(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.all.table.lock().under_way.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn where_there_are_too_many_the_oldest_gives_way() {
        let all = Arc::new(Handshakes::of(2));
        let [first, second] = [all.begin(), all.begin()];
        assert!(first.cut().now_or_never().is_none());
        let third = all.begin();
        assert!(first.cut().now_or_never().is_some() && second.cut().now_or_never().is_none());
        drop(third);
        let _fourth = all.begin();
        assert!(second.cut().now_or_never().is_none(), "there was room again");
        drop((first, second));
        assert_eq!(all.table.lock().under_way.len(), 1);
    }
}
