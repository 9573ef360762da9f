use std::{
    fs,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
};

use serde_json::json;

use super::*;
use crate::{
    ledger::{
        By,
        tests::{ledger, origin, write},
    },
    log::Checkpoint,
    message::Message,
};

/// A store that counts its commits, and whose disk can be full.
struct Disk {
    store: Store,
    full: AtomicBool,
    commits: AtomicUsize,
}

impl Keep for Disk {
    fn commit(&self, steps: &[Step]) -> Result<(), StoreError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreError::Disk { path: "disk".into(), reason: "no space left".to_owned() });
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.store.commit(steps)
    }

    fn load(&self, state: &State) -> Result<(State, Peaks), StoreError> {
        self.store.load(state.origin())
    }
}

fn disk(home: &tempfile::TempDir) -> Arc<Disk> {
    let path = home.path().join("directory.redb");
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
    let store = Store::open(file, path, &origin()).unwrap();
    Arc::new(Disk { store, full: AtomicBool::new(false), commits: AtomicUsize::new(0) })
}

fn connect(csid: &str, port: u32) -> Submission {
    write(Message::Connect, json!({"id": csid, "endpoint": format!("a:{port}")}), By::Token)
}

/// Submits and waits for the answer.
fn ask(keeper: &Keeper, write: Submission) -> Answer {
    let (told, answer) = mpsc::channel();
    keeper.submit(write, 1, move |answer| told.send(answer).unwrap());
    answer.recv().unwrap()
}

#[test]
fn who_was_answered_reads_what_it_wrote() {
    let home = tempfile::tempdir().unwrap();
    let disk = disk(&home);
    let keeper = Keeper::start(ledger(), Arc::clone(&disk)).unwrap();
    assert_eq!(ask(&keeper, connect("yunqi", 1)), Ok(Done { revision: 1, index: Some(0) }));
    assert_eq!(ask(&keeper, connect("yunqi", 1)), Ok(Done { revision: 1, index: None }));
    assert_eq!(
        keeper.view().read(|state| state.central_system("yunqi").map(|one| one.endpoint.clone())),
        Ok("a:1".to_owned())
    );
    let published = keeper.view().published();
    let checkpoint = Checkpoint::parse(published.note.text()).unwrap();
    assert_eq!((published.size, checkpoint.size), (1, 1));
    let (state, peaks) = disk.load(&State::new(origin())).unwrap();
    assert_eq!((peaks.root(), state.root()), (checkpoint.root, keeper.view().read(State::root)));
}

/// Each with an endpoint of its own, so that none repeats another's; all at the same id, of which there is one.
#[test]
fn of_a_hundred_threads_that_race_for_an_id_one_wins() {
    let home = tempfile::tempdir().unwrap();
    let keeper = Keeper::start(ledger(), disk(&home)).unwrap();
    let race = |n: u32| {
        let mut write = connect("yunqi", n + 1);
        let seed = [u8::try_from(n).unwrap(); 32];
        let key = crate::entry::EntryKey::from_seed(&seed).unwrap();
        let body = crate::Hash::of(&[&crate::canonical(&write.body).unwrap()]);
        let entry = crate::entry::Entry {
            origin: origin(),
            csid: "yunqi".to_owned(),
            operation: crate::entry::Operation::Connect,
            sequence: 1,
            previous: crate::Hash::ZERO,
            body,
            time: 1,
        };
        let signed = crate::entry::Signed::new(&entry, &key);
        write.by = By::Own(Box::new(crate::message::Own { entry, signed, replacement: None }));
        ask(&keeper, write)
    };
    let answers: Vec<Answer> = thread::scope(|scope| {
        let racers: Vec<_> = (0..100).map(|n| scope.spawn(move || race(n))).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(
        answers
            .iter()
            .flat_map(|answer| answer.as_ref().err())
            .all(|error| (error.code.number(), error.status()) == (7310, 409))
    );
}

#[test]
fn what_waits_is_kept_together() {
    let home = tempfile::tempdir().unwrap();
    let disk = disk(&home);
    let (told, answers) = mpsc::channel();
    {
        let keeper = Keeper::start(ledger(), Arc::clone(&disk)).unwrap();
        // The first answer holds the writing thread until all others wait.
        let (open, gate) = mpsc::channel::<()>();
        keeper.submit(connect("first", 1), 1, move |_| gate.recv().unwrap());
        for n in 0..300u32 {
            let told = told.clone();
            keeper.submit(connect(&format!("cs{n}"), 1), 1, move |answer| told.send(answer).unwrap());
        }
        open.send(()).unwrap();
        // What waits when it is dropped is written first.
    }
    let answers: Vec<Answer> = answers.try_iter().collect();
    assert_eq!(answers.len(), 300);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(disk.load(&State::new(origin())).map(|(state, _)| state.revision()).unwrap(), 301);
    assert!(
        disk.commits.load(Ordering::SeqCst) <= 3,
        "the first, those that came before its commit ended, and the rest"
    );
}

#[test]
fn what_could_not_be_kept_was_never_there() {
    let home = tempfile::tempdir().unwrap();
    let disk = disk(&home);
    let keeper = Keeper::start(ledger(), Arc::clone(&disk)).unwrap();
    assert!(ask(&keeper, connect("yunqi", 1)).is_ok());
    let before = keeper.view().read(State::root);
    disk.full.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let refused = ask(&keeper, connect("yunqi", 2)).unwrap_err();
        assert_eq!((refused.code.number(), refused.status(), refused.may_retry()), (7314, 500, true));
    }
    assert_eq!((keeper.view().read(State::root), keeper.view().published().size), (before, 1));
    disk.full.store(false, Ordering::SeqCst);
    assert_eq!(ask(&keeper, connect("yunqi", 2)), Ok(Done { revision: 2, index: Some(1) }));
    let (state, _) = disk.load(&State::new(origin())).unwrap();
    assert_eq!(state.root(), keeper.view().read(State::root));
}
