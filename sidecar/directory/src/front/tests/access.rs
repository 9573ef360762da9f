//! Who may do what: tokens, certificates, the reading of records.

use bytes::Bytes;
use http::{HeaderValue, Request, header::AUTHORIZATION};
use serde_json::json;

use super::{PREFIX, Shown, Stage, message};
use crate::directory::{Reading, Rules};

const CONNECT: &str = "/central-systems/connect";

fn connect(csid: &str) -> String {
    message(json!({"id": csid, "endpoint": "1.2.3.4:9904"}))
}

#[tokio::test]
async fn a_write_needs_the_token_or_the_certificate_of_its_central_system() {
    let stage = Stage::new();
    let post = |authorization: Option<&[u8]>| {
        let mut request = Request::post(format!("{PREFIX}{CONNECT}")).body(Bytes::from(connect("yunqi"))).unwrap();
        let value = authorization.map(|value| HeaderValue::from_bytes(value).unwrap());
        request.headers_mut().extend(value.map(|value| (AUTHORIZATION, value)));
        request
    };
    let bearer = |token: &str| format!("Bearer {token}").into_bytes();
    let (own, other) = (bearer(&stage.yunqi), bearer(&stage.other));
    let nobody = Shown::default();
    for (authorization, expected) in [
        (None, (401, 7002)),
        (Some(&b"Bearer"[..]), (401, 7002)),
        (Some(b"Bearer "), (401, 7002)),
        (Some(b"Bearer datanet_x"), (401, 7002)),
        (Some(b"Basic eDp5"), (401, 7002)),
        (Some(b"Bearer \xff"), (401, 7002)),
        (Some(&other), (403, 7002)),
        (Some(&own), (200, 200)),
    ] {
        assert_eq!(stage.send(post(authorization), &nobody).await.codes(), expected, "{authorization:?}");
    }
    let unknown = stage.send(post(None), &nobody).await;
    assert_eq!(unknown.headers["www-authenticate"], "Bearer");

    let certificate = |id: &str| Shown { certificate: Some(id.to_owned()), address: None };
    assert_eq!(stage.send(post(None), &certificate("YUNQI")).await.codes(), (200, 200));
    assert_eq!(stage.send(post(None), &certificate("another")).await.codes(), (403, 7002));
    assert_eq!(stage.send(post(None), &certificate("no.id")).await.codes(), (401, 7002));
    // A token that does not hold is not made good by a certificate.
    assert_eq!(stage.send(post(Some(b"Bearer x")), &certificate("yunqi")).await.codes(), (401, 7002));
    let mut twice = post(Some(&own));
    twice.headers_mut().append(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    assert_eq!(stage.send(twice, &nobody).await.codes(), (401, 7002));
}

#[tokio::test]
async fn a_revoked_and_an_expired_token_hold_no_longer() {
    let stage = Stage::new();
    let expired = stage.front.directory().issue("yunqi", Some(1), 0).unwrap();
    assert_eq!(stage.post_by(&expired, CONNECT, connect("yunqi")).await.codes(), (401, 7002));
    assert_eq!(stage.post(CONNECT, connect("yunqi")).await.codes(), (200, 200));
    assert_eq!(stage.front.directory().revoke("yunqi"), Ok(2));
    assert_eq!(stage.post(CONNECT, connect("yunqi")).await.codes(), (401, 7002));
}

/// What is public, and what is for members: each path of the directory that reads.
#[tokio::test]
async fn records_are_for_those_who_may_read_them() {
    let closed = Stage::new().settled().await;
    let open = Stage::with(Rules { reading: Reading::Public, ..Rules::default() }).settled().await;
    let leaf = closed.get("/log/tile/entries/000.p/3").await.body;
    let start = leaf.windows(8).position(|window| window == b"\"body\":\"").unwrap() + 8;
    let body = format!("/log/body/{}", std::str::from_utf8(&leaf[start..start + 64]).unwrap());
    for (path, is_public) in [
        ("", true),
        ("/log/checkpoint", true),
        ("/log/tile/0/000.p/3", true),
        ("/proof/inclusion?index=0&size=3", true),
        ("/proof/consistency?first=1&second=3", true),
        ("/log/tile/entries/000.p/3", false),
        (body.as_str(), false),
        ("/proof/state?kind=csid&key=yunqi", false),
        ("/central-systems/retrieve?csid=yunqi", false),
        ("/adapter-classes/retrieve?className=odps-adapter", false),
        ("/data-systems/retrieve?dataAddress=yunqi.BCAE345BCAE345F0", false),
    ] {
        assert_eq!(closed.get(path).await.status, 200, "{path}");
        assert_eq!(closed.get_unknown(path).await.status, if is_public { 200 } else { 401 }, "{path}");
        // Another log has other entries in it: their signatures have other keys.
        let there = if path == body { 404 } else { 200 };
        assert!([200, there].contains(&open.get_unknown(path).await.status), "{path}");
    }
    for (path, body) in [
        ("/central-systems/retrieve", json!({"csid": "yunqi"})),
        ("/central-systems/search", json!({"className": "odps-adapter"})),
        ("/adapter-classes/search", json!({})),
    ] {
        let ask = |stage: &Stage| {
            let request = Request::post(format!("{PREFIX}{path}")).body(message(body.clone()).into()).unwrap();
            let front = stage.front.clone();
            async move { front.answer(request, &Shown::default()).await.status().as_u16() }
        };
        assert_eq!((ask(&closed).await, ask(&open).await), (401, 200), "{path}");
    }
}

#[tokio::test]
async fn batches_and_receipts_are_for_members_where_records_are() {
    for (reading, refused) in [(Reading::Members, true), (Reading::Public, false)] {
        let stage = Stage::with(Rules { reading, ..Rules::default() }).settled().await;
        let receipt = stage.get_unknown("/proof/receipt?index=0").await;
        let batch = Request::post(format!("{PREFIX}/batch")).body(message(json!({"messages": []})).into()).unwrap();
        let batch = stage.send(batch, &Shown::default()).await;
        let expected = if refused { (401, 7002) } else { (200, 200) };
        assert_eq!((receipt.codes(), batch.codes()), (expected, expected), "{reading:?}");
    }
}

#[tokio::test]
async fn nobody_who_is_unknown_sends_much() {
    let stage = Stage::new();
    let longest = |path: &str, token: &str| stage.admits(path, token, None).longest;
    for (path, own, foreign) in [
        ("/data-systems/sync", 8 << 20, 64 << 10),
        ("/batch", 8 << 20, 64 << 10),
        ("", 8 << 20, 64 << 10),
        ("/central-systems/connect", 64 << 10, 64 << 10),
        ("/nowhere", 64 << 10, 64 << 10),
    ] {
        assert_eq!((longest(path, &stage.yunqi), longest(path, "x")), (own, foreign), "{path}");
    }
}

/// Whoever has a token could have the gateway read as much as it has memory, and more.
#[tokio::test]
async fn a_member_sends_so_much_at_once_and_no_more() {
    let stage = Stage::new();
    let place = |token: &str, announced| stage.admits("/data-systems/sync", token, announced).place;
    let held: Vec<_> = (0..8).map(|_| place(&stage.yunqi, None).unwrap()).collect();
    let refused = place(&stage.yunqi, None).unwrap_err();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    assert!(place(&stage.yunqi, Some(64 << 10)).is_ok(), "what is short waits for nobody");
    assert!(place(&stage.other, None).is_ok(), "and others have places of their own");
    drop(held);
    assert!(place(&stage.yunqi, None).is_ok());
}
