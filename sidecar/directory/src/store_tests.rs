use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

use super::*;
use crate::{
    ledger::{
        By,
        tests::{history, ledger, origin, replay, write},
    },
    log::{prove, verify},
    message::Message,
};

fn open(path: &Path) -> Store {
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    Store::open(file, path.to_owned(), &origin()).unwrap()
}

/// Opens the file with the database's own tools, as a damage would.
fn alter(path: &Path, change: impl FnOnce(&Database)) {
    change(&Database::open(path).unwrap());
}

#[test]
fn after_a_restart_log_and_state_are_what_they_were() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("directory.redb");
    let mut ledger = ledger();
    let steps = history(&mut ledger);
    {
        let store = open(&path);
        store.commit(&steps[..3]).unwrap();
        store.commit(&steps[3..]).unwrap();
        store.commit(&[]).unwrap();
    }
    let store = open(&path);
    let (state, peaks) = store.load(&origin()).unwrap();
    assert_eq!((state.root(), state.revision()), (ledger.state().root(), steps.len() as u64));
    let checkpoint = ledger.checkpoint().unwrap();
    assert_eq!(checkpoint.text().lines().nth(2), Some(peaks.root().base64().as_str()));

    let mut replay = replay();
    for (index, step) in (0..).zip(&steps) {
        let (leaf, body) = (store.leaf(index).unwrap().unwrap(), store.body(&step.body_hash).unwrap().unwrap());
        assert_eq!(replay.next(&leaf, &body), Ok(()));
        let proof = prove::inclusion(&store, index, peaks.size()).unwrap();
        assert_eq!(verify::inclusion(leaf_hash(&leaf), index, peaks.size(), &proof, peaks.root()), Ok(()));
    }
    assert_eq!((store.leaf(99).unwrap(), store.body(&Hash::ZERO).unwrap()), (None, None));
}

/// What a crash leaves is the file as it is between two writes.
#[test]
fn what_was_committed_is_there_after_a_crash() {
    let home = tempfile::tempdir().unwrap();
    let (path, copy) = (home.path().join("directory.redb"), home.path().join("crashed.redb"));
    let store = open(&path);
    for (size, step) in (1..).zip(history(&mut ledger())) {
        store.commit(std::slice::from_ref(&step)).unwrap();
        fs::copy(&path, &copy).unwrap();
        let (state, peaks) = open(&copy).load(&origin()).unwrap();
        assert_eq!((state.revision(), peaks.size()), (size, size));
    }
}

#[test]
fn a_step_that_does_not_follow_is_not_kept_and_neither_is_its_group() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home.path().join("directory.redb"));
    let steps = history(&mut ledger());
    for wrong in [&steps[1..2], &[steps[0].clone(), steps[2].clone()], &[steps[0].clone(), steps[0].clone()]] {
        assert!(matches!(store.commit(wrong), Err(StoreError::Damaged { .. })));
        assert_eq!(store.load(&origin()).map(|(state, _)| state.revision()).unwrap(), 0);
    }
    store.commit(&steps).unwrap();
}

#[test]
fn a_file_belongs_to_one_log() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("directory.redb");
    let as_other = || {
        let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        Store::open(file, path.clone(), &KeyName::new("other.example").unwrap())
    };
    drop(open(&path));
    assert!(as_other().is_ok(), "nobody knows a log without entries");
    open(&path).commit(&history(&mut ledger())).unwrap();
    let other = as_other().unwrap_err();
    assert!(other.to_string().contains("is the log log.example/datanet (datanet 1), not other.example"), "{other}");
    fs::write(&path, b"no store at all").unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    assert!(matches!(Store::open(file, path, &origin()), Err(StoreError::Damaged { .. })));
}

#[test]
fn what_was_altered_is_found_at_the_start_and_named() {
    let home = tempfile::tempdir().unwrap();
    let steps = history(&mut ledger());
    let last = steps.len() as u64 - 1;
    let named = |name: &str, change: &dyn Fn(&Database)| {
        let path = home.path().join(name);
        open(&path).commit(&steps).unwrap();
        alter(&path, change);
        let store = open(&path);
        let body = store.body(&steps[0].body_hash).map(|_| ());
        store.load(&origin()).map(|_| ()).and(body).unwrap_err().to_string()
    };
    let record = named("record", &|database| {
        let write = database.begin_write().unwrap();
        write.open_table(RECORDS).unwrap().remove(("csid", "own")).unwrap();
        write.commit().unwrap();
    });
    assert!(record.contains("the records have the root"), "{record}");
    let broken = named("broken", &|database| {
        let write = database.begin_write().unwrap();
        write.open_table(RECORDS).unwrap().insert(("csid", "own"), &b"{}"[..]).unwrap();
        write.commit().unwrap();
    });
    assert!(broken.contains("the record \"own\" cannot be read"), "{broken}");
    let leaf = named("leaf", &|database| {
        let write = database.begin_write().unwrap();
        write.open_table(LEAVES).unwrap().insert(last, steps[0].leaf.as_slice()).unwrap();
        write.commit().unwrap();
    });
    assert!(leaf.contains("is not the one whose hash is kept"), "{leaf}");
    let gone = named("gone", &|database| {
        let write = database.begin_write().unwrap();
        write.open_table(LEAVES).unwrap().remove(last).unwrap();
        write.commit().unwrap();
    });
    assert!(gone.contains("is damaged"), "{gone}");
    let node = named("node", &|database| {
        let write = database.begin_write().unwrap();
        write.open_table(NODES).unwrap().remove((3, 0)).unwrap();
        write.commit().unwrap();
    });
    assert!(node.contains("subtree 0 of height 3 is missing"), "{node}");
    let body = named("body", &|database| {
        let write = database.begin_write().unwrap();
        write.open_table(BODIES).unwrap().insert(steps[0].body_hash.bytes(), &b"{}"[..]).unwrap();
        write.commit().unwrap();
    });
    assert!(body.contains("has another hash"), "{body}");
}

#[test]
fn tokens_survive_a_restart_and_so_does_their_end() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("directory.redb");
    let random = ring::rand::SystemRandom::new();
    let mut tokens = Tokens::default();
    let [one, two] = ["yunqi", "other"].map(|csid| tokens.issue(csid, None, 1, &random).unwrap());
    open(&path).keep_tokens(&tokens, &[one.hash, two.hash]).unwrap();
    let mut again = open(&path).tokens().unwrap();
    assert_eq!((again.holder(&one.secret, 1), again.holder(&two.secret, 1)), (Ok("yunqi"), Ok("other")));
    let gone = again.revoke("yunqi");
    open(&path).keep_tokens(&again, &gone).unwrap();
    let last = open(&path).tokens().unwrap();
    assert!(last.holder(&one.secret, 1).is_err() && last.holder(&two.secret, 1).is_ok());
    assert!(!fs::read(&path).unwrap().windows(two.secret.len()).any(|bytes| bytes == two.secret.as_bytes()));
}

/// Where the process that is killed keeps its directory.
const KILLED: &str = "DIRECTORY_OF_THE_KILLED";

/// Not a test of its own: what [`after_kill_9_nothing_that_was_acknowledged_is_lost`] starts and kills.
#[test]
#[ignore = "started by the test that kills it"]
fn a_process_that_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(KILLED) else { return };
    let store = open(Path::new(&path));
    let mut ledger = ledger();
    for n in 0u32.. {
        let write = write(
            Message::Connect,
            json!({"id": format!("cs{}", n % 7), "endpoint": format!("a:{}", n % 60_000 + 1)}),
            By::Token,
        );
        let step = ledger.submit(&write, u64::from(n)).unwrap().unwrap();
        store.commit(std::slice::from_ref(&step)).unwrap();
        println!("kept {n}");
    }
}

#[test]
fn after_kill_9_nothing_that_was_acknowledged_is_lost() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("directory.redb");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::a_process_that_writes_until_it_is_killed", "--ignored", "--nocapture"])
        .env(KILLED, &path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let kept = lines.filter(|line| line.starts_with("kept ")).take(40).count() as u64;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(kept, 40);

    let store = open(&path);
    let (state, peaks) = store.load(&origin()).unwrap();
    assert!(peaks.size() >= kept, "{} of {kept}", peaks.size());
    let mut replay = replay();
    for index in 0..peaks.size() {
        let bytes = store.leaf(index).unwrap().unwrap();
        let body = store.body(&Leaf::read(&bytes).unwrap().entry.body).unwrap().unwrap();
        assert_eq!(replay.next(&bytes, &body), Ok(()));
    }
    assert_eq!((replay.state().root(), replay.head()), (state.root(), (peaks.size(), peaks.root())));
}
