//! Copies of messages in ack mode, when the stream that has them is purged by a person, made anew, or full.

use async_nats::jetstream::{self, Context};
use serde_json::json;

use super::{
    A, PATIENCE,
    copies::{acknowledges, acknowledging, are_repeats, copies, have_copies, hears, slow_with},
    file, gateway, sees,
    server::Server,
};
use crate::{grid::Stage, harness::until};

async fn jetstream(server: &Server) -> Context {
    jetstream::new(async_nats::connect(server.url()).await.expect("the server is there"))
}

/// The name of the stream.
fn logs() -> String {
    format!("interconn-v1-{A}-logs")
}

/// Waits until the stream has more than so many bytes, and the gateway has so many copies there and lacks none.
async fn are_written(stage: &Stage, context: &Context, bytes: u64, messages: f64) {
    until("copies to be in the stream", PATIENCE, async || {
        let stream = context.get_stream(logs()).await.expect("there is a stream");
        stream.cached_info().state.bytes > bytes && copies(stage).await == (messages, 0.0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_a_person_purges_are_written_again_and_the_heir_has_all_of_them() {
    let server = Server::start("").unwrap();
    let (a, b) = (gateway(&server).await, gateway(&server).await);
    for stage in [&a, &b] {
        sees(stage, 1).await;
    }
    // Nothing more comes, so nothing is written that would tell.
    let _there = slow_with(&a, 20).await;
    let context = jetstream(&server).await;
    // A fence has a few hundred bytes, and a message more than a hundred.
    are_written(&a, &context, 2000, 20.0).await;

    let stream = context.get_stream(logs()).await.unwrap();
    stream.purge().await.unwrap();
    are_written(&a, &context, 2000, 20.0).await;
    context.delete_stream(logs()).await.unwrap();
    context.create_stream(stream.cached_info().config.clone()).await.unwrap();
    are_written(&a, &context, 2000, 20.0).await;

    a.node.signal("KILL");
    let adopted = async || b.node.metric("mesh_backplane_adopted_messages").await == 20.0;
    until("what it left to be found", PATIENCE, adopted).await;
    let mut backend = acknowledging(&b).await;
    let again = hears(&mut backend, 20).await;
    are_repeats(&again, 0..20);
    let texts: Vec<&str> = again.iter().map(|(text, ..)| text.as_str()).collect();
    assert_eq!(texts, (0..20).map(|n| n.to_string()).collect::<Vec<_>>(), "they were written again in their order");
    acknowledges(&mut backend, &again).await;
    have_copies(&b, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_refuses_copies_and_has_them_when_there_is_room_again() {
    let server = Server::start("").unwrap();
    let mut bounded = file(&server);
    bounded["backplane"]["nats"]["maxBytes"] = json!("1Mi");
    let a = Stage::with(&bounded, &[]).await;
    let mut backend = acknowledging(&a).await;
    let mut user = a.user("/").await;
    // Some fifty of them fit.
    let text = "x".repeat(16 << 10);
    for number in 0..100 {
        user.says(&format!("{number} {text}")).await;
    }
    let heard = hears(&mut backend, 100).await;
    until("the stream to be full", PATIENCE, async || {
        let (written, lacking) = copies(&a).await;
        written + lacking == 100.0 && written > 30.0 && lacking > 30.0
    })
    .await;
    let told = |text: &str| a.node.log().matches(text).count();
    let (alone, again) = ("in the memory of this gateway alone", "have copies in JetStream again");
    until("it to be told", PATIENCE, async || told(alone) == 1).await;
    acknowledges(&mut backend, &heard[..60]).await;
    have_copies(&a, 40.0).await;
    until("its end to be told", PATIENCE, async || told(again) == 1).await;
    assert_eq!(told(alone), 1, "once");
    acknowledges(&mut backend, &heard[60..]).await;
    have_copies(&a, 0.0).await;
}
