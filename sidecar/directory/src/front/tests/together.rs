//! Snapshots and deltas of one central system that come at once: each is whole, and a guard lets one through.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Stage, message};

/// How many come at once.
const MANY: u64 = 16;

/// Sends one body for each number, all at once, and answers how many had each pair of codes.
async fn at_once(stage: &Arc<Stage>, path: &'static str, body: impl Fn(u64) -> Value) -> Vec<(u16, u64)> {
    let mut calls = JoinSet::new();
    for n in 0..MANY {
        let (stage, text) = (Arc::clone(stage), message(body(n)));
        calls.spawn(async move { stage.post(path, text).await.codes() });
    }
    let mut codes = calls.join_all().await;
    codes.sort_unstable();
    codes
}

/// Three data systems whose addresses begin with the number.
fn three(n: u64) -> Vec<Value> {
    let one = |part: u64| json!({"dataAddress": format!("yunqi.{n:X}F{part}"), "name": "n", "endpoint": "a:1", "adapterClass": "odps-adapter"});
    (0..3).map(one).collect()
}

async fn addresses(stage: &Stage) -> Vec<String> {
    let list = stage.says("/data-systems/list", json!({"limit": 1000})).await;
    let rows = list["dataSystems"].as_array().unwrap();
    rows.iter().map(|row| row["dataAddress"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_snapshots_that_come_at_once_the_last_is_there_whole() {
    let stage = Arc::new(Stage::new().settled().await);
    let taken = at_once(&stage, "/data-systems/sync", |n| json!({"csid": "yunqi", "dataSystems": three(n)})).await;
    assert_eq!(taken, vec![(200, 200); 16]);
    let left = addresses(&stage).await;
    let whole = |n| three(n).iter().map(|data| data["dataAddress"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert!((0..MANY).any(|n| whole(n) == left), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_snapshots_and_deltas_with_one_base_one_is_taken() {
    for path in ["/data-systems/sync", "/data-systems/delta"] {
        let stage = Arc::new(Stage::new().settled().await);
        let based = |n| json!({"csid": "yunqi", "baseRevision": 3, "dataSystems": three(n)});
        let codes = at_once(&stage, path, based).await;
        let (taken, refused): (Vec<_>, Vec<_>) = codes.into_iter().partition(|codes| *codes == (200, 200));
        assert_eq!((taken.len(), refused), (1, vec![(409, 7300); 15]), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_deltas_that_come_at_once_none_is_lost() {
    let stage = Arc::new(Stage::new().settled().await);
    stage.says("/data-systems/sync", json!({"csid": "yunqi", "dataSystems": []})).await;
    let taken = at_once(&stage, "/data-systems/delta", |n| json!({"csid": "yunqi", "dataSystems": three(n)})).await;
    assert_eq!(taken, vec![(200, 200); 16]);
    assert_eq!(addresses(&stage).await.len(), 48);
}
