//! Keys that stand at a URL.

use std::sync::Arc;

use mesh_network::listen::OwnAddresses;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::bench::{Server, Signer, comes_with, listener, now, offer, outward, outward_but, response};
use crate::auth::{AuthError, Gate, Outward, TokenError};

fn gate(url: &str, outward: &Outward, before: Option<&Gate>) -> Gate {
    let listener = listener(&json!({"jwt": {"jwks": {"url": url}, "algorithms": ["ES256", "HS256"]}}));
    Gate::compile(&listener, None, outward, before).unwrap().unwrap()
}

fn token(signer: &Signer, kid: &str) -> String {
    signer.token(&json!({"alg": "ES256", "kid": kid}), &json!({}))
}

/// A server whose set may be changed.
async fn issuer(first: Value) -> (Server, Arc<Mutex<Value>>) {
    let set = Arc::new(Mutex::new(first));
    let shown = Arc::clone(&set);
    let server = Server::start(move |_, _| response("200 OK", "", &shown.lock().to_string())).await;
    (server, set)
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_for_one_that_is_not_known() {
    let (old, new) = (Signer::p256(), Signer::p256());
    let (server, set) = issuer(json!({"keys": [old.jwk("old")]})).await;
    let first = gate(&server.url(), &outward(), None);
    let (a, b) = (token(&old, "old"), token(&old, "old"));
    let (a, b) = tokio::join!(comes_with(&first, &a), comes_with(&first, &b));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(server.asked(), 1, "two who come at once wait for one question");
    *set.lock() = json!({"keys": [old.jwk("old"), new.jwk("new")]});
    // A name that is made up is no reason to ask again at once.
    let e = comes_with(&first, &token(&new, "new")).await.unwrap_err();
    assert_eq!((e, server.asked()), (AuthError::Token(TokenError::UnknownKey), 1));
    // What was fetched stays with the listener's next settings, and goes with another URL.
    let same = gate(&server.url(), &outward(), Some(&first));
    assert!(comes_with(&same, &token(&old, "old")).await.is_ok());
    assert_eq!(server.asked(), 1);
    let other = gate(&format!("{}?other", server.url()), &outward(), Some(&same));
    assert!(comes_with(&other, &token(&new, "new")).await.is_ok());
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_server_that_is_of_no_use_lets_nobody_in_and_is_asked_again() {
    let signer = Signer::p256();
    let good = json!({"keys": [signer.jwk("k")]}).to_string();
    let large = format!("{}{}", " ".repeat(300 * 1024), good);
    let chunked =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4b000\r\n{}\r\n0\r\n\r\n", " ".repeat(0x4b000));
    let answers = [
        response("500 No", "", &good),
        response("302 Found", "location: http://127.0.0.1:1/\r\n", &good),
        response("200 OK", "", "no keys"),
        response("200 OK", "", &large),
        chunked,
        response("200 OK", "", &json!({"keys": [Signer::secret(64).jwk("k")]}).to_string()),
        "no http at all\r\n\r\n".to_owned(),
    ];
    for answer in answers {
        let server = Server::start(move |_, _| answer.clone()).await;
        let e = comes_with(&gate(&server.url(), &outward(), None), &token(&signer, "k")).await.unwrap_err();
        assert_eq!((matches!(e, AuthError::Unavailable(_)), e.refused().status), (true, 503), "{e}");
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let e = comes_with(&gate(&format!("http://{nobody}/"), &outward(), None), &token(&signer, "k")).await.unwrap_err();
    assert_eq!(e.refused().status, 503);
}

#[tokio::test]
async fn a_handshake_that_leaves_takes_no_question_with_it() {
    let signer = Signer::p256();
    let (server, _) = issuer(json!({"keys": [signer.jwk("k")]})).await;
    let gate = gate(&server.url(), &outward(), None);
    let (offer, token) =
        (offer("/chat", &[("Authorization", &format!("Bearer {}", token(&signer, "k")))]), token(&signer, "k"));
    // It is polled once, which begins the question, and dropped.
    let mut leaves = Box::pin(gate.admit(&offer, "203.0.113.7".parse().unwrap(), now()));
    assert!(futures::poll!(leaves.as_mut()).is_pending());
    drop(leaves);
    assert!(comes_with(&gate, &token).await.is_ok());
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn nobody_is_sent_to_this_nodes_own_listeners() {
    let signer = Signer::p256();
    let (server, _) = issuer(json!({"keys": [signer.jwk("k")]})).await;
    let own = OwnAddresses::default();
    own.add(server.address);
    let e = comes_with(&gate(&server.url(), &outward_but(own), None), &token(&signer, "k")).await.unwrap_err();
    assert_eq!((e.refused().status, server.asked()), (503, 0));
}

#[test]
fn urls_that_lead_nowhere_or_hold_a_password_are_refused() {
    for url in ["https://u:p@h/", "https://u@h/", "https:///x", "ftp://h/", "h/x", "https://", "https://h:99999/"] {
        let listener = listener(&json!({"jwt": {"jwks": {"url": url}, "algorithms": ["ES256"]}}));
        let e = Gate::compile(&listener, None, &outward(), None).unwrap_err();
        assert!(matches!(&e, AuthError::Url(text) if !text.contains("u:p")), "{url}: {e}");
    }
}
