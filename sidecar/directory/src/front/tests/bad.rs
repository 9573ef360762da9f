//! Bad input at HTTP's edge (contract section 8): methods, paths, bodies.

use bytes::Bytes;
use http::{Method, Request, header::AUTHORIZATION};

use super::{Content, PREFIX, Shown, Stage, message};
use crate::message::Message;

#[tokio::test]
async fn a_path_takes_its_methods_and_no_other() {
    let stage = Stage::new();
    let retrievals = ["/central-systems/retrieve", "/adapter-classes/retrieve", "/data-systems/retrieve"];
    let messages = Message::ALL.iter().map(|message| message.path());
    let ways = messages.map(|path| (path, if retrievals.contains(&path) { "GET, HEAD, POST" } else { "POST" }));
    let others = [
        ("", "GET, HEAD, POST"),
        ("/batch", "POST"),
        ("/watch", "GET"),
        ("/log/checkpoint", "GET, HEAD"),
        ("/proof/state", "GET, HEAD"),
    ];
    for (path, allowed) in ways.chain(others) {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"] {
            let request = Request::builder().method(method).uri(format!("{PREFIX}{path}"));
            let request = request.header(AUTHORIZATION, format!("Bearer {}", stage.yunqi)).body(Bytes::new()).unwrap();
            if (method, path) == ("GET", "/watch") {
                assert_eq!(stage.answer(request, &Shown::default()).await.status(), 200);
                continue;
            }
            let is_head = *request.method() == Method::HEAD;
            let got = stage.send(request, &Shown::default()).await;
            if allowed.split(", ").any(|one| one == method) {
                assert_ne!(got.status, 405, "{method} {path}");
                continue;
            }
            assert_eq!((got.status, got.headers["allow"].to_str().unwrap()), (405, allowed), "{method} {path}");
            assert!(is_head || got.codes() == (405, 7300), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_path_that_nobody_knows_is_not_found() {
    let stage = Stage::new();
    for path in [
        "/nowhere",
        "/central-systems",
        "/central-systems/connect/",
        "/Central-Systems/connect",
        "/log/",
        "/log/../checkpoint",
        "/log/tile/0/000",
        "/log/tile/entries/000.p/0",
        "/log/tile/0/00",
        "/log/body/0",
        "/log/body/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "/proof",
        "/proof/",
    ] {
        assert_eq!(stage.get(path).await.codes(), (404, 7300), "{path}");
    }
}

/// What is no message: JSON, UTF-8, depth, headers, versions. What a message says is the matter of the message's own tests.
#[tokio::test]
async fn a_body_that_is_no_message_is_refused() {
    let stage = Stage::new();
    let bomb = "[".repeat(60_000);
    for body in [
        &b""[..],
        b"null",
        b"[]",
        b"{}",
        b"{\"body\":[]}",
        b"{\"header\":7,\"body\":{}}",
        b"{\"header\":{\"version\":\"datanet 2.0\"},\"body\":{}}",
        b"{\"header\":{\"version\":\"datanet 1.0\"}}",
        b"{\"body\":{\"id\":\"a\",\"id\":\"b\"}}",
        b"{\"body\":{\"id\":\"\xff\"}}",
        b"{\"body\":{\"id\":\"\\ud800\"}}",
        b"{\"body\":{}} x",
        bomb.as_bytes(),
    ] {
        for message in Message::ALL {
            let got = stage.post(message.path(), body.to_vec()).await;
            assert_eq!(got.status, 400, "{} {}", message.path(), body.escape_ascii());
        }
        assert_eq!(stage.post("/batch", body.to_vec()).await.codes(), (400, 7300), "{}", body.escape_ascii());
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_or_in_an_unknown_coding_is_refused() {
    let stage = Stage::new();
    let long = message(serde_json::json!({"id": "yunqi", "endpoint": "a:1", "desc": "x".repeat(64 << 10)}));
    assert_eq!(stage.post("/central-systems/connect", long).await.codes(), (413, 7300));
    assert_eq!(stage.front.too_large("/datanet/v1/batch").status().as_u16(), 413);
    assert_eq!(stage.front.broken_off("/datanet/v1/batch").status().as_u16(), 400);
    let slow = stage.front.too_slow("/datanet/v1/data-systems/sync");
    let Content::Whole(said) = slow.body() else { panic!("it is whole") };
    let said: serde_json::Value = serde_json::from_slice(said).unwrap();
    assert_eq!((slow.status().as_u16(), &said["code"]), (408, &serde_json::json!(7300)));
    assert!(said["message"].as_str().unwrap().contains("send it again"), "{said}");
    for (coding, status) in [("identity", 400), ("gzip", 400), ("br", 415), ("gzip, br", 415), ("\u{e9}", 415)] {
        let request = Request::post(format!("{PREFIX}/central-systems/connect")).header("content-encoding", coding);
        let request = request.header(AUTHORIZATION, format!("Bearer {}", stage.yunqi)).body(Bytes::new()).unwrap();
        assert_eq!(stage.send(request, &Shown::default()).await.status, status, "{coding}");
    }
}

#[tokio::test]
async fn a_query_is_read_like_a_body() {
    let stage = Stage::new().settled().await;
    for (path, status) in [
        ("/central-systems/retrieve?csid=yunqi", 200),
        ("/central-systems/retrieve?csid=%79unqi", 200),
        ("/central-systems/retrieve?id=yunqi", 200),
        ("/central-systems/retrieve?csid=yunqi&csid=yunqi", 400),
        ("/central-systems/retrieve", 400),
        ("/central-systems/retrieve?csid=", 400),
        ("/central-systems/retrieve?csid=a%00b", 400),
        ("/central-systems/retrieve?csid=yunqi&proof=yes", 400),
        ("/central-systems/retrieve?csid=yunqi&proof=true", 200),
        ("/central-systems/retrieve?csid=yunqi&revision=x", 400),
        ("/proof/state?kind=csid", 400),
        ("/proof/state?kind=name&key=x", 400),
        ("/proof/inclusion?index=x", 400),
        ("/proof/inclusion?index=3", 400),
        ("/proof/inclusion", 400),
        ("/proof/inclusion?index=0&size=4", 400),
        ("/proof/consistency?first=4", 400),
        ("/proof/consistency?first=2&second=1", 400),
        ("/proof/consistency?first=18446744073709551616", 400),
    ] {
        assert_eq!(stage.get(path).await.status, status, "{path}");
    }
}
