//! A server that is asked whether a handshake is good.

use std::time::Duration;

use futures::future::join_all;
use mesh_network::listen::OwnAddresses;
use serde_json::{Value, json};

use super::bench::{NOW, Server, comes, context, listener, now, offer, outward, outward_through, response};
use crate::{
    Context, Key,
    auth::{AuthError, Gate, Known, Subject},
};

fn gate(url: &str, more: &Value) -> Gate {
    let mut hook = json!({ "url": url });
    hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Gate::compile(&listener(&json!({ "http": hook })), None, &outward(), None).unwrap().unwrap()
}

#[tokio::test]
async fn the_question_has_what_the_configuration_says_and_the_answer_becomes_context() {
    let server = Server::start(|head, body| {
        assert!(head.starts_with("POST /hook HTTP/1.1") && head.contains("content-type: application/json"), "{head}");
        let question: Value = serde_json::from_str(body).unwrap();
        let expected = json!({"listener": "chat", "uri": "/chat?room=7", "remote": "203.0.113.7", "subprotocols": ["v2", "v1"],
            "headers": {"cookie": ["sid=1"], "authorization": ["Bearer x"]}});
        assert_eq!(question, expected);
        let answer = format!(r#"{{"context":{{"user_id":10000000000000000000001}},"channels":["room:7"],"expiresAt":{}}}"#, NOW + 60);
        response("200 OK", "", &answer)
    })
    .await;
    let headers =
        [("Cookie", "sid=1"), ("Authorization", "Bearer x"), ("X-Other", "y"), ("Sec-WebSocket-Protocol", "v2, v1")];
    let identity = comes(&gate(&server.url(), &json!({})), &offer("/chat?room=7", &headers)).await.unwrap();
    assert_eq!(context(&identity), r#"{"user_id":10000000000000000000001}"#);
    assert_eq!((identity.channels[0].as_str(), identity.expires), ("room:7", Some(Duration::from_secs(60))));
}

#[tokio::test]
async fn each_answer_has_its_status_for_the_handshake() {
    let table = [
        ("204 No Content", "", 101),
        ("200 OK", "", 101),
        ("200 OK", "{}", 101),
        ("200 OK", r#"{"context":null}"#, 101),
        ("401 No", "", 401),
        ("403 No", "{}", 403),
        ("404 No", "", 503),
        ("302 Found", "", 503),
        ("500 No", "{}", 503),
        ("200 OK", "yes", 503),
        ("200 OK", "[]", 503),
        ("200 OK", r#"{"context":[]}"#, 503),
        ("200 OK", r#"{"context":{"__x":1}}"#, 503),
        ("200 OK", r#"{"channels":["a b"]}"#, 503),
        ("200 OK", r#"{"expiresAt":"soon"}"#, 503),
        ("200 OK", r#"{"expiresAt":1}"#, 401),
    ];
    for (status, body, expected) in table {
        let answer = if status.starts_with("204") {
            "HTTP/1.1 204 No Content\r\n\r\n".into()
        } else {
            response(status, "", body)
        };
        let server = Server::start(move |_, _| answer.clone()).await;
        let came = comes(&gate(&server.url(), &json!({})), &offer("/chat", &[])).await;
        assert_eq!(came.map_or_else(|e| e.refused().status, |_| 101), expected, "{status} {body}");
    }
    let large = Server::start(|_, _| response("200 OK", "", &format!("{{{}}}", " ".repeat(64 * 1024)))).await;
    let e = comes(&gate(&large.url(), &json!({})), &offer("/chat", &[])).await.unwrap_err();
    assert!(matches!(e, AuthError::Unavailable(_)));
}

#[tokio::test]
async fn about_a_token_that_a_client_brings_it_is_asked_with_what_is_known_of_the_client() {
    let server = Server::start(|_, body| {
        let question: Value = serde_json::from_str(body).unwrap();
        let known = |token: &str| json!({"listener": "chat", "remote": "203.0.113.7", "context": {"user_id": 7}, "token": token});
        if question == known("new") {
            return response("200 OK", "", &format!(r#"{{"context":{{"level":2}},"expiresAt":{}}}"#, NOW + 90));
        }
        assert_eq!(question, known("anothers"));
        response("403 No", "", "")
    })
    .await;
    let gate = gate(&server.url(), &json!({}));
    let mut context = Context::default();
    let id = serde_json::value::RawValue::from_string("7".into()).unwrap();
    context.set(Key::new("user_id").unwrap(), id, 100).unwrap();
    let subject = Subject::default();
    let known = Known { subject: &subject, remote: "203.0.113.7".parse().unwrap(), context: &context };
    let identity = gate.renew(known, "new", now()).await.unwrap();
    assert_eq!(
        (super::bench::context(&identity).as_str(), identity.expires),
        (r#"{"level":2}"#, Some(Duration::from_secs(90)))
    );
    assert_eq!(gate.renew(known, "anothers", now()).await.unwrap_err(), AuthError::Forbidden);
}

#[tokio::test]
async fn new_tokens_take_no_place_of_a_handshake() {
    // It answers handshakes alone.
    let server = Server::start(|_, body| {
        let is_renewal = serde_json::from_str::<Value>(body).unwrap().get("token").is_some();
        if is_renewal { String::new() } else { response("200 OK", "", "{}") }
    })
    .await;
    let gate = gate(&server.url(), &json!({"timeout": "300s"}));
    let (subject, context) = (Subject::default(), Context::default());
    let known = Known { subject: &subject, remote: "203.0.113.7".parse().unwrap(), context: &context };
    let tokens: Vec<String> = (0..64).map(|n| n.to_string()).collect();
    let mut waiting = join_all(tokens.iter().map(|token| gate.renew(known, token, now())));
    let all_asked = async {
        while server.asked() < 64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        said = &mut waiting => panic!("{said:?}"),
        () = all_asked => {}
    }
    let one_more = tokio::select! {
        said = &mut waiting => panic!("{said:?}"),
        one_more = gate.renew(known, "one more", now()) => one_more,
    };
    assert!(matches!(one_more, Err(AuthError::Unavailable(_))), "{one_more:?}");
    assert!(comes(&gate, &offer("/chat", &[])).await.is_ok());
    assert_eq!(server.asked(), 65, "nobody asked about one more");
}

#[tokio::test]
async fn a_server_that_keeps_silent_is_not_waited_for() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let e = comes(&gate(&url, &json!({"timeout": "50ms"})), &offer("/chat", &[])).await.unwrap_err();
    assert_eq!(e.refused().status, 503);
}

#[tokio::test]
async fn an_answer_is_used_again_for_the_same_question_where_it_says_so() {
    for (headers, status, expected) in [
        ("cache-control: private, max-age=60\r\n", "200 OK", [1, 1, 2]),
        ("Cache-Control: Max-Age=60\r\n", "401 No", [1, 1, 2]),
        ("cache-control: max-age=60, no-store\r\n", "200 OK", [1, 2, 3]),
        ("cache-control: max-age=0\r\n", "200 OK", [1, 2, 3]),
        ("", "200 OK", [1, 2, 3]),
    ] {
        let server = Server::start(move |_, _| response(status, headers, "{}")).await;
        let gate = gate(&server.url(), &json!({}));
        let mut asked = Vec::new();
        for cookie in ["sid=1", "sid=1", "sid=2"] {
            let came = comes(&gate, &offer("/chat", &[("Cookie", cookie)])).await;
            assert_eq!(came.is_ok(), status == "200 OK");
            asked.push(server.asked());
        }
        assert_eq!(asked, expected, "{headers}");
    }
}

#[tokio::test]
async fn one_connection_serves_many_questions() {
    let server = Server::start(|_, _| response("200 OK", "", "{}")).await;
    let gate = gate(&server.url(), &json!({}));
    for n in 0..3 {
        assert!(comes(&gate, &offer(&format!("/chat?{n}"), &[])).await.is_ok());
    }
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn a_server_that_is_not_near_is_asked_through_the_nodes_egress() {
    let proxy = Server::start(|head, _| {
        if head.starts_with("CONNECT hooks.example:8080 HTTP/1.1\r\n") {
            return "HTTP/1.1 200 OK\r\n\r\n".into();
        }
        assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
        response("200 OK", "", r#"{"channels":["room:7"]}"#)
    })
    .await;
    let outward = outward_through(OwnAddresses::default(), &[&format!("http://{}", proxy.address)]);
    let asks = |url: &str| {
        let listener = listener(&json!({ "http": { "url": url } }));
        Gate::compile(&listener, None, &outward, None).unwrap().unwrap()
    };
    let identity = comes(&asks("http://hooks.example:8080/hook"), &offer("/chat", &[])).await.unwrap();
    assert_eq!((identity.channels[0].as_str(), proxy.asked()), ("room:7", 2));
    let near = Server::start(|_, _| response("200 OK", "", "{}")).await;
    assert!(comes(&asks(&near.url()), &offer("/chat", &[])).await.is_ok());
    assert_eq!((near.asked(), proxy.asked()), (1, 2));
}
