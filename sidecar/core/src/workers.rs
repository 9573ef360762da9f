//! The threads of the data plane. Each has a reactor of its own, and what was begun on one stays there: a connection's bytes
//! are read, answered and sent by one thread.
//!
//! Threads that share one reactor and steal each other's tasks wake one another for nearly every request, and a wake-up that
//! crosses processors costs more than a small exchange itself (`docs/benchmarks.md` has the figures).

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

/// All workers of a process.
#[derive(Clone, Debug)]
pub struct Workers(Arc<[Arc<Worker>]>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Seats that are taken.
    busy: AtomicUsize,
}

/// A place at a worker, until it is dropped.
#[derive(Debug)]
pub struct Seat(Arc<Worker>);

/// The threads behind [`Workers`]. The thread that holds it is the first of them, as long as it runs something.
#[derive(Debug)]
pub struct Crew {
    first: Runtime,
    workers: Workers,
    end: CancellationToken,
}

impl Crew {
    /// Starts `count` workers, at least the one of this thread.
    ///
    /// # Errors
    /// The system gives no thread, or no reactor.
    pub fn start(count: usize) -> io::Result<Self> {
        let (first, end) = (runtime()?, CancellationToken::new());
        let mut all = vec![Worker::of(first.handle())];
        for n in 1..count {
            let (runtime, end) = (runtime()?, end.clone());
            all.push(Worker::of(runtime.handle()));
            thread::Builder::new().name(format!("mesh-{n}")).spawn(move || runtime.block_on(end.cancelled()))?;
        }
        Ok(Self { first, workers: Workers(all.into()), end })
    }

    /// All of them.
    #[must_use]
    pub fn workers(&self) -> Workers {
        self.workers.clone()
    }

    /// Runs `main` on this thread. When it is over the other threads end too, with everything on them.
    pub fn run<F: Future>(self, main: F) -> F::Output {
        let _end = self.end.drop_guard();
        self.first.block_on(main)
    }
}

impl Workers {
    /// Only the runtime that this is called on.
    #[must_use]
    pub fn here() -> Self {
        Self(vec![Worker::of(&Handle::current())].into())
    }

    /// A seat at a worker that has few. They are given out by twos: connections that are opened one after the other often speak
    /// with each other, one pushing what the other waits for, and on one thread nobody has to be woken for that. `None` where
    /// there are no workers, which cannot be.
    #[must_use]
    pub fn seat(&self) -> Option<Seat> {
        let least = self.0.iter().min_by_key(|worker| worker.busy.load(Ordering::Relaxed) / 2)?;
        least.busy.fetch_add(1, Ordering::Relaxed);
        Some(Seat(Arc::clone(least)))
    }
}

impl Worker {
    fn of(runtime: &Handle) -> Arc<Self> {
        Arc::new(Self { runtime: runtime.clone(), busy: AtomicUsize::new(0) })
    }
}

impl Seat {
    /// Where to run what has the seat.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.0.runtime
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use std::thread::ThreadId;

    use super::*;

    async fn thread_of(seat: &Seat) -> ThreadId {
        seat.runtime().spawn(async { thread::current().id() }).await.unwrap()
    }

    #[test]
    fn seats_are_spread_by_twos_and_given_back_and_each_worker_is_a_thread() {
        let crew = Crew::start(2).unwrap();
        let workers = crew.workers();
        crew.run(async {
            let seats: Vec<_> = (0..4).filter_map(|_| workers.seat()).collect();
            let threads = futures::future::join_all(seats.iter().map(thread_of)).await;
            assert!(threads[0] == threads[1] && threads[2] == threads[3] && threads[0] != threads[2], "{threads:?}");
            drop(seats.into_iter().nth(2));
            let next = workers.seat().unwrap();
            assert_eq!(thread_of(&next).await, threads[0], "all were given back");
        });
    }

    #[test]
    fn a_crew_of_none_is_this_thread() {
        let crew = Crew::start(0).unwrap();
        let workers = crew.workers();
        let here = thread::current().id();
        assert_eq!(crew.run(async { thread_of(&workers.seat().unwrap()).await }), here);
    }

    #[test]
    fn what_runs_on_any_worker_ends_with_the_crew() {
        let crew = Crew::start(2).unwrap();
        let workers = crew.workers();
        let (_here, there) = ([workers.seat(), workers.seat()], workers.seat().unwrap());
        let task = there.runtime().spawn(std::future::pending::<()>());
        crew.run(async {});
        let ended = runtime().unwrap().block_on(task);
        assert!(ended.unwrap_err().is_cancelled());
    }
}
