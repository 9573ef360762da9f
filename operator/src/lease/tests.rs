//! A leader whose API server is slow.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::cluster::fake;

/// An API server with one Lease: each answer comes after the next of these times, or never.
fn slow<const N: usize>(answers: [Duration; N]) -> Client {
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    fake::client("ns", move |_| {
        let after = answers.lock().pop_front();
        async move {
            match after {
                Some(after) => sleep(after).await,
                None => std::future::pending().await,
            }
            let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
                "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}});
            (200, lease)
        }
    })
}

/// The renewal took effect when it was asked for at the earliest, so that is from when on a standby counts.
#[tokio::test(start_paused = true)]
async fn a_lease_lasts_from_the_question_and_not_from_the_answer() {
    let answers = [Duration::ZERO, Duration::from_millis(7900)];
    let candidate = Candidate::new(slow(answers), "ns", "l", "me");
    let begun = Instant::now();
    let lost = candidate.keep(begun).await;
    assert!(matches!(lost, Lost::NotRenewed { .. }), "{lost}");
    // It asked at 2 s and had its answer at 9.9 s; a standby may lead from 2 s + 15 s on.
    assert!(begun.elapsed() < LASTS, "it led on for {:?}", begun.elapsed());
}
