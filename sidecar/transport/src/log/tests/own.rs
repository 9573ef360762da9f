//! Records that are too large for a segment.

use super::*;
use crate::log::faults::Health;

fn large() -> Bytes {
    Bytes::from(vec![7; 5 * CAPACITY as usize])
}

/// Appends a large record to a log whose disk stands still for it; where to hear of it, and its claim.
fn begin(log: &Log) -> (mpsc::Receiver<Result<Kept, LogError>>, Claim) {
    faults::disk().be(Health::StandsForOne);
    let ((tell, told), claim) = (mpsc::channel(), Claim::default());
    let landed = move |landed| tell.send(landed).unwrap();
    log.append(message(large()).record(now()), claim.clone(), Box::new(landed));
    faults::disk().is_awaited();
    (told, claim)
}

#[test]
fn others_land_while_a_large_one_is_written() {
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path());
    keep(&log, "before");
    let (told, _) = begin(&log);
    keep(&log, "meanwhile");
    assert!(told.try_recv().is_err(), "not all of it is on disk");
    faults::disk().be(Health::Works);
    told.recv().unwrap().unwrap();
    keep(&log, "behind");
    drop(log);
    let expected = [Bytes::from("before"), Bytes::from("meanwhile"), large(), Bytes::from("behind")];
    assert_eq!(payloads(&open(home.path()).1), expected);
}

#[test]
fn a_large_one_that_is_withdrawn_while_it_is_written_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path());
    keep(&log, "before");
    let (told, claim) = begin(&log);
    assert!(claim.withdraw(), "it has no place yet");
    faults::disk().be(Health::Works);
    assert_eq!(told.recv().unwrap().unwrap_err(), LogError::Withdrawn);
    drop(log);
    let largest = files(home.path()).iter().map(|file| fs::metadata(file).unwrap().len()).max().unwrap();
    assert!(largest < 3 * CAPACITY, "its file is still there");
    assert_eq!(payloads(&open(home.path()).1), ["before"]);
}

#[test]
fn a_disk_that_fails_under_a_large_one_refuses_it_and_goes_on_with_others() {
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path());
    let (told, _) = begin(&log);
    faults::disk().be(Health::Fails);
    assert!(matches!(told.recv().unwrap().unwrap_err(), LogError::Disk { .. }));
    faults::disk().be(Health::Works);
    keep(&log, "behind");
    drop(log);
    assert_eq!(payloads(&open(home.path()).1), ["behind"]);
}

#[test]
fn the_end_of_the_log_waits_for_a_large_one_that_is_under_way() {
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path());
    let (told, _) = begin(&log);
    faults::disk().be(Health::Works);
    drop(log);
    told.recv().unwrap().unwrap();
    assert_eq!(payloads(&open(home.path()).1), [large()]);
}

#[test]
fn damage_in_a_large_one_is_known_though_nothing_follows() {
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path());
    keep(&log, large());
    drop(log);
    let (file, at) = find(home.path(), &[7; 64]);
    flip(&file, at + 5000);
    let error = Log::with(home.path(), CAPACITY, Metrics::default()).unwrap_err();
    assert!(matches!(&error, LogError::Damaged { path, .. } if *path == file), "{error}");
}
