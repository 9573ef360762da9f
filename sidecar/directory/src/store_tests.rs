use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

use super::*;
use crate::{
    entry::EntryKey,
    ledger::{
        By,
        tests::{history, ledger, origin, replay, write},
    },
    log::{Kind, Signer, prove, verify},
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
        store.commit(&steps[..3], None).unwrap();
        store.commit(&steps[3..], ledger.checkpoint().as_ref()).unwrap();
        store.commit(&[], None).unwrap();
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
        store.commit(std::slice::from_ref(&step), None).unwrap();
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
        assert!(matches!(store.commit(wrong, None), Err(StoreError::Damaged { .. })));
        assert_eq!(store.load(&origin()).map(|(state, _)| state.revision()).unwrap(), 0);
    }
    store.commit(&steps, None).unwrap();
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
    open(&path).commit(&history(&mut ledger()), None).unwrap();
    let other = as_other().unwrap_err();
    assert!(other.to_string().contains("is the log log.example/datanet (datanet 1), not other.example"), "{other}");
    fs::write(&path, b"no store at all").unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    assert!(matches!(Store::open(file, path, &origin()), Err(StoreError::Damaged { .. })));
}

#[test]
fn what_was_altered_is_found_at_the_start_and_named() {
    let home = tempfile::tempdir().unwrap();
    let mut ledger = ledger();
    let (steps, head) = (history(&mut ledger), ledger.checkpoint());
    let last = steps.len() as u64 - 1;
    let named = |name: &str, change: &dyn Fn(&Database)| {
        let path = home.path().join(name);
        open(&path).commit(&steps, head.as_ref()).unwrap();
        alter(&path, change);
        let store = open(&path);
        store.load(&origin()).and_then(|_| store.examine_all()).unwrap_err().to_string()
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
    // A peak is what the next checkpoint is made of.
    for (height, words) in [(3, "is not the one that was signed last"), (1, "subtree 0 of height 1 is not that of")] {
        let inner = named(&format!("inner{height}"), &|database| {
            let write = database.begin_write().unwrap();
            write.open_table(NODES).unwrap().insert((height, 0), Hash::of(&[b"another"]).bytes()).unwrap();
            write.commit().unwrap();
        });
        assert!(inner.contains(words), "{inner}");
    }
    let middle = named("middle", &|database| {
        let write = database.begin_write().unwrap();
        write.open_table(LEAVES).unwrap().insert(2, steps[0].leaf.as_slice()).unwrap();
        write.commit().unwrap();
    });
    assert!(middle.contains("leaf 2 is not the one whose hash is kept"), "{middle}");
    let lost = named("lost", &|database| {
        let write = database.begin_write().unwrap();
        write.open_table(LEAVES).unwrap().remove(2).unwrap();
        write.commit().unwrap();
    });
    assert!(lost.contains("leaf 2 is missing"), "{lost}");
    let body = named("body", &|database| {
        let write = database.begin_write().unwrap();
        write.open_table(BODIES).unwrap().insert(steps[0].body_hash.bytes(), &b"{}"[..]).unwrap();
        write.commit().unwrap();
    });
    assert!(body.contains("the body of entry 0 is missing, or another"), "{body}");
    let signed = named("signed", &|database| {
        let write = database.begin_write().unwrap();
        write.open_table(META).unwrap().insert(HEAD, "none").unwrap();
        write.commit().unwrap();
    });
    assert!(signed.contains("the checkpoint that was signed last"), "{signed}");
}

/// Any byte of the file, whatever stands there: either it is found and named, or all is as it was, as nothing stands there.
#[test]
fn a_byte_that_the_disk_changed_is_found_or_says_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (path, copy) = (home.path().join("directory.redb"), home.path().join("altered.redb"));
    let mut ledger = ledger();
    let steps = history(&mut ledger);
    let random = ring::rand::SystemRandom::new();
    let mut tokens = Tokens::default();
    let issued = tokens.issue("yunqi", None, 1, &random).unwrap();
    let log = Signer::from_seed(origin(), Kind::Log, &[1; 32]).unwrap();
    let directory = EntryKey::from_seed(&[2; 32]).unwrap().public();
    {
        let store = open(&path);
        store.commit(&steps, ledger.checkpoint().as_ref()).unwrap();
        store.keep_tokens(&tokens, &[issued.hash]).unwrap();
        store.is_written_by(&directory).unwrap();
        store.keep_cosigned(|| ledger.checkpoint()).unwrap();
    }
    let whole = fs::read(&path).unwrap();
    let all = |path: &Path| -> Result<_, StoreError> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let store = Store::open(file, path.to_owned(), &origin())?;
        let (state, peaks) = store.load(&origin())?;
        store.examine_all()?;
        let tokens: Vec<_> = store.tokens()?.list().map(|(id, token)| (id, token.clone())).collect();
        store.is_written_by(&directory)?;
        let cosigned = store.cosigned(log.verifier())?.map(|(note, _)| note.text().to_owned());
        Ok((state.root(), peaks, tokens, store.id()?, cosigned))
    };
    let truth = all(&path).unwrap();
    let (mut found, mut read) = (0, 0);
    // Every byte of it takes minutes; a prime stride visits all kinds of places in a page.
    for at in (0..whole.len()).filter(|at| whole[*at] != 0).step_by(151) {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        fs::write(&copy, altered).unwrap();
        read += 1;
        match all(&copy) {
            Ok(said) => assert_eq!(said, truth, "byte {at}"),
            Err(StoreError::Damaged { .. } | StoreError::Other { .. } | StoreError::OtherKey { .. }) => found += 1,
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
    // Most of a small file are pages that were written anew since.
    assert!(found > read / 10, "{found} of {read}");
}

/// A page of the database that is lost takes what stands on it along.
#[test]
fn what_is_in_no_log_is_missed_where_it_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("directory.redb");
    let origin = KeyName::new("other.example/log").unwrap();
    let (mut tokens, random) = (Tokens::default(), ring::rand::SystemRandom::new());
    let issued = tokens.issue("yunqi", None, 1, &random).unwrap();
    {
        let store = open(&path);
        store.keep_tokens(&tokens, &[issued.hash]).unwrap();
        let seen = |size| move |_| Ok::<_, ()>(crate::witness::Seen { size, root: Hash::of(&[b"5"]) });
        assert_eq!(store.witness(&origin, seen(5)).unwrap(), Ok(true));
    }
    drop(open(&path));
    let row = TableDefinition::<&str, (u64, &[u8; 32])>::new("witnessed");
    alter(&path, |database| {
        let write = database.begin_write().unwrap();
        write.open_table(TOKENS).unwrap().remove(issued.hash.bytes()).unwrap();
        write.commit().unwrap();
    });
    let gone = open(&path).tokens().unwrap_err();
    assert!(gone.to_string().contains("some of the tokens are gone"), "{gone}");
    for (key, value) in [(TOKENS_KEPT, "o"), ("cosigned", "none")] {
        alter(&path, |database| {
            let write = database.begin_write().unwrap();
            write.open_table(META).unwrap().insert(key, value).unwrap();
            write.commit().unwrap();
        });
    }
    let log = Signer::from_seed(crate::ledger::tests::origin(), Kind::Log, &[1; 32]).unwrap();
    let (store, damaged) = (open(&path), "is damaged");
    assert!(store.tokens().is_err_and(|error| error.to_string().contains(damaged)), "a count that is none");
    assert!(store.cosigned(log.verifier()).is_err_and(|error| error.to_string().contains(damaged)));
    drop(store);
    alter(&path, |database| {
        let write = database.begin_write().unwrap();
        write.open_table(row).unwrap().insert(origin.as_str(), (4, Hash::of(&[b"5"]).bytes())).unwrap();
        write.commit().unwrap();
    });
    let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let forgotten = Store::open(file, path, &crate::ledger::tests::origin()).unwrap_err();
    assert!(forgotten.to_string().contains("what was signed for other logs"), "{forgotten}");
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
        store.commit(std::slice::from_ref(&step), None).unwrap();
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

/// Each step keeps pages of the database from being used again, and whoever closes the store waits for it.
#[test]
fn a_step_of_the_check_ends_after_some_megabytes() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home.path().join("directory.redb"));
    let mut ledger = ledger();
    let long = "x".repeat(3 << 20);
    for port in 1..=4 {
        let mut write = write(Message::Connect, json!({"id": "yunqi", "endpoint": format!("a:{port}")}), By::Token);
        write.body["more"] = long.as_str().into();
        let step = ledger.submit(&write, 1).unwrap().unwrap();
        store.commit(std::slice::from_ref(&step), None).unwrap();
    }
    let first = store.examine(&Examined::default(), 4).unwrap();
    let second = store.examine(&first, 4).unwrap();
    assert_eq!((first.size(), second.size()), (2, 4));
}

/// What was overwritten leaves pages behind that are free: a log of years may be larger on the disk than what is in it.
#[test]
fn a_store_that_is_compacted_is_smaller_and_what_it_was() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("directory.redb");
    let length = || path.metadata().unwrap().len();
    let mut ledger = ledger();
    let steps = history(&mut ledger);
    open(&path).commit(&steps, ledger.checkpoint().as_ref()).unwrap();
    alter(&path, |database| {
        let scratch = TableDefinition::<u64, &[u8]>::new("scratch");
        let write = database.begin_write().unwrap();
        write.open_table(scratch).unwrap().insert(1, vec![7; 16 << 20].as_slice()).unwrap();
        write.commit().unwrap();
        let write = database.begin_write().unwrap();
        write.delete_table(scratch).unwrap();
        write.commit().unwrap();
    });
    let before = length();
    let mut store = open(&path);
    let (id, (state, peaks)) = (store.id().unwrap(), store.load(&origin()).unwrap());
    store.compact().unwrap();
    drop(store);
    assert!(length() < before / 2, "{} of {before}", length());
    let store = open(&path);
    let (again, edge) = store.load(&origin()).unwrap();
    assert_eq!((again.root(), edge.root(), edge.size()), (state.root(), peaks.root(), steps.len() as u64));
    assert_eq!(store.id().unwrap(), id);
    store.examine_all().unwrap();
}
