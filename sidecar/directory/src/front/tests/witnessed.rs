//! Another log's checkpoints at `/add-checkpoint`, with the statuses of `c2sp.org/tlog-witness`.

use bytes::Bytes;
use http::Request;

use super::{super::PREFIX, Got, Shown, Stage};
use crate::{
    directory::{NotSigned, Rules},
    log::{Checkpoint, KeyName, Kind, Note, Signer, Tree, leaf_hash, prove},
    witness::{Request as Ask, signatures},
};

fn log(n: u8) -> Signer {
    Signer::from_seed(KeyName::new("other.example/log").unwrap(), Kind::Log, &[n; 32]).unwrap()
}

fn tree(leaves: u8, first: u8) -> Tree {
    let mut tree = Tree::default();
    (0..leaves).for_each(|n| tree.append(leaf_hash(&[if n == 0 { first } else { n }])));
    tree
}

fn ask(tree: &Tree, old: u64, signer: &Signer) -> String {
    let origin = KeyName::new("other.example/log").unwrap();
    let text = Checkpoint { origin, size: tree.size(), root: tree.root() }.text();
    let note = Note::new(text.clone(), vec![signer.sign(&text, 0)]).unwrap();
    let proof = prove::consistency(tree, old.min(tree.size()), tree.size()).unwrap();
    Ask { old, proof, note }.encode()
}

impl Stage {
    async fn witness(&self, body: impl Into<Bytes>) -> Got {
        let request = Request::post(format!("{PREFIX}/add-checkpoint"));
        self.send(request.body(body.into()).unwrap(), &Shown::default()).await
    }
}

#[tokio::test]
async fn a_log_is_signed_as_long_as_it_only_grows_and_each_refusal_has_its_status() {
    let stage = Stage::with(Rules { witnessed: vec![log(1).verifier().clone()], ..Rules::default() });
    let (five, nine, forked) = (tree(5, 0), tree(9, 0), tree(9, 77));
    let media = |got: &Got| got.headers["content-type"].to_str().unwrap().to_owned();

    let first = stage.witness(ask(&five, 0, &log(1))).await;
    assert_eq!((first.status, media(&first).as_str()), (200, "text/plain; charset=utf-8"));
    let signed = signatures(&first.body).unwrap();
    let note = Ask::parse(ask(&five, 0, &log(1)).as_bytes()).unwrap().note;
    let key = stage.front.directory().witness_key().clone();
    assert!(key.verify(note.text(), &signed[0].bytes).is_some_and(|time| time.0.is_some()));

    let again = stage.witness(ask(&five, 5, &log(1))).await;
    assert_eq!(again.status, 200, "the same once more");
    let known = stage.witness(ask(&nine, 0, &log(1))).await;
    assert_eq!((known.status, &known.body[..], media(&known).as_str()), (409, &b"5\n"[..], "text/x.tlog.size"));
    for (what, body, status) in [
        ("another history", ask(&forked, 5, &log(1)), 422),
        ("another root", ask(&tree(5, 77), 5, &log(1)), 409),
        ("another key", ask(&nine, 5, &log(2)), 403),
        ("an old size above the new one", ask(&five, 9, &log(1)), 400),
        ("no request", "hello".to_owned(), 400),
        ("nothing", String::new(), 400),
        ("another log", ask(&nine, 5, &log(1)).replace("other.example", "third.example"), 404),
    ] {
        assert_eq!(stage.witness(body).await.status, status, "{what}");
    }
    assert_eq!(stage.witness(ask(&nine, 5, &log(1))).await.status, 200, "none of that counted");
    assert_eq!(stage.get("/add-checkpoint").await.status, 405);
    assert!(!stage.front.directory().is_unknown(), "others know its name now");
}

/// Signing again costs what a stranger does not pay; what is new comes from the log alone.
#[tokio::test]
async fn what_is_asked_for_again_and_again_is_refused_and_what_is_new_is_not() {
    let stage = Stage::with(Rules { witnessed: vec![log(1).verifier().clone()], ..Rules::default() });
    let directory = stage.front.directory();
    let asks = |leaves, old| directory.add_checkpoint(ask(&tree(leaves, 0), old, &log(1)).as_bytes(), 7);
    assert!(asks(5, 0).is_ok_and(|signed| signed.is_new));
    let signed: Vec<_> = (0..99).map_while(|_| asks(5, 5).ok()).collect();
    assert!(signed.len() == 16 && signed.iter().all(|signed| !signed.is_new));
    assert!(matches!(asks(5, 5), Err(NotSigned::TooOften)));
    assert!(asks(9, 5).is_ok_and(|signed| signed.is_new));
}

#[tokio::test]
async fn of_two_histories_that_come_at_once_one_is_signed() {
    let stage = Stage::with(Rules { witnessed: vec![log(1).verifier().clone()], ..Rules::default() });
    let calls = (0..8u8).map(|n| stage.witness(ask(&tree(5, n), 0, &log(1))));
    let statuses: Vec<u16> = futures_of(calls).await.iter().map(|got| got.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 7, "{statuses:?}");
}

/// All of them at once.
async fn futures_of<F: Future<Output = Got>>(calls: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut open: Vec<_> = calls.map(Box::pin).collect();
    let mut done: Vec<Option<Got>> = open.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (call, done) in open.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(got) = call.as_mut().poll(context) {
                *done = Some(got);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_directory_that_signs_for_nobody_says_so() {
    let stage = Stage::new();
    let refused = stage.witness(ask(&tree(5, 0), 0, &log(1))).await;
    assert_eq!(refused.status, 404);
    assert!(String::from_utf8_lossy(&refused.body).contains("does not know the log other.example/log"));
}
