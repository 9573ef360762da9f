//! The log on a real file system, with small segments.

mod lives;
mod marks;
mod own;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::mpsc,
};

use bytes::Bytes;
use mesh_core::{NodeId, SessionId, Topic};
use proptest::prelude::*;

use super::*;
use crate::queue::{Draft, MessageId, Numbered, Origin};

/// Small segments, so that a test fills many.
const CAPACITY: u64 = 16 << 10;

fn open(path: &Path) -> (Log, Vec<Found>) {
    let (log, replayed) = Log::with(path, CAPACITY, Metrics::default()).unwrap();
    (log, replayed.found)
}

fn message(payload: impl Into<Bytes>) -> Entry {
    Entry::Message(Stored {
        session: SessionId::new("s"),
        topic: Topic::new("t"),
        draft: Draft { payload: payload.into(), metadata: None, source: None, origin: Origin::Application, id: None },
        keeping: Keeping::UntilRead,
    })
}

fn payload(entry: &Entry) -> Bytes {
    match entry {
        Entry::Message(stored) => stored.draft.payload.clone(),
        other => panic!("{other:?}"),
    }
}

fn payloads(found: &[Found]) -> Vec<Bytes> {
    found.iter().map(|found| payload(&found.entry)).collect()
}

fn now() -> u64 {
    millis(SystemTime::now())
}

/// Appends, and waits until it has landed.
fn append(log: &Log, entry: &Entry) -> Result<Kept, LogError> {
    let (tell, told) = mpsc::channel();
    log.append(entry.record(now()), Claim::default(), Box::new(move |landed| tell.send(landed).unwrap()));
    told.recv().unwrap()
}

fn keep(log: &Log, payload: impl Into<Bytes>) -> Kept {
    append(log, &message(payload)).unwrap()
}

fn bury(log: &Log, kept: Vec<Kept>) {
    let (tell, told) = mpsc::channel();
    log.bury(kept, Some(Box::new(move |buried| tell.send(buried).unwrap())));
    told.recv().unwrap().unwrap();
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The file and the offset at which `needle` stands.
fn find(path: &Path, needle: &[u8]) -> (PathBuf, u64) {
    let at = |file: &PathBuf| fs::read(file).unwrap().windows(needle.len()).position(|window| window == needle);
    files(path).into_iter().find_map(|file| at(&file).map(|at| (file, at as u64))).unwrap()
}

fn flip(file: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn what_was_appended_is_found_in_order_and_what_is_gone_is_not() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("messages");
    let (log, found) = open(&path);
    assert!(found.is_empty());
    let kept: Vec<_> = (0..100_u8).map(|n| keep(&log, vec![n; 1000])).collect();
    kept.iter().step_by(2).for_each(Kept::gone);
    kept[7].given();
    bury(&log, kept[51..].to_vec());
    drop(log);

    let (_log, found) = open(&path);
    let expected: Vec<Bytes> = (1..51_u8).step_by(2).map(|n| vec![n; 1000].into()).collect();
    assert_eq!(payloads(&found), expected);
    let given: Vec<_> = found.iter().filter(|found| found.given).map(|found| payload(&found.entry)[0]).collect();
    assert_eq!(given, [7]);
}

#[test]
fn a_message_larger_than_a_segment_gets_a_file_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path());
    let large = Bytes::from(vec![7; 5 * CAPACITY as usize]);
    keep(&log, "before");
    keep(&log, large.clone());
    keep(&log, "behind");
    drop(log);
    let (_log, found) = open(home.path());
    assert_eq!(payloads(&found), [Bytes::from("before"), large, Bytes::from("behind")]);
}

#[test]
fn an_old_message_does_not_hold_the_disk_and_keeps_its_place() {
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path());
    let mut old = Vec::new();
    for n in 0..2000_u32 {
        let kept = keep(&log, [&n.to_le_bytes()[..], &[0; 1000]].concat());
        if n % 100 == 0 { old.push(kept) } else { kept.gone() }
    }
    drop(log);
    // 20 old messages in 2 MB of gone ones.
    let (log, found) = open(home.path());
    let first: Vec<u32> =
        payloads(&found).iter().map(|payload| u32::from_le_bytes(*payload.first_chunk().unwrap())).collect();
    assert_eq!(first, (0..20).map(|n| n * 100).collect::<Vec<_>>());
    // Each segment is freed when another is begun.
    (0..200).for_each(|_| keep(&log, vec![0; 1000]).gone());
    drop(log);
    assert!(files(home.path()).len() <= 12, "{}", files(home.path()).len());
    assert_eq!(payloads(&open(home.path()).1).len(), 20);
}

#[test]
fn a_disk_that_fails_refuses_and_what_it_took_before_is_still_there() {
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path());
    let first = keep(&log, "first");
    faults::disk().be(faults::Health::Fails);
    let refused = append(&log, &message("refused")).unwrap_err();
    assert!(matches!(refused, LogError::Disk { .. }), "{refused}");
    faults::disk().be(faults::Health::Works);
    keep(&log, "second");
    drop(log);
    let (log, found) = open(home.path());
    assert_eq!(payloads(&found), ["first", "second"]);
    first.gone();
    drop(log);
}

#[test]
fn damage_in_what_was_surely_on_disk_ends_the_opening_with_file_and_offset() {
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path());
    keep(&log, "the first message");
    keep(&log, "the second message");
    drop(log);
    let (file, at) = find(home.path(), b"the first");
    flip(&file, at);
    let error = Log::with(home.path(), CAPACITY, Metrics::default()).unwrap_err();
    let LogError::Damaged { path, offset } = &error else { panic!("{error}") };
    assert_eq!(path, &file);
    assert!(*offset < at && at - offset < 100, "{offset} {at}");

    // The remedy that the text names.
    fs::rename(&file, home.path().join("moved-away")).unwrap();
    let (log, found) = open(home.path());
    assert!(found.is_empty());
    keep(&log, "it goes on");
}

#[test]
fn a_torn_tail_is_cut_off_and_the_log_goes_on_behind_it() {
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path());
    keep(&log, "the first message");
    keep(&log, "the torn message");
    drop(log);
    let (file, at) = find(home.path(), b"the torn");
    flip(&file, at);
    let (log, found) = open(home.path());
    assert_eq!(payloads(&found), ["the first message"]);
    keep(&log, "the third message");
    drop(log);
    assert_eq!(payloads(&open(home.path()).1), ["the first message", "the third message"]);
}

#[test]
fn a_file_that_was_not_finished_is_removed_and_a_foreign_one_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("0000000000000001.segment"), vec![0; 5000]).unwrap();
    fs::write(home.path().join("notes.txt"), "mine").unwrap();
    let (log, _) = open(home.path());
    keep(&log, "it works");
    drop(log);
    assert_eq!(payloads(&open(home.path()).1), ["it works"]);
    assert_eq!(fs::read(home.path().join("notes.txt")).unwrap(), b"mine");
}

#[test]
fn a_withdrawn_append_is_never_written() {
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path());
    for n in 0..100 {
        let (tell, told) = mpsc::channel();
        let (claim, record) = (Claim::default(), message(format!("{n}")).record(now()));
        log.append(record, claim.clone(), Box::new(move |landed| tell.send(landed.is_ok()).unwrap()));
        let withdrawn = claim.withdraw();
        assert_eq!(told.recv().unwrap(), !withdrawn, "either it is withdrawn, or it lands");
        assert_eq!(claim.withdraw(), withdrawn);
    }
}

#[test]
fn the_ids_of_pushes_outlive_their_messages_and_the_segments_of_these() {
    let home = tempfile::tempdir().unwrap();
    let sender = Origin::Partner(NodeId::new("LX-B"));
    let id = |sequence| MessageId { instance: 1, epoch: 2, sequence };
    let numbered = |sequence| {
        let Entry::Message(mut stored) = message(vec![7; 1000]) else { unreachable!() };
        (stored.draft.id, stored.draft.origin) = (Some(Numbered::new(id(sequence))), sender.clone());
        Entry::Message(stored)
    };
    for _ in 0..2 {
        let (log, _) = open(home.path());
        // Far more than all files hold: each is used again several times.
        for sequence in 0..400 {
            append(&log, &numbered(sequence)).unwrap().gone();
        }
        drop(log);
        assert!(files(home.path()).len() <= 12, "{:?}", files(home.path()));
        let (_log, replayed) = Log::with(home.path(), CAPACITY, Metrics::default()).unwrap();
        assert!(replayed.found.is_empty());
        let known: BTreeSet<_> = replayed.pushed.iter().map(|push| (push.sender == sender, push.id.sequence)).collect();
        assert_eq!(known, (0..400).map(|sequence| (true, sequence)).collect());
    }
}

#[test]
fn tombstones_lapse() {
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path());
    let session = SessionId::new("s");
    let later = now() + 3_600_000;
    append(&log, &Entry::Tombstone { session: session.clone(), until: later }).unwrap();
    append(&log, &Entry::Tombstone { session: session.clone(), until: 5 }).unwrap();
    drop(log);
    let (_log, found) = open(home.path());
    let entries: Vec<_> = found.into_iter().map(|found| found.entry).collect();
    assert_eq!(entries, [Entry::Tombstone { session, until: later }]);
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Given(prop::sample::Index),
    Gone(prop::sample::Index),
    Bury(Vec<prop::sample::Index>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0..6000_usize).prop_map(Step::Append),
        1 => index().prop_map(Step::Given),
        3 => index().prop_map(Step::Gone),
        1 => prop::collection::vec(index(), 0..6).prop_map(Step::Bury),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_log_holds_what_a_map_would_hold(steps in prop::collection::vec(step(), 1..60)) {
        let home = tempfile::tempdir().unwrap();
        let (mut log, _) = open(home.path());
        let mut model: BTreeMap<u32, (Kept, bool)> = BTreeMap::new();
        let key = |model: &BTreeMap<u32, (Kept, bool)>, index: &prop::sample::Index| {
            if model.is_empty() { None } else { model.keys().nth(index.index(model.len())).copied() }
        };
        for (n, step) in (0_u32..).zip(steps.iter().chain([&Step::Reopen])) {
            match step {
                Step::Append(size) => {
                    let kept = keep(&log, [&n.to_le_bytes()[..], &vec![n as u8; *size]].concat());
                    model.insert(n, (kept, false));
                }
                Step::Given(index) => {
                    if let Some((kept, given)) = key(&model, index).and_then(|key| model.get_mut(&key)) {
                        kept.given();
                        *given = true;
                    }
                }
                Step::Gone(index) => {
                    if let Some((kept, _)) = key(&model, index).and_then(|key| model.remove(&key)) {
                        kept.gone();
                    }
                }
                Step::Bury(indexes) => {
                    let gone = indexes.iter().filter_map(|index| key(&model, index).and_then(|key| model.remove(&key)));
                    bury(&log, gone.map(|(kept, _)| kept).collect());
                }
                Step::Reopen => {
                    drop(log);
                    let (opened, found) = open(home.path());
                    log = opened;
                    let expected: Vec<_> = model.iter().map(|(n, (_, given))| (*n, *given)).collect();
                    let mut really = Vec::new();
                    for Found { entry, kept, given, .. } in found {
                        let payload = payload(&entry);
                        let n = u32::from_le_bytes(*payload.first_chunk().unwrap());
                        prop_assert!(payload[4..].iter().all(|byte| *byte == n as u8));
                        model.insert(n, (kept, given));
                        really.push((n, given));
                    }
                    prop_assert_eq!(really, expected);
                }
            }
        }
    }
}
