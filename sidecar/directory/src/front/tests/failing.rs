//! A store that fails: what callers are told of it is one sentence, whichever way they come. Its log and its status have the rest.

use http::{Request, header::AUTHORIZATION};
use redb::TableDefinition;
use serde_json::json;

use super::{PREFIX, Shown, Stage, message};
use crate::{directory::NotSigned, error::STORE_FAILED, store::StoreError};

#[tokio::test]
async fn callers_are_told_one_sentence_and_no_path_of_this_machine() {
    let stage = Stage::new().settled().await;
    let stage = stage.altered(|transaction| {
        let nodes = TableDefinition::<(u8, u64), &[u8; 32]>::new("nodes");
        let bodies = TableDefinition::<&[u8; 32], &[u8]>::new("bodies");
        for index in [0, 1] {
            assert!(transaction.open_table(nodes).unwrap().remove((0, index)).unwrap().is_some());
        }
        let mut bodies = transaction.open_table(bodies).unwrap();
        let hashes: Vec<[u8; 32]> = {
            use redb::ReadableTable as _;
            bodies.iter().unwrap().map(|row| *row.unwrap().0.value()).collect()
        };
        for hash in hashes {
            bodies.insert(&hash, b"{}".as_slice()).unwrap();
        }
    });
    let leaf = stage.front.directory().store().leaf(0).unwrap().unwrap();
    let body = crate::entry::Leaf::read(&leaf).unwrap().entry.body;
    for path in [
        "/proof/receipt?index=0",
        "/proof/inclusion?index=0",
        "/proof/consistency?first=1",
        "/log/tile/0/000.p/3",
        &format!("/log/body/{body}"),
    ] {
        let got = stage.get(path).await;
        let said = got.json();
        assert_eq!((got.codes(), &said["message"]), ((500, 7314), &json!(STORE_FAILED)), "{path}");
    }
    let path = stage.home.path().join("directory.redb");
    let unkept = NotSigned::Unkept(StoreError::Disk { path: path.clone(), reason: "EIO".into() });
    assert_eq!(unkept.to_string(), STORE_FAILED);
    // The receipt of a write: what was written stands, and the sentence is the same.
    let connect =
        json!({"header": {"version": "datanet 1.0", "receipt": true}, "body": {"id": "yunqi", "endpoint": "b:1"}});
    let request = Request::post(format!("{PREFIX}/central-systems/connect"));
    let request = request.header(AUTHORIZATION, format!("Bearer {}", stage.yunqi)).body(connect.to_string().into());
    let got = stage.send(request.unwrap(), &Shown::default()).await;
    assert!(!String::from_utf8_lossy(&got.body).contains(path.to_str().unwrap()), "{:?}", got.body);
    assert_eq!(stage.post("/central-systems/retrieve", message(json!({"csid": "yunqi"}))).await.status, 200);
}
