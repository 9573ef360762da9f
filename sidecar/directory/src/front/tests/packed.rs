//! Bodies that are packed, and snapshots as lines.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use http::{Request, header::AUTHORIZATION};
use serde_json::json;

use super::{Got, PREFIX, Shown, Stage};

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(plain).unwrap();
    packed.finish().unwrap()
}

/// A snapshot of so many data systems, as lines.
fn lines(items: usize) -> String {
    let mut lines = json!({"header": {"version": "datanet 1.0"}, "body": {"csid": "yunqi"}}).to_string();
    for n in 0..items {
        let item = json!({"dataAddress": format!("yunqi.{n:X}"), "name": "n", "endpoint": "a:1", "adapterClass": "odps-adapter"});
        lines.push('\n');
        lines.push_str(&item.to_string());
    }
    lines
}

impl Stage {
    async fn sends(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Got {
        let mut request =
            Request::post(format!("{PREFIX}{path}")).header(AUTHORIZATION, format!("Bearer {}", self.yunqi));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Bytes::from(body)).unwrap(), &Shown::default()).await
    }
}

#[tokio::test]
async fn a_packed_snapshot_of_lines_is_taken_and_a_bomb_is_not() {
    let stage = Stage::new().settled().await;
    let ndjson = ("content-type", "application/x-ndjson");
    for (coding, body) in
        [("gzip", gzip(lines(300).as_bytes())), ("zstd", zstd::encode_all(lines(301).as_bytes(), 1).unwrap())]
    {
        let got = stage.sends("/data-systems/sync", &[ndjson, ("content-encoding", coding)], body).await;
        assert_eq!(got.codes(), (200, 200), "{coding}: {:?}", got.body);
    }
    let [.., addresses] = stage.front.directory().view().read(crate::state::State::counts);
    assert_eq!(addresses, 301);
    let bomb = gzip(&vec![b' '; 9 << 20]);
    let got = stage.sends("/data-systems/sync", &[("content-encoding", "gzip")], bomb.clone()).await;
    assert_eq!(got.codes(), (413, 7300));
    let got =
        stage.sends("/central-systems/connect", &[("content-encoding", "gzip")], gzip(&vec![b' '; 65 << 10])).await;
    assert_eq!(got.codes(), (413, 7300));
    assert_eq!(stage.sends("/central-systems/connect", &[ndjson], lines(1).into()).await.codes(), (400, 7300));
}

/// 64 KiB on the wire were more than a gigabyte of memory: each zero is a value, and it was refused only when all were there.
#[tokio::test]
async fn a_list_that_takes_much_more_memory_than_bytes_is_given_up() {
    let stage = Stage::new().settled().await;
    let zeros = |many: usize| [b"[0".as_slice(), &b",0".repeat(many), b"]"].concat();
    let lines = [b"{\"body\":{\"csid\":\"yunqi\"}}\n{\"x\":".as_slice(), &zeros(6_100_000), b"}"].concat();
    let packed = gzip(&lines);
    assert!(packed.len() < 64 << 10);
    let headers = [("content-type", "application/x-ndjson"), ("content-encoding", "gzip")];
    let got = stage.sends("/data-systems/sync", &headers, packed).await;
    assert_eq!(got.codes(), (413, 7300), "{:?}", got.body);
    assert!(got.json()["message"].as_str().unwrap().contains("more values"), "{:?}", got.body);
}

/// Who has a long message refused has paid for it all the same: reading it took its time.
#[tokio::test]
async fn a_long_message_that_is_refused_counts_as_so_many_writes() {
    let stage = Stage::new();
    assert_eq!(stage.post("/data-systems/sync", " ".repeat(8 << 20)).await.codes(), (400, 7300));
    // 128 of the 4000 that it may do at once; at a time before, so that none has come back.
    let take = |parts: usize| stage.front.rates.lock().take("yunqi", parts << 16, 0).is_ok();
    assert_eq!((take(4000 - 127), take(4000 - 128)), (false, true));
}

#[tokio::test]
async fn a_snapshot_longer_than_a_message_comes_as_lines() {
    let stage = Stage::new().settled().await;
    let ndjson = ("content-type", "application/x-ndjson");
    let many = lines(2500).replace("\"name\":\"n\"", &format!("\"name\":\"n\",\"desc\":\"{}\"", "x".repeat(4000)));
    assert!(many.len() > 8 << 20);
    assert_eq!(stage.sends("/data-systems/sync", &[ndjson], many.clone().into()).await.codes(), (200, 200));
    // Equal: no new entry.
    let again = stage.sends("/data-systems/sync", &[ndjson], many.into()).await.json();
    assert_eq!(again["revision"], 4);
}

#[tokio::test]
async fn a_long_answer_is_packed_for_who_takes_it_so() {
    let stage = Stage::new().settled().await;
    let classes: Vec<_> = (0..200)
        .map(|n| json!({"className": format!("class-{n}"), "protocol": {"name": "P", "version": n.to_string()}}))
        .collect();
    stage.says("/data-systems/sync", json!({"csid": "yunqi", "dataSystems": []})).await;
    stage.says("/adapter-classes/sync", json!({"csid": "yunqi", "adapterClasses": classes})).await;
    let ask = br#"{"header":{"version":"datanet 1.0"},"body":{"limit":1000}}"#.to_vec();
    let plain = stage.sends("/adapter-classes/search", &[], ask.clone()).await;
    let packed = stage.sends("/adapter-classes/search", &[("accept-encoding", "gzip")], ask).await;
    assert_eq!(
        (packed.headers["content-encoding"].to_str().unwrap(), plain.headers.get("content-encoding")),
        ("gzip", None)
    );
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain.body && packed.body.len() < plain.body.len());
}
