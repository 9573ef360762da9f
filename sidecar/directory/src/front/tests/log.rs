//! The log over HTTP: what a client needs who trusts nobody.

use super::Stage;
use crate::{
    log::{Checkpoint, Note, Verifier, bundle, leaf_hash, verify},
    proofs,
    replay::Replay,
};

#[tokio::test]
async fn the_log_is_read_verified_and_replayed_over_http_alone() {
    let stage = Stage::new().settled().await;
    let about = stage.get("").await.json();
    let key: Verifier = about["logKey"].as_str().unwrap().parse().unwrap();
    let note = Note::parse(&stage.get("/log/checkpoint").await.body).unwrap();
    let (checkpoint, _) = Checkpoint::open(&note, &key, &[]).unwrap();
    assert_eq!((checkpoint.size, checkpoint.origin.as_str()), (3, about["origin"].as_str().unwrap()));

    let bytes = stage.get("/log/tile/entries/000.p/3").await.body;
    let leaves = bundle::leaves(&bytes).unwrap();
    let custodian = about["directoryKey"].as_str().unwrap().parse().unwrap();
    let mut replay = Replay::new(checkpoint.origin.clone(), custodian, vec![]);
    for (index, leaf) in (0..).zip(&leaves) {
        let read = crate::entry::Leaf::read(leaf).unwrap();
        let body = stage.get(&format!("/log/body/{}", read.entry.body)).await.body;
        replay.next(leaf, &body).unwrap();
        let proof = stage.get(&format!("/proof/inclusion?index={index}")).await.json();
        let hashes = proofs::read(&proof).unwrap();
        assert_eq!(verify::inclusion(leaf_hash(leaf), index, 3, &hashes, checkpoint.root), Ok(()));
    }
    assert_eq!(replay.head(), (checkpoint.size, checkpoint.root));
}

#[tokio::test]
async fn files_that_never_change_are_kept_by_caches_and_the_checkpoint_is_not() {
    let stage = Stage::new().settled().await;
    for (path, cached, form) in [
        ("/log/checkpoint", "public, max-age=2", "text/plain; charset=utf-8"),
        ("/log/tile/0/000.p/3", "public, max-age=31536000, immutable", "application/octet-stream"),
        ("/log/tile/entries/000.p/3", "private, max-age=31536000, immutable", "application/octet-stream"),
    ] {
        let got = stage.get(path).await;
        assert_eq!(
            (&got.headers["cache-control"], &got.headers["content-type"]),
            (&cached.parse().unwrap(), &form.parse().unwrap())
        );
    }
}
