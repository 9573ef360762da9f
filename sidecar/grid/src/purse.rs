//! Bytes that many hold together: each has a bound of its own, and there may be a hundred thousand of them.
//!
//! A plain count: it knows neither clients nor topics. Whoever finds no room is turned away; nobody waits for it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

/// Bytes that may be held, and that are.
#[derive(Debug)]
pub(crate) struct Purse {
    most: AtomicUsize,
    used: AtomicUsize,
}

/// What one of them holds. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    purse: Arc<Purse>,
    bytes: usize,
}

impl Purse {
    pub(crate) fn new(most: usize) -> Self {
        Self { most: AtomicUsize::new(most), used: AtomicUsize::new(0) }
    }

    /// Another bound from now on. What is held stays.
    pub(crate) fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// The bound.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Whether there is room for so many bytes more.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.used.load(Ordering::Relaxed).saturating_add(bytes) <= self.most.load(Ordering::Relaxed)
    }

    /// Somebody who held `before` bytes holds `now`.
    pub(crate) fn count(&self, before: usize, now: usize) {
        if now >= before {
            self.used.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// Bytes that count as long as anybody shares them.
struct Counted {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Share {
    /// The same bytes; they count until the last of those who share them has let go.
    pub(crate) fn around(purse: &Arc<Purse>, bytes: Bytes) -> Bytes {
        let mut share = Self::of(purse);
        share.holds(bytes.len());
        Bytes::from_owner(Counted { bytes, _share: share })
    }

    pub(crate) fn of(purse: &Arc<Purse>) -> Self {
        Self { purse: Arc::clone(purse), bytes: 0 }
    }

    /// Its holder has so many bytes. `false` where they are more than before, and there is no room for them.
    pub(crate) fn holds(&mut self, bytes: usize) -> bool {
        let has_room = bytes <= self.bytes || self.purse.has_room(bytes - self.bytes);
        if bytes != self.bytes {
            // Also where there is none: it has them, until it has been turned away.
            self.purse.count(self.bytes, bytes);
            self.bytes = bytes;
        }
        has_room
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.purse.count(self.bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_room_is_told_and_what_goes_is_given_back() {
        let purse = Arc::new(Purse::new(10));
        let (mut a, mut b) = (Share::of(&purse), Share::of(&purse));
        assert!(a.holds(6) && b.holds(4) && !b.holds(5));
        assert!(a.holds(2) && b.holds(8), "what one gives back another one takes");
        assert_eq!(purse.used(), 10);
        drop(a);
        assert_eq!((purse.used(), purse.has_room(2), purse.has_room(3)), (8, true, false));
        drop(b);
        assert_eq!(purse.used(), 0);
    }

    #[test]
    fn what_many_share_counts_once_and_until_the_last_lets_go() {
        let purse = Arc::new(Purse::new(10));
        let first = Share::around(&purse, Bytes::from_static(b"frame"));
        let (second, part) = (first.clone(), first.slice(3..));
        assert_eq!((purse.used(), &first[..], &part[..]), (5, &b"frame"[..], &b"me"[..]));
        drop((first, second));
        assert_eq!(purse.used(), 5);
        drop(part);
        assert_eq!(purse.used(), 0);
    }
}
