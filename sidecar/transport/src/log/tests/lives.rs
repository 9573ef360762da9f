//! Files that are used again: what they held in an earlier life never counts, whoever wrote it and whatever it says.

use super::*;
use crate::log::{
    record::{self, HEAD},
    title::Title,
};

/// Opens the log, keeps `payloads` and lets go of them again.
fn pass(path: &Path, payloads: &[Vec<u8>]) {
    let (log, found) = open(path);
    assert_eq!(found.len(), 0, "what is gone came again");
    payloads.iter().map(|payload| keep(&log, payload.clone())).for_each(|kept| kept.gone());
}

/// A start that does nothing but free what is dead.
#[allow(clippy::disallowed_methods, reason = "a test without a reactor")]
fn idle(path: &Path) {
    let (log, found) = open(path);
    assert_eq!(found.len(), 0, "what is gone came again");
    let since = std::time::Instant::now();
    while !files(path).iter().all(|file| is_blank(file)) {
        assert!(since.elapsed() < Duration::from_secs(60), "dead segments are not freed");
        thread::sleep(Duration::from_millis(20));
    }
    drop(log);
}

fn is_blank(file: &Path) -> bool {
    let bytes = fs::read(file).unwrap_or_default();
    matches!(bytes.first_chunk().map(Title::decode), Some(Ok(Title::Blank { .. })))
}

/// Has `payloads` pass through two lives of the files, and keeps `last` in a third.
fn in_a_third_life(payloads: &[Vec<u8>], last: &[u8]) {
    let home = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        pass(home.path(), payloads);
        idle(home.path());
    }
    let (log, _) = open(home.path());
    keep(&log, last.to_vec());
    drop(log);
    assert_eq!(payloads_of(home.path()), [Bytes::copy_from_slice(last)]);
}

/// The titles of all files but those that are just being made.
fn titles(path: &Path) -> Vec<Title> {
    let title = |file: &PathBuf| Title::decode(fs::read(file).unwrap().first_chunk()?).ok();
    files(path).iter().filter_map(title).collect()
}

fn payloads_of(path: &Path) -> Vec<Bytes> {
    payloads(&open(path).1)
}

#[test]
fn consumed_messages_do_not_come_again_when_nothing_was_left_at_a_start_between() {
    in_a_third_life(&[vec![1; 10], vec![2; 10], vec![3; 10]], &[4; 10]);
}

#[test]
fn what_an_earlier_life_left_behind_the_end_is_no_damage() {
    in_a_third_life(&[vec![1; 10], vec![2; 10], vec![3; 10]], &[4; 50]);
}

#[test]
fn no_number_of_a_segment_is_given_twice_and_each_has_a_life_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for round in 1..=3 {
        let (log, _) = open(home.path());
        let kept = keep(&log, "a message");
        let segments = titles(home.path()).into_iter().filter_map(|title| match title {
            Title::Segment { number, life, .. } => Some((number, life.get())),
            Title::Blank { .. } => None,
        });
        seen.extend(segments);
        assert_eq!((seen.len(), seen.last().unwrap().0), (round, round as u64));
        kept.gone();
        drop(log);
        idle(home.path());
    }
    assert_eq!(seen.iter().map(|(_, life)| life).collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn a_file_of_another_version_ends_the_opening_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("0000000000000001.segment");
    // As the first version began a file.
    fs::write(&file, [&b"mesh-log"[..], &1_u32.to_le_bytes(), &[7; 100]].concat()).unwrap();
    let error = Log::with(home.path(), CAPACITY, Metrics::default()).unwrap_err();
    assert_eq!(error, LogError::Version { path: file, version: 1 });
    assert!(error.to_string().contains("move its folder away"), "{error}");
}

#[test]
fn a_payload_cannot_forge_records_that_count_once_its_file_is_used_again() {
    // One head and a byte: so each stands at every alignment in turn. All is known but the life.
    let forged = (1..=30).flat_map(|guess| {
        let head = record::tests::written(record::tests::life(guess), 0, 1, u64::MAX, b"")[..HEAD].to_vec();
        std::iter::repeat_n([head, vec![0]].concat(), 8)
    });
    in_a_third_life(&[forged.flatten().collect()], b"genuine");
}
