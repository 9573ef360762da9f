//! What joins the gateways of a node: each asks and tells each other one. One trait, and two implementations: in memory, for one
//! process, and over NATS. What is carried is bytes; whose they are, the rooms know.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;

/// What joins gateways. `tests/conformance` says what holds of each implementation.
pub trait Fabric: fmt::Debug + Send + Sync {
    /// This one's number: 0 to 1023, no other's as long as its lease holds.
    fn number(&self) -> u16;

    /// The others that are there, whether they can be reached or not.
    fn others(&self) -> Vec<u16>;

    /// Asks another one. `None`: it cannot be reached, or it ended meanwhile. Whoever asks says how long that may take.
    fn ask(&self, number: u16, question: Bytes) -> BoxFuture<'static, Option<Bytes>>;

    /// Tells another one something, in the order of calls, and waits for nothing. What was told since [`Inward::joined`] has
    /// arrived, in order, up to some point; where something is lost, both hear [`Inward::left`], and begin anew.
    fn tell(&self, number: u16, notice: Bytes);

    /// From now on `inward` hears what the others ask and tell.
    fn serve(&self, inward: Arc<dyn Inward>);
}

/// What a gateway does when others ask and tell. None of these may wait: all that the others say waits behind it.
pub trait Inward: Send + Sync {
    /// The answer to a question.
    fn asked(&self, from: u16, question: Bytes) -> Bytes;

    /// Another one tells something.
    fn told(&self, from: u16, notice: Bytes);

    /// Another one hears what it is told from here on, and nothing of what it was told before.
    fn joined(&self, number: u16);

    /// What another one was told counts no more, and no more will be heard of it until it joins again.
    fn left(&self, number: u16);
}
