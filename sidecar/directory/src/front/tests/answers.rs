//! Answers as HTTP has them: statuses, tags, proofs, receipts, the forms with one path for all.

use bytes::Bytes;
use http::{Request, header::AUTHORIZATION};
use serde_json::json;

use super::{PREFIX, Shown, Stage, message};
use crate::{
    Strictness,
    directory::{ProtocolNames, Rules, Search, Status},
    log::Receipt,
    proofs,
    state::Kind,
};

/// The codes of section 1, each with what HTTP says of it.
#[tokio::test]
async fn the_status_of_http_mirrors_the_code_or_is_always_200() {
    let quiet = Rules { status: Status::AlwaysOk, ..Rules::default() };
    let (loud, quiet) = (Stage::new().settled().await, Stage::with(quiet).settled().await);
    let clash = json!([{"className": "odps-adapter", "protocol": {"name": "ODPS", "version": "2"}}]);
    let stranger = json!([{"dataAddress": "other.1", "name": "n", "endpoint": "a:1", "adapterClass": "odps-adapter"}]);
    for (path, body, expected) in [
        ("/central-systems/connect", json!({"id": "yunqi", "endpoint": "1.2.3.4:9904"}), (200, 200)),
        ("/central-systems/connect", json!({"id": "yunqi"}), (400, 7300)),
        ("/central-systems/connect", json!({"id": "a.b", "endpoint": "a:1"}), (400, 7310)),
        ("/central-systems/connect", json!({"id": "other", "endpoint": "a:1"}), (403, 7002)),
        ("/central-systems/retrieve", json!({"csid": "nobody"}), (404, 7310)),
        ("/adapter-classes/retrieve", json!({"className": "none"}), (404, 7101)),
        ("/data-systems/retrieve", json!({"dataAddress": "yunqi.1"}), (404, 7001)),
        ("/data-systems/retrieve", json!({"dataAddress": "yunqi"}), (400, 7312)),
        ("/data-systems/sync", json!({"csid": "yunqi", "dataSystems": stranger}), (409, 7312)),
        ("/central-systems/search", json!({"className": ""}), (400, 7313)),
        ("/central-systems/search", json!({}), (400, 7313)),
        ("/adapter-classes/search", json!({"protocolName": 7}), (400, 7313)),
        ("/adapter-classes/search", json!({"limit": 0}), (400, 7300)),
        ("/adapter-classes/search", json!({"limit": 1001}), (400, 7300)),
        ("/adapter-classes/search", json!({"cursor": "!"}), (400, 7300)),
        ("/adapter-classes/sync", json!({"csid": "yunqi", "adapterClasses": 1}), (400, 7300)),
    ] {
        let (got, always) =
            (loud.post(path, message(body.clone())).await, quiet.post(path, message(body.clone())).await);
        assert_eq!((got.codes(), always.codes()), (expected, (200, expected.1)), "{path} {body}");
        assert_eq!(got.headers["content-type"], "application/json");
        assert_eq!(got.json()["message"].is_string(), expected.1 != 200, "{path} {body}");
    }
    let connect = message(json!({"id": "other", "endpoint": "a:1"}));
    assert_eq!(loud.post_by(&loud.other, "/central-systems/connect", connect).await.codes(), (200, 200));
    let sync = message(json!({"csid": "other", "adapterClasses": clash}));
    assert_eq!(loud.post_by(&loud.other, "/adapter-classes/sync", sync).await.codes(), (409, 7311));
}

#[tokio::test]
async fn one_path_takes_all_messages_by_their_operation() {
    let stage = Stage::new().settled().await;
    let ask = json!({"header": {"version": "datanet 1.0", "operation": "retrieveDataSystem"},
        "body": {"dataAddress": "yunqi.BCAE345BCAE345F0"}});
    for path in ["", "/"] {
        let got = stage.post(path, ask.to_string()).await;
        assert_eq!(
            (got.codes(), got.json()["dataSystem"]["adapterClass"].as_str()),
            ((200, 200), Some("odps-adapter"))
        );
    }
    let unknown = json!({"header": {"version": "datanet 1.0", "operation": "drop"}, "body": {}});
    assert_eq!(stage.post("", unknown.to_string()).await.codes(), (400, 7300));
    assert_eq!(stage.post("", message(json!({}))).await.codes(), (400, 7300));
}

#[tokio::test]
async fn a_retrieval_by_get_is_cached_until_the_revision_changes() {
    let stage = Stage::new().settled().await;
    let path = "/data-systems/retrieve?dataAddress=yunqi.BCAE345BCAE345F0";
    let first = stage.get(path).await;
    assert_eq!((first.codes(), first.headers["etag"].to_str().unwrap()), ((200, 200), "\"3\""));
    assert_eq!(first.json().get("warnings"), None);
    let asked = json!({"dataAddress": "yunqi.BCAE345BCAE345F0"});
    assert_eq!(first.json(), stage.says("/data-systems/retrieve", asked).await);
    let again = |tag: &str| {
        let request = Request::get(format!("{PREFIX}{path}")).header("if-none-match", tag);
        request.header(AUTHORIZATION, format!("Bearer {}", stage.yunqi)).body(Bytes::new()).unwrap()
    };
    for (tag, status) in
        [("\"3\"", 304), ("W/\"3\"", 304), ("\"1\", \"3\"", 304), ("*", 304), ("\"2\"", 200), ("3", 200)]
    {
        let got = stage.send(again(tag), &Shown::default()).await;
        assert_eq!((got.status, got.body.is_empty()), (status, status == 304), "{tag}");
    }
    stage.says("/central-systems/connect", json!({"id": "yunqi", "endpoint": "1.2.3.4:9908"})).await;
    assert_eq!(stage.send(again("\"3\""), &Shown::default()).await.status, 200);
    let head = Request::head(format!("{PREFIX}{path}")).header(AUTHORIZATION, format!("Bearer {}", stage.yunqi));
    let head = stage.send(head.body(Bytes::new()).unwrap(), &Shown::default()).await;
    assert_eq!((head.status, head.body.is_empty(), head.headers["etag"].to_str().unwrap()), (200, true, "\"4\""));
}

#[tokio::test]
async fn a_batch_answers_each_message_in_its_place() {
    let stage = Stage::new().settled().await;
    let one = |operation: &str, body: serde_json::Value| json!({"header": {"version": "datanet 1.0", "operation": operation}, "body": body});
    let messages = [
        one("connect", json!({"id": "yunqi", "endpoint": "5.6.7.8:1"})),
        one("retrieveCentralSystem", json!({"csid": "yunqi"})),
        one("retrieveAdapterClass", json!({"className": "none"})),
        one("connect", json!({"id": "other", "endpoint": "a:1"})),
        json!(7),
    ];
    let got = stage.post("/batch", message(json!({"messages": messages}))).await;
    let codes: Vec<_> = got.json()["answers"].as_array().unwrap().iter().map(|answer| answer["code"].clone()).collect();
    assert_eq!((got.codes(), codes), ((200, 200), vec![json!(200), json!(200), json!(7101), json!(7002), json!(7300)]));
    assert_eq!(got.json()["answers"][1]["centralsystem"]["endpoint"], "5.6.7.8:1");
    let many = vec![json!(7); 1001];
    for wrong in [json!({}), json!({"messages": 1}), json!({"messages": many})] {
        assert_eq!(stage.post("/batch", message(wrong)).await.codes(), (400, 7300));
    }
}

/// Words that callers decide by: that a class is nobody's, and that a snapshot is based on what changed since.
#[tokio::test]
async fn what_dangles_and_what_conflicts_is_said_so() {
    let stage = Stage::new().settled().await;
    let data = |class: &str| json!({"dataAddress": "yunqi.1", "name": "n", "endpoint": "a:1", "adapterClass": class});
    let sync = |class: &str| json!({"csid": "yunqi", "dataSystems": [data(class)], "pending": true});
    let read = async |stage: &Stage| {
        let one = stage.says("/data-systems/retrieve", json!({"dataAddress": "yunqi.1"})).await;
        let list = stage.says("/data-systems/list", json!({})).await;
        [one["dataSystem"]["dangling"].clone(), list["dataSystems"][0]["dangling"].clone()]
    };
    stage.says("/data-systems/sync", sync("nobodys")).await;
    assert_eq!(read(&stage).await, [json!(true), json!(true)], "D-4: it was never there");
    stage.says("/data-systems/sync", sync("odps-adapter")).await;
    assert_eq!(read(&stage).await, [json!(null), json!(null)]);
    stage.says("/adapter-classes/sync", json!({"csid": "yunqi", "adapterClasses": []})).await;
    assert_eq!(read(&stage).await, [json!(true), json!(true)], "D-5: it was withdrawn");
    let stale = json!({"csid": "yunqi", "dataSystems": [], "baseRevision": 1});
    let refused = stage.post("/data-systems/sync", message(stale)).await;
    assert_eq!(refused.codes(), (409, 7300));
    assert!(refused.json()["message"].as_str().unwrap().starts_with("conflict: "), "{:?}", refused.body);
}

/// Leniency 6, its option, by POST, by GET and in a batch. What was signed is proven as it was signed.
#[tokio::test]
async fn a_protocol_is_answered_in_lower_case_and_proven_as_it_was_registered() {
    let rules = Rules { protocol_names: ProtocolNames::LowerCase, ..Rules::default() };
    let stage = Stage::with(rules).settled().await;
    let by_post = stage.says("/adapter-classes/retrieve", json!({"className": "mysql-adapter"})).await;
    let by_get = stage.get("/adapter-classes/retrieve?className=mysql-adapter&proof=true").await.json();
    let message = json!({"header": {"operation": "retrieveAdapterClass"}, "body": {"className": "mysql-adapter"}});
    let batch = stage.post("/batch", json!({"body": {"messages": [message]}}).to_string()).await.json();
    for answer in [&by_post, &by_get, &batch["answers"][0]] {
        assert_eq!(answer["adapterClass"]["protocol"], json!({"name": "mysql", "version": "5.7"}), "{answer}");
    }
    assert_eq!(by_get["proof"]["record"]["offers"]["yunqi"][1]["protocol"]["name"], "MySQL");
}

/// Leniency 8 is off where leniencies are refused, whatever the setting for searches says.
#[tokio::test]
async fn a_strict_directory_takes_no_name_that_is_near() {
    let rules = Rules { strictness: Strictness::Strict, search: Search::Near, ..Rules::default() };
    let stage = Stage::with(rules).settled().await;
    let near = stage.post("/central-systems/search", message(json!({"className": "odps-adpter"}))).await;
    assert_eq!(near.codes(), (400, 7300));
    assert!(near.json()["message"].as_str().unwrap().contains("leniency 8"), "{:?}", near.body);
}

/// D-8: every answer is of a revision.
#[tokio::test]
async fn proofs_and_the_head_say_their_revision() {
    let stage = Stage::new().settled().await;
    for path in [
        "",
        "/proof/inclusion?index=0",
        "/proof/consistency?first=1",
        "/proof/receipt?index=0",
        "/proof/state?kind=csid&key=yunqi",
    ] {
        assert_eq!(stage.get(path).await.json()["revision"], 3, "{path}");
    }
}

/// Whatever stood in its header, or beside it, was done without a word.
#[tokio::test]
async fn a_batch_is_held_to_its_header_like_any_message() {
    let search = json!({"header": {"version": "datanet 1.0", "operation": "searchAdapterClasses"}, "body": {}});
    let header = json!({"version": "datanet 1.0"});
    let cases = [
        (json!({"header": {"version": "datanet 2.0"}, "body": {"messages": [search]}}), 400, 400, None),
        (
            json!({"header": {"version": "datanet 1.0", "operation": "connect"}, "body": {"messages": []}}),
            400,
            400,
            None,
        ),
        (json!({"body": {"messages": [search]}}), 200, 400, Some("leniency 2")),
        (json!({"header": header, "body": {"messages": [search]}, "more": 1}), 200, 400, Some("leniency 20")),
        (json!({"header": header, "body": {"messages": [search], "more": 1}}), 200, 400, Some("leniency 20")),
        (json!({"header": header, "body": {"messages": [search]}}), 200, 200, None),
    ];
    let strict = Stage::with(Rules { strictness: Strictness::Strict, ..Rules::default() });
    let lenient = Stage::new();
    for (batch, taken, strictly, warning) in cases {
        let got = lenient.post("/batch", batch.to_string()).await;
        let warnings = got.json()["warnings"].to_string();
        assert_eq!(got.status, taken, "{batch}");
        assert_eq!(warnings.contains("leniency"), warning.is_some(), "{batch} {warnings}");
        assert!(warnings.contains(warning.unwrap_or_default()), "{batch} {warnings}");
        assert_eq!(strict.post("/batch", batch.to_string()).await.status, strictly, "{batch}");
    }
}

/// A thousand searches, each with all that there is, would be answered with gigabytes.
#[tokio::test]
async fn a_batch_ends_where_its_answers_are_too_long() {
    let stage = Stage::new().settled().await;
    let class = |n: u64| {
        let name = format!("class-{}-{n}", "x".repeat(100));
        json!({"className": name, "protocol": {"name": "P", "version": n.to_string()}})
    };
    let classes: Vec<_> = (0..1000).map(class).collect();
    stage.says("/data-systems/sync", json!({"csid": "yunqi", "dataSystems": []})).await;
    let revision = stage.says("/adapter-classes/sync", json!({"csid": "yunqi", "adapterClasses": classes})).await;
    let one = |operation: &str, body: serde_json::Value| json!({"header": {"version": "datanet 1.0", "operation": operation}, "body": body});
    let mut messages = vec![one("searchAdapterClasses", json!({"limit": 1000})); 100];
    messages.push(one("connect", json!({"id": "yunqi", "endpoint": "5.6.7.8:1"})));
    let got = stage.post("/batch", message(json!({"messages": messages}))).await.json();
    let codes: Vec<_> = got["answers"].as_array().unwrap().iter().map(|answer| answer["code"].clone()).collect();
    let answered = codes.iter().take_while(|code| **code == 200).count();
    assert!((50..100).contains(&answered) && got.to_string().len() < (8 << 20) + (64 << 10), "{answered}");
    assert_eq!((codes.len(), &codes[answered..]), (101, &vec![json!(7300); 101 - answered][..]));
    assert_eq!(got["revision"], revision["revision"], "what was refused is not done");
}

#[tokio::test]
async fn what_is_there_and_what_is_not_is_proven_on_request() {
    let stage = Stage::new().settled().await;
    let root = stage.front.directory().view().read(crate::state::State::root);
    let ask = |key: &str| {
        json!({"header": {"version": "datanet 1.0", "proof": true}, "body": {"dataAddress": key}}).to_string()
    };
    for (key, status, there) in [("yunqi.BCAE345BCAE345F0", 200, true), ("yunqi.0", 404, false)] {
        let got = stage.post("/data-systems/retrieve", ask(key)).await;
        let proof = &got.json()["proof"];
        let value = proofs::verified_state(proof, Kind::Address, key, &root).unwrap();
        assert_eq!((got.status, value.is_some(), proof["record"].is_object()), (status, there, there), "{key}");
        let hash = there.then(|| crate::Hash::of(&[&crate::canonical(&proof["record"]).unwrap()]));
        assert_eq!(value, hash, "{key}");
    }
}

#[tokio::test]
async fn a_write_has_its_receipt_on_request() {
    let stage = Stage::new().settled().await;
    let body = json!({"id": "yunqi", "endpoint": "9.9.9.9:1"});
    let connect = json!({"header": {"version": "datanet 1.0", "receipt": true}, "body": body}).to_string();
    let got = stage.post("/central-systems/connect", connect.clone()).await.json();
    let receipt = Receipt::parse(got["receipt"].as_str().unwrap().as_bytes()).unwrap();
    let directory = stage.front.directory();
    let leaf = directory.store().leaf(receipt.index).unwrap().unwrap();
    let (checkpoint, _) = receipt.verify(&leaf, directory.log_key(), &[]).unwrap();
    assert_eq!((checkpoint.size, got["revision"].as_u64()), (4, Some(4)));
    // All is so already: there is no entry, and so no receipt.
    assert_eq!(stage.post("/central-systems/connect", connect).await.json().get("receipt"), None);
}

#[tokio::test]
async fn a_revision_that_is_not_there_yet_is_waited_for_elsewhere() {
    let stage = Stage::new().settled().await;
    let ask = |revision: u64| {
        json!({"header": {"version": "datanet 1.0", "revision": revision}, "body": {"csid": "yunqi"}}).to_string()
    };
    assert_eq!(stage.post("/central-systems/retrieve", ask(3)).await.codes(), (200, 200));
    let ahead = stage.post("/central-systems/retrieve", ask(4)).await;
    assert_eq!((ahead.codes(), ahead.headers["retry-after"].to_str().unwrap()), ((503, 7314), "1"));
}

#[tokio::test]
async fn a_strict_directory_refuses_what_others_warn_of() {
    let strict = Stage::with(Rules { strictness: Strictness::Strict, ..Rules::default() });
    let lenient = Stage::new();
    let body = json!({"header": {"version": "Datanet 1.0"}, "body": {"csid": "yunqi", "endpoint": "http://a", "x": 1}});
    let got = lenient.post("/central-systems/connect", body.to_string()).await;
    assert_eq!((got.codes(), got.json()["warnings"].as_array().map(Vec::len)), ((200, 200), Some(4)));
    assert_eq!(strict.post("/central-systems/connect", body.to_string()).await.codes(), (400, 7300));
}

#[tokio::test]
async fn a_lease_ends_with_its_time_and_its_id_stays() {
    let stage = Stage::new();
    stage.says("/central-systems/connect", json!({"id": "yunqi", "endpoint": "a:1", "ttl": 1})).await;
    let directory = stage.front.directory();
    assert_eq!(directory.end_leases(0).await, 0);
    assert_eq!(directory.end_leases(u64::MAX >> 12).await, 1);
    assert_eq!(directory.end_leases(u64::MAX >> 12).await, 0);
    let gone = stage.post("/central-systems/retrieve", message(json!({"csid": "yunqi"}))).await;
    assert_eq!(gone.codes(), (404, 7310));
}

/// D-8: a caller that is refused knows of which revision, and so does a cache.
#[tokio::test]
async fn every_answer_has_its_revision_and_what_is_not_there_is_no_copy() {
    let stage = Stage::new().settled().await;
    for (path, body) in [
        ("/central-systems/retrieve", json!({"csid": "nobody"})),
        ("/central-systems/connect", json!({"id": "other", "endpoint": "a:1"})),
        ("/data-systems/retrieve", json!({})),
        ("/nowhere", json!({})),
    ] {
        let got = stage.post(path, message(body)).await;
        assert!(got.codes().1 != 200 && got.json()["revision"] == 3, "{path}: {:?}", got.body);
    }
    let path = "/central-systems/retrieve?csid=nobody&proof=true";
    let missing = stage.get(path).await;
    assert_eq!((missing.codes(), missing.headers["etag"].as_bytes()), ((404, 7310), &b"\"3\""[..]));
    let request = Request::get(format!("{PREFIX}{path}")).header(AUTHORIZATION, format!("Bearer {}", stage.yunqi));
    let request = request.header("if-none-match", "\"3\"").body(Bytes::new()).unwrap();
    assert_eq!(stage.send(request, &Shown::default()).await.codes(), (404, 7310));
}

/// D-6: the label names the class, and the proof is about what was answered.
#[tokio::test]
async fn a_class_that_is_asked_for_by_its_label_comes_with_its_own_proof() {
    let stage = Stage::new().settled().await;
    let mut ask = json!({"header": {"version": "datanet 1.0", "proof": true}, "body": {"className": "odps-aspara1.0"}});
    let got = stage.post("/adapter-classes/retrieve", ask.to_string()).await.json();
    assert_eq!(
        (&got["adapterClass"]["className"], &got["proof"]["key"]),
        (&json!("odps-adapter"), &json!("odps-adapter"))
    );
    let root = stage.front.directory().view().read(crate::state::State::root);
    assert!(proofs::verified_state(&got["proof"], Kind::Class, "odps-adapter", &root).unwrap().is_some());
    ask["body"]["className"] = "odps-aspara9".into();
    let none = stage.post("/adapter-classes/retrieve", ask.to_string()).await.json();
    assert_eq!((&none["code"], &none["proof"]["key"]), (&json!(7101), &json!("odps-aspara9")));
    assert_eq!(proofs::verified_state(&none["proof"], Kind::Class, "odps-aspara9", &root), Ok(None));
}
