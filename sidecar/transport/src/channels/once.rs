//! Pushes with an id enter once, however often they come (design section 6, "Across nodes").
//!
//! A repeat that comes while the first is being tried waits for what becomes of it; if that one's caller goes away before the
//! message entered, the repeat tries itself. Where that caller's message is just being written to disk, its try lasts until the disk
//! has said how that ended: success means that it is on disk, also for the repeat. One that comes later is answered as the first was, without entering again. A
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
    shared::OwnerError,
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

/// A try. Dropped, it ends with the truth: whether the message is in its queue. While that is for the disk to say, it is ended by
/// [`Senders::decided`].
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
            // The first try waits for the servers still: who owns the session next knows what came of it.
            None if self.shares() => Err(OwnerError::Unsure.into()),
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

    /// The record of a push has been written, or has not. If its caller went meanwhile, its try ends with that.
    pub(super) fn decided(&self, sender: &Origin, numbered: &Numbered) {
        if numbered.is_left() {
            let last = Instant::now() + LONGEST_RETRY + REMEMBERED;
            self.end(sender, numbered.id, numbered.has_entered().then_some(last));
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
        if numbered.is_left() {
            return;
        }
        let last = until.min(Instant::now() + LONGEST_RETRY) + REMEMBERED;
        senders.end(sender, numbered.id, numbered.has_entered().then_some(last));
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use std::time::Duration;

    use futures::poll;
    use mesh_core::{SessionId, Topic};
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::{
        channels::testing,
        log::faults::{self, Health},
    };

    const ID: MessageId = MessageId { instance: 1, epoch: 2, sequence: 3 };

    async fn push(channels: &Arc<Channels>) -> Result<(), TransportError> {
        let key = Key { session: SessionId::new("s"), topic: Topic::new("t") };
        let draft = Draft {
            payload: "once".into(),
            metadata: None,
            source: None,
            origin: Origin::Application,
            id: Some(Numbered::new(ID)),
        };
        channels.push(&key, draft, None, Instant::now() + Duration::from_secs(60)).await
    }

    /// A push whose caller goes while the disk stands still, and its repeat, which waits.
    async fn left(disk: Health) -> (Result<(), TransportError>, Arc<Channels>, tempfile::TempDir) {
        let home = tempfile::tempdir().unwrap();
        let channels = Channels::open(testing::live_on_disk(), home.path(), &mut Registry::default()).unwrap();
        faults::disk().be(Health::Stands);
        let mut first = Box::pin(push(&channels));
        assert!(poll!(&mut first).is_pending());
        faults::disk().is_awaited();
        drop(first);
        let mut repeat = Box::pin(push(&channels));
        assert!(poll!(&mut repeat).is_pending(), "nobody knows yet whether it is on disk");
        faults::disk().be(disk);
        (repeat.await, channels, home)
    }

    #[tokio::test]
    async fn the_repeat_of_a_push_that_the_disk_refused_after_its_caller_went_is_no_success() {
        let (repeat, channels, _home) = left(Health::Fails).await;
        assert!(matches!(repeat, Err(TransportError::Log(_))), "{repeat:?}");
        assert_eq!(channels.levels().messages, 0);
        faults::disk().be(Health::Works);
        push(&channels).await.unwrap();
        push(&channels).await.unwrap();
        assert_eq!(channels.levels().messages, 1);
    }

    #[tokio::test]
    async fn the_repeat_of_a_push_that_landed_after_its_caller_went_enters_nothing_more() {
        let (repeat, channels, _home) = left(Health::Works).await;
        repeat.unwrap();
        assert_eq!(channels.levels().messages, 1);
    }
}
