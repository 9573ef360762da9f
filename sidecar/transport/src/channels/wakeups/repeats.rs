//! Repeats of one push that race with each other, with their callers' going away, and with room that comes free.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use mesh_core::NodeId;
use shuttle::future::{block_on, spawn};
use tokio::time::Instant;

use super::{explore, key, pop, push};
use crate::{
    Draft, MessageId, Numbered, Origin,
    channels::{Channels, Entering, once::Turn},
    queue::Coming,
};

/// One attempt to push the message with the one id of these tests, as its own connection would make it.
async fn once(channels: Arc<Channels>, number: u8) {
    let sender = Origin::Partner(NodeId::new("LX-A"));
    let numbered = Numbered::new(MessageId { instance: 1, epoch: 1, sequence: 1 });
    let until = Instant::now() + Duration::from_secs(3600);
    let turn = Turn { senders: &channels.senders, sender: &sender, numbered: &numbered, until };
    let Some(_ends_when_dropped) = turn.await else { return };
    let mut payload = vec![0; 400];
    payload[0] = number;
    let id = Some(Arc::clone(&numbered));
    let draft = Draft { payload: Bytes::from(payload), metadata: None, source: None, origin: sender.clone(), id };
    let key = key("s", "t");
    let coming = Coming { topic: key.topic.clone(), draft, route: None, loan: None, record: None };
    Entering::new(&channels, &key.session, coming).await.unwrap();
}

/// The same, by a caller that goes away after so many polls.
async fn once_and_away(channels: Arc<Channels>, polls: usize) {
    let mut pushing = Box::pin(once(channels, 9));
    for _ in 0..polls {
        if poll_fn(|cx| Poll::Ready(pushing.as_mut().poll(cx))).await.is_ready() {
            return;
        }
        shuttle::future::yield_now().await;
    }
}

#[test]
fn a_push_that_comes_often_enters_once_whoever_goes_away() {
    // Room for one message: each repeat may have to wait for it.
    explore(400, 1000, |channels| {
        let all = [Arc::clone(&channels), Arc::clone(&channels), Arc::clone(&channels), Arc::clone(&channels)];
        let [first, second, third, popping] = all;
        block_on(async {
            push(&channels, &key("s", "t"), 1, 400).await.unwrap();
            let gone = spawn(once_and_away(first, 2));
            let also_gone = spawn(once_and_away(second, 1));
            let stays = spawn(once(third, 9));
            let pops = spawn(async move { pop(&popping, &key("s", "t")).await.unwrap() });
            assert_eq!(pops.await.unwrap(), 1);
            stays.await.unwrap();
            gone.await.unwrap();
            also_gone.await.unwrap();
            assert_eq!(channels.levels().messages, 1, "one copy, and the one that stayed was told so");
            assert_eq!(pop(&channels, &key("s", "t")).await.unwrap(), 9);
        });
    });
}
