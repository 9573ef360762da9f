//! permessage-deflate at a real node, by a client that packs and opens messages itself. Libraries of others negotiate it in
//! `e2e/grid`.

use serde_json::{Value, json};

use super::{
    Stage,
    wire::{BINARY, PING, PONG, RSV1, TEXT, Wire, deflated, frame, inflated},
};

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

fn listeners() -> Value {
    json!({"listeners": [{"name": "a", "compression": true, "textPing": false}, {"name": "b", "path": "/plain"}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_agreed_on_where_the_listener_and_the_client_want_it() {
    let stage = Stage::new(&listeners()).await;
    let agreed = "sec-websocket-extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let table = [
        ("/", OFFER, true),
        ("/", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10, permessage-deflate\r\n", true),
        ("/", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n", false),
        ("/", "Sec-WebSocket-Extensions: x-webkit-deflate-frame\r\n", false),
        ("/", "", false),
        ("/plain", OFFER, false),
    ];
    for (path, offer, expected) in table {
        let wire = Wire::to(stage.clients, path, offer).await;
        assert!(wire.head.starts_with("http/1.1 101"), "{}", wire.head);
        assert_eq!(wire.head.lines().any(|line| line == agreed), expected, "{path} {offer}: {}", wire.head);
        assert_eq!(wire.head.contains("extensions"), expected);
    }
    let mut backend = Wire::to(stage.api, "/ws/v1", OFFER).await;
    assert!(!backend.head.contains("extensions"), "backends are near: {}", backend.head);
    backend.writes(&frame(TEXT | RSV1, &deflated(b"ping"))).await;
    assert_eq!(backend.is_closed().await, 1002);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_opened_on_their_way_in_and_packed_on_their_way_out_where_it_pays() {
    let stage = Stage::new(&listeners()).await;
    let mut backend = stage.consumer(&["default"]).await;
    let (mut packs, mut plain) = (Wire::to(stage.clients, "/", OFFER).await, Wire::to(stage.clients, "/", "").await);
    let long = "the same words again and again ".repeat(200);
    let packed = deflated(long.as_bytes());
    let (first, rest) = packed.split_at(packed.len() / 2);
    packs.writes(&frame(TEXT | RSV1, &packed)).await;
    packs.writes(&[frame(0x01 | RSV1, first), frame(PING, b"between"), frame(0x80, rest)].concat()).await;
    packs.writes(&frame(TEXT, b"as it is")).await;
    packs.writes(&frame(BINARY | RSV1, &deflated(&[0; 3]))).await;
    assert_eq!(packs.next().await, Some((PONG, b"between".to_vec())));
    let mut id = String::new();
    for (data, form) in [(long.as_str(), "text"), (&long, "text"), ("as it is", "text"), ("AAAA", "binary")] {
        let event = backend.hears_json().await;
        assert_eq!(event["p"]["d"]["frame"], json!({"type": form, "data": data, "finish": true}));
        event["p"]["c"].as_str().unwrap().clone_into(&mut id);
    }
    plain.writes(&frame(TEXT, b"who am I")).await;
    let other = backend.hears_json().await["p"]["c"].as_str().unwrap().to_owned();
    for id in [&id, &other] {
        let call = json!({"m": "conn.call", "p": {"c": id, "f": "subscribe", "a": ["all"]}, "i": 1});
        assert_eq!(backend.asks(&call).await["r"], json!({"s": true}));
    }
    let publish = |data: &str| json!({"m": "mesh.publish", "p": {"c": "all", "d": data}, "i": 1});
    assert_eq!(backend.asks(&publish(&long)).await["r"], json!({"s": 2, "f": 0}));
    let (first, payload) = packs.next().await.unwrap();
    assert_eq!((first, inflated(&payload)), (TEXT | RSV1, long.clone().into_bytes()));
    assert!(payload.len() < long.len() / 20, "{} of {}", payload.len(), long.len());
    assert_eq!(plain.next().await, Some((TEXT, long.clone().into_bytes())), "the same for who did not ask for it");
    // Short or random, it is sent as it is.
    backend.asks(&publish("short")).await;
    assert_eq!(packs.next().await, Some((TEXT, b"short".to_vec())));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_open_or_opens_to_too_much_ends_its_own_connection_only() {
    let stage = Stage::new(&listeners()).await;
    let mut other = Wire::to(stage.clients, "/", OFFER).await;
    let packed = deflated(b"hello hello hello hello");
    let table = [
        ("a bomb", frame(TEXT | RSV1, &deflated(&vec![b'a'; 16 << 20])), 1009),
        ("one byte too much", frame(TEXT | RSV1, &deflated(&vec![b'a'; (64 << 10) + 1])), 1009),
        ("no deflate", frame(TEXT | RSV1, b"\xff\xff\xff"), 1002),
        ("a control frame", frame(PING | RSV1, &packed), 1002),
        ("marked in the middle", [frame(0x01 | RSV1, &packed[..4]), frame(0xc0, &packed[4..])].concat(), 1002),
        ("text that is none", frame(TEXT | RSV1, &deflated(b"\xc3\x28")), 1007),
    ];
    for (what, bytes, code) in table {
        let mut wire = Wire::to(stage.clients, "/", OFFER).await;
        wire.writes(&bytes).await;
        assert_eq!(wire.is_closed().await, code, "{what}");
        other.writes(&frame(PING, what.as_bytes())).await;
        assert_eq!(other.next().await, Some((PONG, what.as_bytes().to_vec())));
    }
}
