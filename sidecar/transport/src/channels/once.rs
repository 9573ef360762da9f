//! Pushes with an id enter once, however often they come (design section 6, "Across nodes").
//!
//! A repeat that comes while the first is being tried waits for what becomes of it; if that one's caller goes away before the
//! message entered, the repeat tries itself. One that comes later is answered as the first was, without entering again. A
//! push that was refused has entered nowhere, so its repeat is a try like any other.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use mesh_core::Route;
use tokio::time::Instant;

use super::{
    Channels, Key, Room,
    repeats::{Repeats, Standing},
};
use crate::{
    Draft, TransportError,
    queue::{LONGEST_RETRY, MessageId, Numbered, Origin, REMEMBERED},
    sync::Mutex,
};

/// What all senders have pushed of late.
#[derive(Debug, Default)]
pub(super) struct Senders(Mutex<HashMap<Origin, Repeats>>);

/// The wait for the turn to try a push.
pub(super) struct Turn<'a> {
    pub(super) senders: &'a Senders,
    pub(super) sender: &'a Origin,
    pub(super) numbered: &'a Arc<Numbered>,
    /// When the sender gives up.
    pub(super) until: Instant,
}

/// A try. Dropped, it ends with the truth: whether the message is in its queue.
pub(super) struct Try<'a> {
    turn: Turn<'a>,
}

impl Channels {
    /// As [`push`](Self::push), for a push with an id.
    pub(super) async fn push_once(
        self: &Arc<Self>,
        key: &Key,
        draft: Draft,
        numbered: &Arc<Numbered>,
        route: Option<&Route>,
        room: Option<&Room>,
        until: Instant,
    ) -> Result<(), TransportError> {
        let (sender, bytes) = (draft.origin.clone(), draft.size());
        let turn = Turn { senders: &self.senders, sender: &sender, numbered, until };
        match self.unless_over(until, turn).await {
            Some(Some(_ends_when_dropped)) => self.enter_queue(key, draft, route, room, until).await,
            Some(None) => {
                self.metrics.repeated_pushes.inc();
                Ok(())
            }
            None => Err(TransportError::Full { session: key.session.clone(), bytes }),
        }
    }
}

impl Senders {
    /// Remembers a push that entered before the node was started again.
    pub(super) fn remember(&self, sender: &Origin, id: MessageId, until: Instant) {
        let now = Instant::now();
        if until > now {
            self.0.lock().entry(sender.clone()).or_default().remember(id, until, now);
        }
    }

    fn end(&self, sender: &Origin, id: MessageId, entered: Option<Instant>) {
        let wakers = {
            let mut all = self.0.lock();
            all.get_mut(sender).map(|repeats| repeats.end(id, entered, Instant::now())).unwrap_or_default()
        };
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

impl<'a> Future for Turn<'a> {
    /// `None`: it has entered.
    type Output = Option<Try<'a>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Turn { senders, sender, numbered, until } = *self;
        let mut all = senders.0.lock();
        if !all.contains_key(sender) {
            // Partners come and go; those who sent nothing for long need no memory.
            let now = Instant::now();
            all.retain(|_, repeats| !repeats.is_empty(now));
            all.insert(sender.clone(), Repeats::default());
        }
        match all.get_mut(sender).map(|repeats| repeats.begin(numbered.id, cx.waker())) {
            Some(Standing::First) => Poll::Ready(Some(Try { turn: Turn { senders, sender, numbered, until } })),
            Some(Standing::Entered) => Poll::Ready(None),
            Some(Standing::Tried) | None => Poll::Pending,
        }
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        let Turn { senders, sender, numbered, until } = self.turn;
        let last = until.min(Instant::now() + LONGEST_RETRY) + REMEMBERED;
        senders.end(sender, numbered.id, numbered.has_entered().then_some(last));
    }
}
