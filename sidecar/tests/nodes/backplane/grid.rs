//! What the grid of one gateway reaches at the others, and what becomes of it when one of them dies, or NATS does.

use serde_json::{Value, json};

use super::{PATIENCE, again, gateway, sees, server::Server};
use crate::{
    grid::Stage,
    harness::{Socket, until},
};

/// What a call of a backend came to.
async fn calls(stage: &Stage, name: &str, p: &Value) -> Value {
    let answer = stage.backend().await.asks(&json!({"m": name, "p": p, "i": 1})).await;
    if answer["E"].is_null() { answer["r"].clone() } else { answer["E"]["k"].clone() }
}

/// The event of what a user says, as a backend hears it.
async fn said(user: &mut Socket, backend: &mut Socket, text: &str) -> Value {
    user.says(text).await;
    let event = backend.hears_json().await;
    assert_eq!(event["p"]["d"]["frame"]["data"], text, "{event}");
    event["p"].clone()
}

async fn sends(from: &Stage, client: &Value, text: &str) -> Value {
    calls(from, "mesh.send", &json!({"c": client, "d": text})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_are_one_grid_whoever_of_them_dies_and_when_nats_does() {
    let mut server = Server::start("").unwrap();
    let (a, b, mut c) = (gateway(&server).await, gateway(&server).await, gateway(&server).await);
    for stage in [&a, &b, &c] {
        sees(stage, 2).await;
    }
    let mut backend = a.consumer(&["default"]).await;

    // What users of the others say reaches a consumer that is connected here.
    let (mut at_b, mut at_c) = (b.user("/").await, c.user("/").await);
    let (from_b, from_c) = (said(&mut at_b, &mut backend, "b").await, said(&mut at_c, &mut backend, "c").await);
    assert_ne!(from_b["n"], from_c["n"], "each gateway has a number of its own");
    let (client_b, client_c) = (&from_b["c"], &from_c["c"]);

    // To each of them it is sent, published and called from here.
    assert_eq!(sends(&a, client_b, "to b").await, json!({"s": true}));
    assert_eq!(at_b.hears().await, "to b");
    for client in [client_b, client_c] {
        let subscribe = json!({"c": client, "f": "subscribe", "a": ["room"]});
        assert_eq!(calls(&a, "conn.call", &subscribe).await, json!({"s": true}));
    }
    let publication = json!({"c": "room", "d": "to all"});
    assert_eq!(calls(&a, "mesh.publish", &publication).await, json!({"s": 2, "f": 0}));
    assert_eq!((at_b.hears().await, at_c.hears().await), ("to all".into(), "to all".into()));
    // Each finds each other in its own time.
    let ask = json!({"c": client_b, "f": "info", "a": []});
    let mut info = Value::Null;
    until("c to reach b", PATIENCE, async || {
        info = calls(&c, "conn.call", &ask).await;
        info["s"] == true
    })
    .await;
    assert_eq!((&info["n"], &info["channels"]), (&from_b["n"], &json!(["room"])));

    // A gateway is killed: its clients cannot be reached, and are none once it is gone.
    let number_of_c = from_c["n"].clone();
    c.node.signal("KILL");
    sees(&a, 1).await;
    assert_eq!(sends(&a, client_c, "to c").await, "unreachable");
    assert_eq!(calls(&a, "mesh.publish", &publication).await, json!({"s": 1, "f": 0}));
    assert_eq!(at_b.hears().await, "to all");
    again(&mut c, &server).await;
    let mut at_c = c.user("/").await;
    let again = said(&mut at_c, &mut backend, "again").await;
    assert_ne!(again["n"], number_of_c, "ids of that number may be out");
    assert_ne!(&again["c"], client_c);

    // NATS is killed: who is here is served, and nobody else is reached.
    server.kill().unwrap();
    let state = async |stage: &Stage| stage.node.private("/status").await.json()["backplane"]["state"].clone();
    until("the loss to be seen", PATIENCE, async || state(&b).await == "Away").await;
    assert_eq!(sends(&b, client_b, "here").await, json!({"s": true}));
    assert_eq!(at_b.hears().await, "here");
    assert_eq!(sends(&b, &again["c"], "there").await, "unreachable");
    server.start_again().unwrap();
    until("the others to be reached", PATIENCE, async || sends(&b, &again["c"], "there").await == json!({"s": true}))
        .await;
    assert_eq!(at_c.hears().await, "there");
    assert_eq!(said(&mut at_c, &mut backend, "still").await["c"], again["c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_consumer_elsewhere_does_not_acknowledge_comes_again_from_the_gateway_that_has_it() {
    let server = Server::start("").unwrap();
    let (a, b) = (gateway(&server).await, gateway(&server).await);
    sees(&b, 1).await;
    let mut first = a.backend().await;
    let pop = json!({"m": "queue.pop", "p": {"t": ["default"], "a": true}, "i": 1});
    assert_eq!(first.asks(&pop).await["r"], json!({"s": true}));
    let mut user = b.user("/").await;
    let given = said(&mut user, &mut first, "once").await;
    assert_eq!((given["redelivered"].as_bool(), given["k"].is_u64()), (None, true));
    let nack = json!({"m": "queue.nack", "p": {"k": given["k"]}, "i": 2});
    // The answer and what comes again overtake each other.
    first.says(&nack.to_string()).await;
    let both = [first.hears_json().await, first.hears_json().await];
    let again = both.iter().find(|one| one["e"] == "queue.pop").unwrap();
    assert_eq!((&again["p"]["redelivered"], &again["p"]["d"]["frame"]["data"]), (&json!(true), &json!("once")));
    // It dies with the message: another one gets it, where the user is connected.
    let mut second = b.backend().await;
    assert_eq!(second.asks(&pop).await["r"], json!({"s": true}));
    drop(first);
    let last = second.hears_json().await["p"].clone();
    assert_eq!((&last["redelivered"], &last["d"]["frame"]["data"]), (&json!(true), &json!("once")));
    let ack = second.asks(&json!({"m": "queue.ack", "p": {"k": last["k"]}, "i": 2})).await;
    assert_eq!(ack["r"], json!({"s": true}));
}
