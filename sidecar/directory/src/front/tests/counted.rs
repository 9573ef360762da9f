//! What an operator sees of calls: leniencies and codes by number, and levels.

use bytes::Bytes;
use http::{Request, header::AUTHORIZATION};
use prometheus_client::registry::Registry;
use serde_json::json;

use super::{Got, PREFIX, Shown, Stage, message};
use crate::directory::{Rules, Search};

impl Stage {
    fn metrics(&self) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        self.front.metrics.register(&mut registry);
        self.front.metrics.show(Some(self.front.directory()));
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }
}

fn warns(got: &Got, number: u8) -> bool {
    let text = format!("leniency {number}: ");
    let warnings = got.json()["warnings"].as_array().cloned().unwrap_or_default();
    warnings.iter().any(|one| one.as_str().is_some_and(|one| one.starts_with(&text)))
}

/// What is found out only when it is looked for, and what is asked for by GET or in a batch, was not counted.
#[tokio::test]
async fn each_leniency_is_named_and_counted_whichever_way_it_comes() {
    let stage = Stage::with(Rules { search: Search::Near, ..Rules::default() }).settled().await;
    for (path, body, number) in [
        ("/adapter-classes/search", json!({"protocolName": "odps"}), 6),
        ("/adapter-classes/search", json!({"protocolVersion": "ASPARA 1.0"}), 7),
        ("/central-systems/search", json!({"className": "odps-adpter"}), 8),
    ] {
        let got = stage.post(path, message(body)).await;
        assert!(got.codes() == (200, 200) && warns(&got, number), "{number}: {:?}", got.body);
    }
    let got = stage.get("/central-systems/retrieve?id=yunqi").await;
    assert!(got.codes() == (200, 200) && warns(&got, 3), "{:?}", got.body);
    let search = json!({"header": {"version": "datanet 1.0", "operation": "searchAdapterClasses"},
        "body": {"protocolName": "odps"}});
    let batch = stage.post("/batch", json!({"body": {"messages": [search]}}).to_string()).await;
    assert_eq!(batch.json()["answers"][0]["code"], 200);
    let metrics = stage.metrics();
    for line in [
        "mesh_directory_leniencies_total{number=\"6\"} 2\n",
        "mesh_directory_leniencies_total{number=\"7\"} 1\n",
        "mesh_directory_leniencies_total{number=\"8\"} 1\n",
        "mesh_directory_leniencies_total{number=\"3\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
}

#[tokio::test]
async fn calls_are_counted_by_what_and_code_and_levels_are_shown() {
    let stage = Stage::new().settled().await;
    stage.get("/central-systems/retrieve?csid=yunqi").await;
    stage.get("/central-systems/retrieve?csid=nobody").await;
    stage.get_unknown("/log/checkpoint").await;
    stage.get("/log/tile/0/999").await;
    stage.post("/central-systems/connect", message(json!({"id": "other", "endpoint": "a:1"}))).await;
    let nobody = Request::get(format!("{PREFIX}/watch")).body(Bytes::new()).unwrap();
    assert_eq!(stage.answer(nobody, &Shown::default()).await.status(), 401);
    let own = Request::get(format!("{PREFIX}/watch")).header(AUTHORIZATION, format!("Bearer {}", stage.yunqi));
    let watching = stage.answer(own.body(Bytes::new()).unwrap(), &Shown::default()).await;
    assert_eq!(watching.status(), 200);
    let metrics = stage.metrics();
    for line in [
        "mesh_directory_calls_total{what=\"watch\",code=\"200\"} 1\n",
        "mesh_directory_calls_total{what=\"watch\",code=\"7002\"} 1\n",
        "mesh_directory_calls_total{what=\"connect\",code=\"200\"} 1\n",
        "mesh_directory_calls_total{what=\"connect\",code=\"7002\"} 1\n",
        "mesh_directory_calls_total{what=\"retrieveCentralSystem\",code=\"200\"} 1\n",
        "mesh_directory_calls_total{what=\"retrieveCentralSystem\",code=\"7310\"} 1\n",
        "mesh_directory_calls_total{what=\"log\",code=\"200\"} 1\n",
        "mesh_directory_calls_total{what=\"log\",code=\"7300\"} 1\n",
        "mesh_directory_write_seconds_count 3\n",
        "mesh_directory_central_systems 1\n",
        "mesh_directory_adapter_classes 2\n",
        "mesh_directory_data_systems 2\n",
        "mesh_directory_entries 3\n",
        "mesh_directory_unreached 0\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
}
