//! Lists and deltas, as a caller meets them.

use serde_json::{Value, json};

use super::{Stage, message};

#[tokio::test]
async fn each_kind_is_listed_with_what_people_need() {
    let stage = Stage::new().settled().await;
    let list = async |kind: &str, body: Value| stage.says(&format!("/{kind}/list"), body).await;
    let systems = list("central-systems", json!({"className": "odps-adapter"})).await;
    assert_eq!(systems["centralsystems"], json!([{"id": "yunqi", "endpoint": "1.2.3.4:9904"}]));
    let classes = list("adapter-classes", json!({"csid": "yunqi", "protocolName": "mysql"})).await;
    let mysql = json!({"className": "mysql-adapter", "protocol": {"name": "MySQL", "version": "5.7"}, "offers": 1});
    assert_eq!(classes["adapterClasses"], json!([mysql]));
    let first = list("data-systems", json!({"limit": 1})).await;
    let one = json!({"dataAddress": "yunqi.BCAE345BCAE345F0", "name": "a data system", "endpoint": "1.2.3.4:9979",
        "adapterClass": "odps-adapter"});
    assert_eq!((&first["dataSystems"], &first["revision"]), (&json!([one]), &json!(3)));
    let second = list("data-systems", json!({"limit": 1, "cursor": first["cursor"]})).await;
    assert_eq!(second["dataSystems"][0]["dataAddress"], "yunqi.BCAE345BCAE345F1");
    assert_eq!(second["cursor"], Value::Null);
}

/// A central system with many classes is read beside the threads that serve others, by both ways.
#[tokio::test]
async fn a_central_system_has_a_thousand_classes_at_most_and_is_read_whole() {
    let stage = Stage::new().settled().await;
    let class = |n: usize| json!({"className": format!("c{n}"), "protocol": {"name": "P", "version": n.to_string()}});
    let sync = |most: usize| json!({"csid": "yunqi", "adapterClasses": (0..most).map(class).collect::<Vec<_>>()});
    let refused = stage.post("/adapter-classes/sync", message(sync(1001))).await;
    assert_eq!(refused.codes(), (413, 7311), "{:?}", refused.body);
    stage.says("/adapter-classes/sync", sync(1000)).await;
    let posted = stage.says("/central-systems/retrieve", json!({"csid": "yunqi"})).await;
    assert_eq!(posted["centralsystem"]["adapterClassNames"].as_array().unwrap().len(), 1000);
    assert_eq!(stage.get("/central-systems/retrieve?csid=yunqi").await.json(), posted);
}

#[tokio::test]
async fn a_list_that_cannot_be_is_refused() {
    let stage = Stage::new().settled().await;
    for (kind, body, expected) in [
        ("data-systems", json!({"csid": "nobody"}), (404, 7310)),
        ("data-systems", json!({"csid": "a.b"}), (400, 7310)),
        ("data-systems", json!({"className": ""}), (400, 7313)),
        ("data-systems", json!({"limit": 1001}), (400, 7300)),
        ("data-systems", json!({"cursor": "AAAA"}), (400, 7300)),
        ("data-systems", json!({"anyRevision": 1}), (400, 7300)),
        ("central-systems", json!({"className": 1}), (400, 7313)),
        ("adapter-classes", json!({"protocolName": " "}), (400, 7313)),
    ] {
        let got = stage.post(&format!("/{kind}/list"), message(body.clone())).await;
        assert_eq!(got.codes(), expected, "{kind} {body}");
    }
    let nobody = stage.post_by("datanet_none", "/data-systems/list", message(json!({}))).await;
    assert_eq!(nobody.codes(), (401, 7002), "records are for those who may read them");
    let cursor = stage.says("/data-systems/list", json!({"limit": 1})).await["cursor"].clone();
    let other = stage.post("/central-systems/list", message(json!({"cursor": cursor}))).await;
    assert_eq!(other.codes(), (400, 7300), "a cursor is good for its list");
}

#[tokio::test]
async fn a_delta_is_written_and_stands_in_the_log() {
    let stage = Stage::new().settled().await;
    let class = json!({"className": "new", "protocol": {"name": "P", "version": "1"}});
    let changed = stage.says("/adapter-classes/delta", json!({"csid": "yunqi", "adapterClasses": [class]})).await;
    assert_eq!(changed["revision"], 4);
    let data = json!({"dataAddress": "yunqi.1", "name": "n", "endpoint": "a:1", "adapterClass": "new"});
    let delta = json!({"csid": "yunqi", "dataSystems": [data], "withdrawn": ["yunqi.BCAE345BCAE345F0"]});
    assert_eq!(stage.says("/data-systems/delta", delta.clone()).await["revision"], 5);
    assert_eq!(stage.says("/data-systems/delta", delta).await["revision"], 5, "all is so already");
    let left = stage.says("/data-systems/list", json!({})).await;
    let left: Vec<_> = left["dataSystems"].as_array().unwrap().iter().map(|data| &data["dataAddress"]).collect();
    assert_eq!(left, ["yunqi.1", "yunqi.BCAE345BCAE345F1"]);
    let classes = stage.says("/central-systems/retrieve", json!({"csid": "yunqi"})).await;
    assert_eq!(classes["centralsystem"]["adapterClassNames"], json!(["mysql-adapter", "new", "odps-adapter"]));
    for (body, expected) in [
        (json!({"csid": "yunqi", "withdrawn": ["other.1"]}), (409, 7312)),
        (json!({"csid": "yunqi", "withdrawn": ["yunqi"]}), (400, 7312)),
        (json!({"csid": "yunqi", "withdrawn": [1]}), (400, 7312)),
        (json!({"csid": "yunqi", "withdrawn": "yunqi.1"}), (400, 7312)),
        (json!({"csid": "other"}), (403, 7002)),
        (json!({"withdrawn": ["yunqi.1"]}), (400, 7310)),
        (json!({"csid": "yunqi", "baseRevision": 3, "withdrawn": ["yunqi.1"]}), (409, 7300)),
    ] {
        assert_eq!(stage.post("/data-systems/delta", message(body.clone())).await.codes(), expected, "{body}");
    }
    let unfit = json!({"csid": "yunqi", "withdrawn": [" c "]});
    assert_eq!(stage.post("/adapter-classes/delta", message(unfit)).await.codes(), (400, 7311));
}
