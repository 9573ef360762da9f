//! The same tables where the node has three gateways over a real NATS, and the one that is called has none of the sessions: each was
//! used at another one before (`stage.rs`), so that whatever is pushed, popped, waited for and released is so across two of them.
//! Partners call a third one. Every answer is the one that a lone process gives, with messages in memory and in JetStream.
//!
//! Each test stands on one server and one set of gateways. What is left out says nothing of sessions or stands elsewhere: what a
//! process's own variables and connections are about (`settings.rs`, some of `hops.rs` and `grpc.rs`), and packets of 64 MiB
//! (`nodes/backplane/sessions.rs` has some of 3 MiB, in their pieces).

use serde_json::json;

use super::{calls, codes, grpc, hops, http, life, stage::Stage, waits};

async fn among(store: &str) -> Stage {
    Stage::among_gateways(&json!({ "store": store })).await
}

/// The tables of exact requests, messages and codes. The first two leave the session without a name as they found it.
async fn answers_are_exact(store: &str) {
    let stage = among(store).await;
    grpc::a_client_without_metadata_is_served_at(&stage).await;
    http::the_empty_session_is_one_of_its_own_and_is_never_over_at(&stage).await;
    http::kuscias_calls_name_their_session_at(&stage).await;
    http::requests_over_http_are_answered_as_the_contract_says_at(&stage).await;
    grpc::the_samples_of_real_clients_are_read_and_answered_byte_by_byte_at(&stage).await;
    grpc::what_is_no_message_is_answered_in_the_code_or_in_grpcs_own_status_at(&stage).await;
    grpc::the_callers_deadline_counts_in_every_unit_at(&stage).await;
    grpc::a_stream_is_answered_in_order_each_message_by_its_own_metadata_at(&stage).await;
    grpc::the_generic_service_speaks_json_and_is_named_by_the_urn_at(&stage).await;
    grpc::health_and_reflection_answer_this_nodes_own_at(&stage).await;
    codes::each_code_is_raised_where_it_applies_at(&stage).await;
    codes::a_service_without_a_ready_instance_is_503_at(&stage).await;
    codes::who_is_no_partner_is_told_so_in_its_own_encoding_at(&stage).await;
    hops::a_hop_says_who_we_are_and_what_the_call_left_open_at(&stage).await;
    hops::a_target_institution_names_its_node_at(&stage).await;
    hops::a_hop_is_in_the_callers_encoding_and_always_in_the_published_dialect_at(&stage).await;
    hops::a_status_of_the_partner_is_passed_on_as_it_came_and_over_grpc_as_a_code_at(&stage).await;
    hops::a_generic_call_for_a_partner_goes_on_as_it_is_at(&stage).await;
    stage.has_passed_all_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_exact_with_messages_in_memory() {
    Box::pin(answers_are_exact("Memory")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_exact_with_messages_in_jetstream() {
    Box::pin(answers_are_exact("Disk")).await;
}

/// What calls mean, in plain words, on every way; and those that wait.
async fn calls_mean_the_same(store: &str) {
    let stage = among(store).await;
    calls::every_call_means_the_same_on_every_way_at(&stage).await;
    calls::what_is_pushed_on_one_way_is_popped_on_every_other_at(&stage).await;
    waits::pops_of_all_ways_are_served_in_the_order_in_which_they_came_at(&stage).await;
    waits::a_release_wakes_the_pops_and_the_pushes_of_all_ways_at(&stage).await;
    waits::a_push_waits_for_room_as_long_as_its_way_says_at(&stage).await;
    life::a_reader_that_dies_gives_back_what_it_has_not_read_at(&stage).await;
    life::a_push_that_is_sent_again_by_its_id_enters_once_at(&stage).await;
    stage.has_passed_all_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_mean_the_same_with_messages_in_memory() {
    Box::pin(calls_mean_the_same("Memory")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_mean_the_same_with_messages_in_jetstream() {
    Box::pin(calls_mean_the_same("Disk")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_tombstones_have_their_time() {
    for store in ["Memory", "Disk"] {
        life::messages_and_tombstones_have_their_time_at(&Stage::among_gateways(&life::ages(store)).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_nobody_uses_goes_and_may_be_used_again() {
    for store in ["Memory", "Disk"] {
        let stage = Stage::among_gateways(&life::idleness(store)).await;
        life::a_session_that_nobody_uses_goes_and_may_be_used_again_at(&stage, store).await;
    }
}
