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
    /// Nothing is written while somebody else has it.
    busy: Mutex<()>,
    /// It keeps what it says it does not: the last of a commit failed.
    lies: AtomicBool,
    commits: AtomicUsize,
}

impl Keep for Disk {
    fn commit(&self, steps: &[Step], head: &Note) -> Result<(), StoreError> {
        let _turn = self.busy.lock();
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreError::Disk { path: "disk".into(), reason: "no space left".to_owned() });
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.store.commit(steps, Some(head))?;
        if self.lies.load(Ordering::SeqCst) {
            return Err(StoreError::Disk { path: "disk".into(), reason: "input/output error".to_owned() });
        }
        Ok(())
    }

    fn load(&self, state: &State) -> Result<(State, Peaks), StoreError> {
        self.store.load(state.origin())
    }
}

fn disk(home: &tempfile::TempDir) -> Arc<Disk> {
    let path = home.path().join("directory.redb");
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
    let store = Store::open(file, path, &origin()).unwrap();
    Arc::new(Disk {
        store,
        full: AtomicBool::default(),
        busy: Mutex::default(),
        lies: AtomicBool::default(),
        commits: AtomicUsize::new(0),
    })
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
fn of_a_hundred_threads_that_race_for_a_definition_one_wins() {
    let home = tempfile::tempdir().unwrap();
    let keeper = Keeper::start(ledger(), disk(&home)).unwrap();
    let race = |n: u32| {
        ask(&keeper, connect(&format!("cs{n}"), 1)).unwrap();
        let class = json!({"className": "fast", "protocol": {"name": "P", "version": n.to_string()}});
        let body = json!({"csid": format!("cs{n}"), "adapterClasses": [class]});
        ask(&keeper, write(Message::SyncAdapterClasses, body, By::Token))
    };
    let answers: Vec<Answer> = thread::scope(|scope| {
        let race = &race;
        let racers: Vec<_> = (0..100).map(|n| scope.spawn(move || race(n))).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.is_ok());
    assert_eq!(won.len(), 1);
    assert!(lost.iter().flat_map(|answer| answer.as_ref().err()).all(|error| error.code.number() == 7311));
    let defined = keeper.view().read(|state| state.class("fast").unwrap().offers.len());
    assert_eq!(defined, 1);
}

#[test]
fn what_was_judged_meanwhile_is_kept_together() {
    let home = tempfile::tempdir().unwrap();
    let disk = disk(&home);
    let (told, answers) = mpsc::channel();
    let writer = Writer::new(ledger(), Arc::clone(&disk)).unwrap();
    let (queue, waiting) = sync_channel(WAITING);
    for n in 0..300u32 {
        let told = told.clone();
        let answer = Box::new(move |answer| told.send(answer).unwrap());
        queue.try_send(Waiting { write: connect(&format!("cs{n}"), 1), now: 1, answer }).ok().unwrap();
    }
    drop(queue);
    writer.judge_all(&waiting);
    assert!(answers.try_recv().is_err(), "nothing is kept yet");
    writer.keep_all();
    let answers: Vec<Answer> = answers.try_iter().collect();
    assert_eq!(answers.len(), 300);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(disk.load(&State::new(origin())).map(|(state, _)| state.revision()).unwrap(), 300);
    assert_eq!(disk.commits.load(Ordering::SeqCst), 1);
}

#[test]
fn what_waits_when_it_is_dropped_is_written_first() {
    let home = tempfile::tempdir().unwrap();
    let disk = disk(&home);
    let (told, answers) = mpsc::channel();
    let keeper = Keeper::start(ledger(), Arc::clone(&disk)).unwrap();
    let turn = disk.busy.lock();
    // More than one group holds.
    for n in 0..600u32 {
        let told = told.clone();
        keeper.submit(connect(&format!("cs{n}"), 1), 1, move |answer| told.send(answer).unwrap());
    }
    drop(turn);
    drop(keeper);
    let answers: Vec<Answer> = answers.try_iter().collect();
    assert_eq!(answers.len(), 600);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(disk.load(&State::new(origin())).map(|(state, _)| state.revision()).unwrap(), 600);
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

#[test]
fn what_was_judged_while_a_commit_failed_goes_with_it() {
    let home = tempfile::tempdir().unwrap();
    let disk = disk(&home);
    let keeper = Keeper::start(ledger(), Arc::clone(&disk)).unwrap();
    assert!(ask(&keeper, connect("yunqi", 1)).is_ok());
    let (told, answers) = mpsc::channel();
    let turn = disk.busy.lock();
    disk.full.store(true, Ordering::SeqCst);
    // The first waits for the disk, the others were judged on top of it, or will be when it has failed.
    for n in 0..50u32 {
        let told = told.clone();
        keeper.submit(connect(&format!("cs{n}"), 1), 1, move |answer| told.send(answer).unwrap());
    }
    drop(turn);
    let refused: Vec<Answer> = answers.iter().take(50).collect();
    assert!(refused.iter().all(|answer| answer.as_ref().is_err_and(|error| error.code.number() == 7314)));
    disk.full.store(false, Ordering::SeqCst);
    assert_eq!(ask(&keeper, connect("cs7", 1)), Ok(Done { revision: 2, index: Some(1) }));
    let (state, _) = disk.load(&State::new(origin())).unwrap();
    assert_eq!((state.revision(), state.root()), (2, keeper.view().read(State::root)));
}

/// Readers went on without it, and had the root of a state with it.
#[test]
fn what_was_kept_though_the_disk_failed_is_shown_once_that_is_known() {
    let home = tempfile::tempdir().unwrap();
    let disk = disk(&home);
    let keeper = Keeper::start(ledger(), Arc::clone(&disk)).unwrap();
    assert!(ask(&keeper, connect("yunqi", 1)).is_ok());
    disk.lies.store(true, Ordering::SeqCst);
    assert_eq!(ask(&keeper, connect("other", 2)).unwrap_err().code.number(), 7314);
    disk.lies.store(false, Ordering::SeqCst);
    assert_eq!(ask(&keeper, connect("other", 2)), Ok(Done { revision: 2, index: None }), "it is so already");
    let shown = keeper.view().read(|state| state.central_system("other").map(|one| one.endpoint.clone()));
    assert_eq!((shown, keeper.view().published().size), (Ok("a:2".to_owned()), 2));
}
