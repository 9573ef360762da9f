//! A partner that answers and does not let us in is shown as such, and again as reachable once it does.

use std::time::Duration;

use crate::harness::{A, B, Node, until};

use super::commands::listed;

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_answers_and_does_not_know_us_is_refused_until_it_does() {
    let (a, b) = (Node::start().await, Node::start().await);
    let (root_a, root_b) = (a.become_node(A).await, b.become_node(B).await);
    assert_eq!(a.trust(B, b.data, &root_b).await, super::OK);
    let state = async || listed(&a)[0]["reached"][0].clone();
    until("the refusal", Duration::from_secs(60), async || state().await["state"] == "refused").await;
    let reason = state().await["reason"].to_string();
    assert!(reason.contains("authorisation"), "{reason}");
    assert_eq!(b.trust(A, a.data, &root_a).await, super::OK);
    until("the welcome", Duration::from_secs(60), async || state().await["state"] == "reachable").await;
}
