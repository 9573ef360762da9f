//! Writes that come again, with and without an `Idempotency-Key`, and writes that come too often.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header::AUTHORIZATION};
use serde_json::json;
use tokio::time::timeout;

use super::{Got, PREFIX, Shown, Stage, message};

/// Only a test that has failed waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

impl Stage {
    async fn keyed(&self, token: &str, path: &str, key: &str, body: String) -> Got {
        let request = Request::post(format!("{PREFIX}{path}")).header("idempotency-key", key);
        let request = request.header(AUTHORIZATION, format!("Bearer {token}")).body(Bytes::from(body)).unwrap();
        self.send(request, &Shown::default()).await
    }
}

fn connect(csid: &str, endpoint: &str) -> String {
    message(json!({"id": csid, "endpoint": endpoint}))
}

#[tokio::test]
async fn the_same_key_is_the_same_write() {
    let stage = Stage::new();
    let path = "/central-systems/connect";
    let first = stage.keyed(&stage.yunqi, path, "k", connect("yunqi", "a:1")).await;
    stage.says(path, json!({"id": "yunqi", "endpoint": "b:1"})).await;
    let again = stage.keyed(&stage.yunqi, path, "k", connect("yunqi", "a:1")).await;
    assert_eq!((first.codes(), first.json()), ((200, 200), again.json()));
    let now = stage.says("/central-systems/retrieve", json!({"csid": "yunqi"})).await;
    assert_eq!((&now["centralsystem"]["endpoint"], &now["revision"]), (&json!("b:1"), &json!(2)), "nothing was done");
    assert_eq!(stage.keyed(&stage.yunqi, path, "k", connect("yunqi", "c:1")).await.codes(), (409, 7300));
    let other = "/central-systems/disconnect";
    assert_eq!(stage.keyed(&stage.yunqi, other, "k", connect("yunqi", "a:1")).await.codes(), (409, 7300));
    assert_eq!(stage.keyed(&stage.other, path, "k", connect("other", "a:1")).await.codes(), (200, 200));
    assert_eq!(stage.keyed(&stage.yunqi, path, "a b", connect("yunqi", "a:1")).await.codes(), (400, 7300));
}

/// Its write stood, and the key was forgotten: the same call did it again over what had been written since.
#[tokio::test]
async fn a_key_is_remembered_where_its_caller_goes_away() {
    let stage = Stage::new();
    let path = "/central-systems/connect";
    {
        let left = stage.keyed(&stage.yunqi, path, "k", connect("yunqi", "a:1"));
        let left = timeout(Duration::ZERO, left).await;
        assert!(left.is_err(), "it is asked once, and not again");
    }
    let mut changes = stage.front.directory().view().changes();
    timeout(PATIENCE, changes.wait_for(|size| *size == 1)).await.unwrap().unwrap();
    stage.says(path, json!({"id": "yunqi", "endpoint": "b:1"})).await;
    let again = stage.keyed(&stage.yunqi, path, "k", connect("yunqi", "a:1")).await;
    assert_eq!((again.codes(), &again.json()["revision"]), ((200, 200), &json!(1)));
    let now = stage.says("/central-systems/retrieve", json!({"csid": "yunqi"})).await;
    assert_eq!(now["centralsystem"]["endpoint"], "b:1");
}

/// A refusal is not remembered: what was refused may be put right.
#[tokio::test]
async fn a_refused_write_may_be_tried_again_with_its_key() {
    let stage = Stage::new();
    let sync = message(json!({"csid": "yunqi", "adapterClasses": []}));
    assert_eq!(stage.keyed(&stage.yunqi, "/adapter-classes/sync", "k", sync.clone()).await.codes(), (404, 7310));
    stage.says("/central-systems/connect", json!({"id": "yunqi", "endpoint": "a:1"})).await;
    assert_eq!(stage.keyed(&stage.yunqi, "/adapter-classes/sync", "k", sync).await.codes(), (200, 200));
}

/// D-3: a snapshot that was kept and not answered is sent again, without a key.
#[tokio::test]
async fn without_a_key_an_equal_write_adds_nothing() {
    let stage = Stage::new();
    for _ in 0..3 {
        let connected = stage.says("/central-systems/connect", json!({"id": "yunqi", "endpoint": "a:1"})).await;
        assert_eq!(connected["revision"], 1);
    }
}

#[tokio::test]
async fn who_writes_too_often_is_held_up_alone() {
    let stage = Stage::new();
    // A time to come, so that nothing comes back meanwhile.
    let later = super::super::now() + 3_600_000;
    while stage.front.rates.lock().take("yunqi", 1, later).is_ok() {}
    let got = stage.post("/central-systems/connect", connect("yunqi", "a:1")).await;
    assert_eq!((got.codes(), got.headers["retry-after"].to_str().unwrap()), ((429, 7300), "1"));
    let other = stage.post_by(&stage.other, "/central-systems/connect", connect("other", "a:1")).await;
    assert_eq!(other.codes(), (200, 200));
}

/// A batch that was sent again after a time-out did everything again.
#[tokio::test]
async fn a_key_of_a_batch_is_one_of_each_of_its_writes() {
    let stage = Stage::new();
    let connect = |endpoint: &str| json!({"header": {"version": "datanet 1.0", "operation": "connect"}, "body": {"id": "yunqi", "endpoint": endpoint}});
    let batch = |last: &str| json!({"body": {"messages": [connect("a:1"), connect("b:1"), connect(last)]}}).to_string();
    let first = stage.keyed(&stage.yunqi, "/batch", "k", batch("b:1")).await.json();
    let revisions = |answer: &serde_json::Value| -> Vec<_> {
        answer["answers"].as_array().unwrap().iter().map(|one| (one["code"].clone(), one["revision"].clone())).collect()
    };
    assert_eq!(revisions(&first), [(json!(200), json!(1)), (json!(200), json!(2)), (json!(200), json!(2))]);
    stage.says("/central-systems/connect", json!({"id": "yunqi", "endpoint": "c:1"})).await;
    let again = stage.keyed(&stage.yunqi, "/batch", "k", batch("d:1")).await.json();
    assert_eq!(revisions(&again)[..2], revisions(&first)[..2]);
    assert_eq!(again["answers"][2]["code"], 7300, "another call with the same key");
    let now = stage.says("/central-systems/retrieve", json!({"csid": "yunqi"})).await;
    assert_eq!((&now["centralsystem"]["endpoint"], &now["revision"]), (&json!("c:1"), &json!(3)), "nothing was done");
    assert_eq!(stage.keyed(&stage.yunqi, "/batch", "a b", batch("b:1")).await.codes(), (400, 7300));
}
