//! The calls of one bundle, between those who make them and the task that carries them (`bundle.rs`).
//!
//! No socket and no clock: bytes to be sent gather here, and answers find who waits for them. A call that nobody waits for any
//! more before it was taken is left out: the partner never hears of it, and its bytes hold up no other.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures::task::AtomicWaker;
use http::{Request, Response};
use mesh_core::Body;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::lane::SMALL_BEFORE_ANOTHER;
use crate::bundle::{
    LONGEST_BODY,
    frame::{self, Broken, Frame, Kind},
    head,
};

/// Bytes that may wait to be sent. As many calls with the longest bodies fit as a connection usually has; more waits only where
/// the partner does not read.
const MOST_UNSENT: u64 = SMALL_BEFORE_ANOTHER as u64 * (LONGEST_BODY as u64 + 1024);
/// What is taken at a time, or a call more: what was taken is sent, even where nobody waits for its answer any more.
const TAKEN: usize = 256 * 1024;

/// A call that brought no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// Whether any of it may have left.
    pub(super) may_have_left: bool,
    pub(super) why: Why,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The connection ended.
    Ended(String),
    /// The partner did not begin with it.
    Refused,
    /// Too much waits to be sent.
    Full,
}

type Outcome = Result<Response<Body>, Lost>;

/// Where calls are made. The connection ends when nobody can make one any more.
#[derive(Clone)]
pub(super) struct Handle(Arc<Owner>);

struct Owner(Arc<Calls>);

/// What callers and the carrier share.
#[derive(Default)]
pub(super) struct Calls {
    state: Mutex<State>,
    carrier: AtomicWaker,
}

#[derive(Default)]
struct State {
    /// What is to be sent, how much of it nobody waits for any more, and at which place of all bytes it begins.
    out: Vec<u8>,
    dead: usize,
    taken: u64,
    /// How many of all bytes were given to the connection.
    left: u64,
    last: u32,
    waiting: HashMap<u32, Waiting>,
    standing: Standing,
}

struct Waiting {
    answer: oneshot::Sender<Outcome>,
    /// At which place of all bytes the call begins, and how long it is.
    at: u64,
    length: usize,
}

/// Whether calls may be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Open,
    /// Those under way are finished.
    Closing,
    Over(Why),
}

/// A call that was made. Dropped before its answer, it is cancelled at the partner.
pub(super) struct Called<'c> {
    calls: &'c Calls,
    call: u32,
    answer: oneshot::Receiver<Outcome>,
}

impl Handle {
    pub(super) fn new(calls: &Arc<Calls>) -> Self {
        Self(Arc::new(Owner(Arc::clone(calls))))
    }

    /// Whether no call can be made any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.0.state.lock().standing != Standing::Open
    }

    /// Whether so much waits to be sent that no call is taken.
    pub(super) fn is_full(&self) -> bool {
        self.0.0.state.lock().is_full()
    }

    /// Makes a call.
    pub(super) fn call(&self, request: &Request<Body>) -> Result<Called<'_>, Lost> {
        self.0.0.begin(request)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Called<'_> {
    /// Waits for the answer.
    pub(super) async fn answer(mut self) -> Outcome {
        let why = || Why::Ended("its connection is gone".into());
        (&mut self.answer).await.unwrap_or_else(|_| Err(Lost { may_have_left: true, why: why() }))
    }
}

impl Drop for Called<'_> {
    fn drop(&mut self) {
        let mut state = self.calls.state.lock();
        if let Some(gone) = state.waiting.remove(&self.call) {
            state.give_up(self.call, &gone);
            drop(state);
            self.calls.carrier.wake();
        }
    }
}

impl Calls {
    fn begin(&self, request: &Request<Body>) -> Result<Called<'_>, Lost> {
        let (sender, answer) = oneshot::channel();
        let mut state = self.state.lock();
        let state = &mut *state;
        match &state.standing {
            Standing::Open if state.is_full() => return Err(Lost { may_have_left: false, why: Why::Full }),
            Standing::Open => {}
            Standing::Closing => return Err(Lost { may_have_left: false, why: Why::Refused }),
            Standing::Over(why) => return Err(Lost { may_have_left: false, why: why.clone() }),
        }
        let call = state.free_number();
        let before = state.out.len();
        frame::put(&mut state.out, Kind::Call, call, |out| {
            head::put_call(out, request);
            if let Body::Full(body) = request.body() {
                out.extend_from_slice(body);
            }
        });
        let (at, length) = (state.taken + before as u64, state.out.len() - before);
        state.waiting.insert(call, Waiting { answer: sender, at, length });
        self.carrier.wake();
        Ok(Called { calls: self, call, answer })
    }

    /// No new calls; those under way are finished.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        if state.standing == Standing::Open {
            state.standing = Standing::Closing;
            self.carrier.wake();
        }
    }

    /// The carrier waits for something to carry.
    pub(super) fn register(&self, waker: &std::task::Waker) {
        self.carrier.register(waker);
    }

    /// Whether bytes wait to be sent.
    pub(super) fn has_bytes(&self) -> bool {
        !self.state.lock().out.is_empty()
    }

    /// Takes bytes that wait, usually all of them, in exchange for memory for the next ones; `into` is empty.
    pub(super) fn take_bytes(&self, into: &mut Vec<u8>) {
        let mut state = self.state.lock();
        state.sweep();
        if state.out.len() <= TAKEN {
            std::mem::swap(&mut state.out, into);
        } else {
            let some = state.whole_frames(TAKEN);
            into.extend(state.out.drain(..some));
        }
        state.taken += into.len() as u64;
    }

    /// So many more bytes were given to the connection.
    pub(super) fn have_left(&self, bytes: usize) {
        self.state.lock().left += bytes as u64;
    }

    /// Whether anybody waits for an answer.
    pub(super) fn is_waiting(&self) -> bool {
        !self.state.lock().waiting.is_empty()
    }

    /// Whether there is nothing left to do, for ever.
    pub(super) fn is_done(&self) -> bool {
        let state = self.state.lock();
        state.standing != Standing::Open && state.waiting.is_empty() && state.out.is_empty()
    }

    /// Whether nobody can make a call any more, and nobody waits for one.
    pub(super) fn is_deserted(&self) -> bool {
        let state = self.state.lock();
        state.standing != Standing::Open && state.waiting.is_empty()
    }

    pub(super) fn ask(&self, number: u32) {
        frame::put_bare(&mut self.state.lock().out, Kind::Ping, number);
    }

    /// Takes a frame that came.
    pub(super) fn take(&self, Frame { kind, call, content }: Frame<'_>) -> Result<(), Broken> {
        match kind {
            Kind::Answer => {
                let (head, body) = head::answer(content)?;
                self.settle(call, Ok(head.map(|()| Body::from(Bytes::copy_from_slice(body)))));
            }
            Kind::Refused => self.settle(call, Err(Lost { may_have_left: false, why: Why::Refused })),
            Kind::Leaving => self.close(),
            Kind::Pong => {}
            Kind::Hello | Kind::Call | Kind::Cancel | Kind::Ping => return Err(Broken::OutOfTurn(kind)),
        }
        Ok(())
    }

    fn settle(&self, call: u32, outcome: Outcome) {
        // Whoever cancelled has no use for it.
        let waiting = self.state.lock().waiting.remove(&call);
        if let Some(waiting) = waiting {
            let _ = waiting.answer.send(outcome);
        }
    }

    /// The connection is over: nobody gets an answer any more.
    pub(super) fn end(&self, why: &Why) {
        let (left, waiting) = {
            let mut state = self.state.lock();
            if !matches!(state.standing, Standing::Over(_)) {
                state.standing = Standing::Over(why.clone());
            }
            (state.out, state.dead) = (Vec::new(), 0);
            (state.left, std::mem::take(&mut state.waiting))
        };
        for waiting in waiting.into_values() {
            let lost = Lost { may_have_left: waiting.at < left, why: why.clone() };
            let _ = waiting.answer.send(Err(lost));
        }
    }
}

impl State {
    fn is_full(&self) -> bool {
        let waits = (self.out.len() - self.dead) as u64;
        waits + self.taken.saturating_sub(self.left) > MOST_UNSENT
    }

    /// Nobody waits for `call` any more.
    fn give_up(&mut self, call: u32, gone: &Waiting) {
        if gone.at < self.taken {
            return frame::put_bare(&mut self.out, Kind::Cancel, call);
        }
        self.dead += gone.length;
        // Not for each of them: all that is left is copied.
        if self.dead > self.out.len() / 2 {
            self.sweep();
        }
    }

    /// Leaves out the calls that nobody waits for any more.
    fn sweep(&mut self) {
        if self.dead == 0 {
            return;
        }
        let all = std::mem::take(&mut self.out);
        let mut rest = &all[..];
        while let Ok(Some((frame, used))) = frame::first(rest) {
            let (whole, behind) = rest.split_at(used);
            rest = behind;
            if frame.kind == Kind::Call {
                let Some(waiting) = self.waiting.get_mut(&frame.call) else { continue };
                waiting.at = self.taken + self.out.len() as u64;
            }
            self.out.extend_from_slice(whole);
        }
        self.dead = 0;
    }

    /// So many bytes are the first frames that together have at least `least`.
    fn whole_frames(&self, least: usize) -> usize {
        let mut bytes = 0;
        while bytes < least
            && let Ok(Some((_, used))) = frame::first(self.out.get(bytes..).unwrap_or_default())
        {
            bytes += used;
        }
        bytes
    }

    /// A number that no call under way has.
    fn free_number(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.waiting.contains_key(&self.last) {
                return self.last;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn calls() -> (Arc<Calls>, Handle) {
        let calls = Arc::new(Calls::default());
        let handle = Handle::new(&calls);
        (calls, handle)
    }

    fn request(text: &'static str) -> Request<Body> {
        Request::post("/x").body(Body::from(text)).unwrap()
    }

    /// The kinds and numbers of all frames that wait to be sent.
    fn sent(calls: &Calls) -> Vec<(Kind, u32)> {
        let mut bytes = Vec::new();
        calls.take_bytes(&mut bytes);
        let (mut rest, mut all) = (&bytes[..], Vec::new());
        while let Some((frame, used)) = frame::first(rest).unwrap() {
            all.push((frame.kind, frame.call));
            rest = &rest[used..];
        }
        all
    }

    fn answer(calls: &Calls, call: u32, text: &'static str) {
        let mut content = Vec::new();
        head::put_answer(&mut content, http::StatusCode::OK, &http::HeaderMap::new());
        content.extend_from_slice(text.as_bytes());
        calls.take(Frame { kind: Kind::Answer, call, content: &content }).unwrap();
    }

    #[test]
    fn calls_leave_together_and_each_gets_its_own_answer() {
        let (calls, handle) = calls();
        let mut first = Box::pin(handle.call(&request("first")).unwrap().answer());
        let mut second = Box::pin(handle.call(&request("second")).unwrap().answer());
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        assert_eq!(sent(&calls), [(Kind::Call, 1), (Kind::Call, 2)]);
        for (call, text, waiting) in [(2, "two", &mut second), (1, "one", &mut first)] {
            answer(&calls, call, text);
            let response = waiting.now_or_never().unwrap().unwrap();
            assert!(matches!(response.body(), Body::Full(body) if body == text));
        }
        drop((first, second));
        assert_eq!(sent(&calls), [], "nothing is left to cancel");
    }

    #[test]
    fn a_call_that_nobody_waits_for_is_cancelled_and_its_answer_goes_nowhere() {
        let (calls, handle) = calls();
        let gone = handle.call(&request("x")).unwrap();
        assert_eq!(sent(&calls), [(Kind::Call, 1)]);
        drop(gone.answer());
        assert_eq!(sent(&calls), [(Kind::Cancel, 1)]);
        assert!(!calls.is_waiting());
        answer(&calls, 1, "late");
    }

    #[test]
    fn a_call_that_is_given_up_before_it_was_taken_never_leaves_and_the_others_know_where_they_are() {
        let (calls, handle) = calls();
        let mut all: Vec<_> = (0..5).map(|_| handle.call(&request("x")).unwrap()).collect();
        let last = all.pop().unwrap();
        all.remove(1);
        drop(all.remove(0));
        assert_eq!(sent(&calls), [(Kind::Call, 3), (Kind::Call, 4), (Kind::Call, 5)]);
        // The last one is the only one of which nothing has left.
        let of_one = calls.state.lock().taken / 3;
        calls.have_left(usize::try_from(2 * of_one).unwrap());
        calls.end(&Why::Refused);
        let outcomes: Vec<_> =
            all.into_iter().chain([last]).map(|call| call.answer().now_or_never().unwrap()).collect();
        let left: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap_err().may_have_left).collect();
        assert_eq!(left, [true, true, false]);
    }

    #[test]
    fn what_nobody_takes_is_bounded_however_many_calls_are_given_up_and_dead_ones_make_room() {
        let (calls, handle) = calls();
        let large = || Request::post("/x").body(Body::from(vec![0; LONGEST_BODY])).unwrap();
        let mut taken = Vec::new();
        calls.take_bytes(&mut taken);
        for _ in 0..1000 {
            drop(handle.call(&large()).unwrap());
        }
        assert!(calls.state.lock().out.len() <= 2 * LONGEST_BODY, "they are left out");
        let mut waiting = Vec::new();
        let full = loop {
            match handle.call(&large()) {
                Ok(call) => waiting.push(call),
                Err(lost) => break lost,
            }
        };
        assert_eq!(full, Lost { may_have_left: false, why: Why::Full });
        assert!((256..300).contains(&waiting.len()), "{}", waiting.len());
        assert!(handle.is_full() && !handle.is_closed());
        calls.take_bytes(&mut taken);
        assert!((TAKEN..TAKEN + 2 * LONGEST_BODY).contains(&taken.len()), "{}", taken.len());
        assert!(handle.is_full(), "what was taken has not left yet");
        calls.have_left(taken.len());
        waiting.push(handle.call(&large()).unwrap());
        // The first ones were taken and need their cancels; the others make room.
        waiting.truncate(16);
        assert!(calls.state.lock().out.len() < LONGEST_BODY);
    }

    #[test]
    fn at_the_end_each_call_knows_whether_any_of_it_may_have_left() {
        let (calls, handle) = calls();
        let gone = handle.call(&request("x")).unwrap();
        calls.take_bytes(&mut Vec::new());
        calls.have_left(1);
        let kept = handle.call(&request("x")).unwrap();
        let why = Why::Ended("reset".into());
        calls.end(&why);
        assert_eq!(gone.answer().now_or_never().unwrap().unwrap_err(), Lost { may_have_left: true, why: why.clone() });
        assert_eq!(kept.answer().now_or_never().unwrap().unwrap_err(), Lost { may_have_left: false, why: why.clone() });
        assert_eq!(handle.call(&request("x")).err(), Some(Lost { may_have_left: false, why }));
    }

    #[test]
    fn a_partner_that_leaves_or_refuses_gets_nothing_new_and_finishes_the_rest() {
        let (calls, handle) = calls();
        let (first, second) = (handle.call(&request("x")).unwrap(), handle.call(&request("x")).unwrap());
        sent(&calls);
        calls.take(Frame { kind: Kind::Leaving, call: 0, content: b"" }).unwrap();
        assert!(handle.is_closed() && !calls.is_done());
        let refused = Lost { may_have_left: false, why: Why::Refused };
        assert_eq!(handle.call(&request("x")).err(), Some(refused.clone()));
        answer(&calls, 1, "one");
        assert!(first.answer().now_or_never().unwrap().is_ok());
        calls.take(Frame { kind: Kind::Refused, call: 2, content: b"" }).unwrap();
        assert_eq!(second.answer().now_or_never().unwrap().unwrap_err(), refused);
        assert!(calls.is_done());
    }
}
