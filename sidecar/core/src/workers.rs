//! The threads of the data plane. Each has a reactor of its own, and what was begun on one stays there: a connection's bytes
//! are read, answered and sent by one thread.
//!
//! Threads that share one reactor and steal each other's tasks wake one another for nearly every request, and a wake-up that
//! crosses processors costs more than a small exchange itself (`docs/benchmarks.md` has the figures).

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

/// A caller with more connections than this is a crowd. Pools of usual clients stay below it.
const FEW: usize = 16;

/// All workers of a process.
#[derive(Clone, Debug)]
pub struct Workers(Arc<Hall>);

#[derive(Debug)]
struct Hall {
    workers: Vec<Worker>,
    /// How many seats each caller has.
    callers: Mutex<HashMap<IpAddr, usize>>,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Seats that are taken.
    busy: AtomicUsize,
}

/// A place at a worker, until it is dropped. In a box: a connection's task holds it in several states.
#[derive(Debug)]
pub struct Seat(Box<Taken>);

#[derive(Debug)]
struct Taken {
    hall: Arc<Hall>,
    worker: usize,
    caller: IpAddr,
    runtime: Handle,
}

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
        Ok(Self { first, workers: Workers::new(all), end })
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
    fn new(workers: Vec<Worker>) -> Self {
        Self(Arc::new(Hall { workers, callers: Mutex::default() }))
    }

    /// Only the runtime that this is called on.
    #[must_use]
    pub fn here() -> Self {
        Self::new(vec![Worker::of(&Handle::current())])
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.workers.len()
    }

    /// Where the things of a worker run; `None` beyond the last.
    #[must_use]
    pub fn runtime(&self, worker: usize) -> Option<&Handle> {
        self.0.workers.get(worker).map(|worker| &worker.runtime)
    }

    /// A seat for a connection of `caller` at a worker that has few. They are given out by twos: connections that are opened
    /// one after the other often speak with each other, one pushing what the other waits for, and on one thread nobody has
    /// to be woken for that.
    ///
    /// A crowd shares all workers but the first quarter: whoever has few connections sits in front of it as long as it is not
    /// full, where the system gives each thread its time, however many requests a crowd has waiting behind. The quarter is kept
    /// free where nobody else is there too, for whoever comes later; of two workers for each CPU a crowd still has three for two.
    /// `None` where there are no workers, which cannot be.
    #[must_use]
    pub fn seat(&self, caller: IpAddr) -> Option<Seat> {
        let caller = household(caller);
        let taken = {
            let mut callers = self.0.callers.lock();
            let taken = callers.entry(caller).or_default();
            *taken += 1;
            *taken
        };
        let workers = &self.0.workers;
        let first = if taken > FEW { front(workers.len()) } else { 0 };
        let free = workers.iter().enumerate().skip(first);
        let (worker, least) = free.min_by_key(|(_, worker)| worker.busy.load(Ordering::Relaxed) / 2)?;
        least.busy.fetch_add(1, Ordering::Relaxed);
        Some(Seat(Box::new(Taken { hall: Arc::clone(&self.0), worker, caller, runtime: least.runtime.clone() })))
    }
}

/// So many of the workers are no crowd's: as few as keep others apart, for a caller is an address, and all applications of a
/// machine or all partners behind one proxy are a crowd together.
fn front(workers: usize) -> usize {
    workers.div_ceil(4).min(workers.saturating_sub(1))
}

/// Whose address it is: of IPv6 a caller usually has a whole /64 to choose from.
#[must_use]
pub fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Worker {
    fn of(runtime: &Handle) -> Self {
        Self { runtime: runtime.clone(), busy: AtomicUsize::new(0) }
    }
}

impl Seat {
    /// Where to run what has the seat.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    /// Which worker it is at, from 0.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.0.worker
    }

    /// How many seats its caller has, this one among them.
    #[must_use]
    pub fn of_caller(&self) -> usize {
        self.0.hall.callers.lock().get(&self.0.caller).copied().unwrap_or(1)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(worker) = self.hall.workers.get(self.worker) {
            worker.busy.fetch_sub(1, Ordering::Relaxed);
        }
        let mut callers = self.hall.callers.lock();
        if let Some(taken) = callers.get_mut(&self.caller) {
            *taken -= 1;
            if *taken == 0 {
                callers.remove(&self.caller);
            }
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, thread::ThreadId};

    use super::*;

    const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    async fn thread_of(seat: &Seat) -> ThreadId {
        seat.runtime().spawn(async { thread::current().id() }).await.unwrap()
    }

    #[test]
    fn seats_are_spread_by_twos_and_given_back_and_each_worker_is_a_thread() {
        let crew = Crew::start(2).unwrap();
        let workers = crew.workers();
        crew.run(async {
            let seats: Vec<_> = (0..4).filter_map(|_| workers.seat(CALLER)).collect();
            let threads = futures::future::join_all(seats.iter().map(thread_of)).await;
            assert!(threads[0] == threads[1] && threads[2] == threads[3] && threads[0] != threads[2], "{threads:?}");
            drop(seats.into_iter().nth(2));
            let next = workers.seat(CALLER).unwrap();
            assert_eq!(thread_of(&next).await, threads[0], "all were given back");
        });
    }

    #[test]
    fn a_crowd_leaves_a_quarter_to_those_who_have_few_connections_and_fills_the_rest_evenly() {
        let crew = Crew::start(4).unwrap();
        let workers = crew.workers();
        let crowd: Vec<_> = (0..100).filter_map(|_| workers.seat(CALLER)).collect();
        let at = |worker: usize, seats: &[Seat]| seats.iter().filter(|seat| seat.0.worker == worker).count();
        assert_eq!([0, 1, 2, 3].map(|worker| at(worker, &crowd)), [4, 32, 32, 32], "the first were no crowd yet");
        let in_front = |seats: &[Seat]| at(0, seats);
        let other = Ipv4Addr::new(192, 0, 2, 1).into();
        let few: Vec<_> = (0..4).filter_map(|_| workers.seat(other)).collect();
        assert_eq!(in_front(&few), few.len());
        assert_eq!((crowd[0].of_caller(), few[0].of_caller()), (100, 4));
        drop(crowd);
        drop(few);
        assert!(workers.0.callers.lock().is_empty());
        assert!(workers.0.workers.iter().all(|worker| worker.busy.load(Ordering::Relaxed) == 0));
        assert_eq!(workers.seat(CALLER).unwrap().0.worker, 0, "it is no crowd any more");
    }

    #[test]
    fn a_crowd_keeps_most_workers_however_many_there_are() {
        assert_eq!([0, 1, 2, 3, 4, 5, 8, 16, 512].map(front), [0, 0, 1, 1, 1, 2, 2, 4, 128]);
    }

    #[test]
    fn addresses_of_one_household_are_one_caller() {
        let of = |text: &str| household(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn a_crew_of_none_is_this_thread() {
        let crew = Crew::start(0).unwrap();
        let workers = crew.workers();
        let here = thread::current().id();
        assert_eq!(crew.run(async { thread_of(&workers.seat(CALLER).unwrap()).await }), here);
    }

    #[test]
    fn what_runs_on_any_worker_ends_with_the_crew() {
        let crew = Crew::start(2).unwrap();
        let workers = crew.workers();
        let (_here, there) = ([workers.seat(CALLER), workers.seat(CALLER)], workers.seat(CALLER).unwrap());
        let task = there.runtime().spawn(std::future::pending::<()>());
        crew.run(async {});
        let ended = runtime().unwrap().block_on(task);
        assert!(ended.unwrap_err().is_cancelled());
    }
}
