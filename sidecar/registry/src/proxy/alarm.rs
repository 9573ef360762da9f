//! The time limit of a call, without a timer of its own for each.
//!
//! To set a timer and to take it back costs locks and, now and then, a wake-up of the thread's own reactor; a service answers long before
//! it is due. So a thread keeps those of calls that are over. One that is set for no later than a call wants is as good as its
//! own: it wakes the call early, once, and is set again.

use std::{
    cell::RefCell,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    runtime,
    time::{Instant, Sleep, sleep_until},
};

use super::h1::here;

/// As many calls at a time as one thread usually has; those beyond set timers of their own.
const MOST: usize = 64;

/// A timer, and the runtime whose it is.
type Timer = (Option<runtime::Id>, Pin<Box<Sleep>>);

thread_local! {
    static SPARE: RefCell<Vec<Timer>> = const { RefCell::new(Vec::new()) };
}

/// The time limit of one call.
#[derive(Default)]
pub(super) struct Alarm(Option<Timer>);

impl Alarm {
    /// Ready from `at` on. Wakes the task then.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let (_, timer) = self.0.get_or_insert_with(|| spare(at));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let Some(timer) = self.0.take() else { return };
        // Without it where the thread itself is ending.
        let _ = SPARE.try_with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut()
                && spare.len() < MOST
            {
                spare.push(timer);
            }
        });
    }
}

fn spare(at: Instant) -> Timer {
    let home = here();
    let known = SPARE.with_borrow_mut(Vec::pop).filter(|(runtime, _)| *runtime == home);
    known.unwrap_or_else(|| (home, Box::pin(sleep_until(at))))
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    async fn rings_after(alarm: &mut Alarm, span: Duration) -> Duration {
        let begun = Instant::now();
        poll_fn(|cx| alarm.poll(cx, begun + span)).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_rings_in_its_time_whatever_the_call_before_wanted() {
        let secs = Duration::from_secs;
        for span in [10, 3, 60, 1, 60] {
            let mut alarm = Alarm::default();
            // Begun, and given up.
            let early = tokio::time::timeout(secs(span) / 2, rings_after(&mut alarm, secs(span))).await;
            assert!(early.is_err(), "{span}");
            drop(alarm);
            assert_eq!(SPARE.with_borrow(Vec::len), 1, "it is kept");
            let took = rings_after(&mut Alarm::default(), secs(span)).await;
            assert!(took >= secs(span) && took < secs(span) + Duration::from_millis(10), "{span}: {took:?}");
        }
    }

    #[test]
    fn a_timer_of_a_runtime_that_has_gone_is_not_used_by_another() {
        for _ in 0..2 {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _ = runtime.block_on(rings_after(&mut Alarm::default(), Duration::from_millis(1)));
        }
    }

    #[tokio::test]
    async fn no_more_of_them_are_kept_than_a_thread_has_use_for() {
        let mut alarms: Vec<Alarm> = (0..MOST + 1).map(|_| Alarm::default()).collect();
        let far = Instant::now() + Duration::from_secs(3600);
        poll_fn(|cx| {
            assert!(alarms.iter_mut().all(|alarm| alarm.poll(cx, far).is_pending()));
            Poll::Ready(())
        })
        .await;
        drop(alarms);
        assert_eq!(SPARE.with_borrow(Vec::len), MOST);
    }
}
