//! Marks, and a disk that holds them up.

use futures::poll;

use super::*;
use crate::log::faults::Health;

#[tokio::test]
async fn a_mark_that_the_disk_holds_up_holds_up_neither_who_asks_nor_the_writer() {
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path());
    let (one, two) = (keep(&log, "one"), keep(&log, "two"));
    faults::disk().be(Health::StandsForMarks);
    let mut given = log.given(&one).unwrap();
    faults::disk().is_awaited();
    let mut gone = log.gone(&two).unwrap();
    keep(&log, "three");
    let mut again = log.given(&one).unwrap();
    assert!(poll!(&mut given).is_pending() && poll!(&mut gone).is_pending() && poll!(&mut again).is_pending());
    faults::disk().be(Health::Works);
    given.await;
    again.await;
    gone.await;
    assert!(log.given(&one).is_none() && log.gone(&two).is_none(), "they are set");
    drop(log);
    let (_, found) = open(home.path());
    assert_eq!(payloads(&found), ["one", "three"]);
    assert_eq!(found.iter().map(|found| found.given).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn what_was_asked_for_is_set_when_the_log_has_ended_and_after_it_too() {
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path());
    let all: Vec<Kept> = (0..200).map(|n| keep(&log, n.to_string())).collect();
    let (late, early) = all.split_last().unwrap();
    early.iter().for_each(|kept| drop(log.gone(kept)));
    log.end();
    assert!(log.gone(late).is_none(), "there is nothing to wait for");
    drop(log);
    assert_eq!(open(home.path()).1.len(), 0);
}
