//! Panics of the library that has the device: where the kernel does not take a packet, or has taken the device away, it has no other word
//! for it. Such a panic is an error like any other, and no bug that goes to the log.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

thread_local! {
    static EXPECTS: Cell<bool> = const { Cell::new(false) };
}

/// A panic, and nobody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// Runs what may panic. Whoever is told of panics is not told of this one, and of all others as ever.
pub(super) fn contained<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    static QUIET: Once = Once::new();
    QUIET.call_once(keep_quiet);
    EXPECTS.set(true);
    // What is half done goes with the device.
    let done = catch_unwind(AssertUnwindSafe(run));
    EXPECTS.set(false);
    done.map_err(|_| Panicked)
}

fn keep_quiet() {
    let told = take_hook();
    set_hook(Box::new(move |panic| {
        if !EXPECTS.get() {
            told(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        thread,
    };

    use super::*;

    #[test]
    fn of_a_panic_that_is_contained_nobody_is_told_and_of_the_next_one_they_are() {
        static TOLD: AtomicUsize = AtomicUsize::new(0);
        let (own, others) = (thread::current().id(), take_hook());
        set_hook(Box::new(move |panic| {
            if thread::current().id() == own {
                TOLD.fetch_add(1, Relaxed);
            } else {
                others(panic);
            }
        }));
        keep_quiet();
        assert_eq!(contained(|| panic!("Input/output error")), Err::<(), _>(Panicked));
        assert_eq!((contained(|| 7), TOLD.load(Relaxed)), (Ok(7), 0));
        assert!(catch_unwind(|| panic!("a bug")).is_err());
        assert_eq!(TOLD.load(Relaxed), 1);
    }
}
