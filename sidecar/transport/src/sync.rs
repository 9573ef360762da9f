//! Locks and atomics of the channels, so that shuttle can stand in for them and try out schedules.
//!
//! `cargo test -p mesh-transport --features shuttle --lib wakeups` uses the stand-ins; everything else the real ones.

#[cfg(not(feature = "shuttle"))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[cfg(feature = "shuttle")]
pub(crate) use self::stand_in::Mutex;
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[cfg(feature = "shuttle")]
mod stand_in {
    use shuttle::sync::{Mutex as Inner, MutexGuard};

    /// Shuttle's mutex in the manner of parking_lot's: a lock, and no poison.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(Inner<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Inner::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}
