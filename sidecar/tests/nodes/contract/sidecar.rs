//! The same tables where applications call a sidecar beside the node's gateway: every answer is the one that the gateway itself
//! would give, down to the bytes (design section 5).

use super::{calls, codes, grpc, hops, http, stage::Stage, waits};

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_http_are_answered_as_the_contract_says() {
    http::requests_over_http_are_answered_as_the_contract_says_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_empty_session_is_one_of_its_own_and_is_never_over() {
    http::the_empty_session_is_one_of_its_own_and_is_never_over_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kuscias_calls_name_their_session() {
    http::kuscias_calls_name_their_session_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_means_the_same_on_every_way() {
    Box::pin(calls::every_call_means_the_same_on_every_way_at(&Stage::beside_a_gateway().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_on_one_way_is_popped_on_every_other() {
    calls::what_is_pushed_on_one_way_is_popped_on_every_other_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_of_real_clients_are_read_and_answered_byte_by_byte() {
    grpc::the_samples_of_real_clients_are_read_and_answered_byte_by_byte_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_answered_in_the_code_or_in_grpcs_own_status() {
    grpc::what_is_no_message_is_answered_in_the_code_or_in_grpcs_own_status_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_deadline_counts_in_every_unit() {
    grpc::the_callers_deadline_counts_in_every_unit_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_answered_in_order_each_message_by_its_own_metadata() {
    grpc::a_stream_is_answered_in_order_each_message_by_its_own_metadata_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_metadata_is_served() {
    grpc::a_client_without_metadata_is_served_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_generic_service_speaks_json_and_is_named_by_the_urn() {
    grpc::the_generic_service_speaks_json_and_is_named_by_the_urn_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer_this_nodes_own() {
    grpc::health_and_reflection_answer_this_nodes_own_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_code_is_raised_where_it_applies() {
    codes::each_code_is_raised_where_it_applies_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_a_ready_instance_is_503() {
    codes::a_service_without_a_ready_instance_is_503_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_partner_is_told_so_in_its_own_encoding() {
    codes::who_is_no_partner_is_told_so_in_its_own_encoding_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_says_who_we_are_and_what_the_call_left_open() {
    hops::a_hop_says_who_we_are_and_what_the_call_left_open_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_institution_names_its_node() {
    hops::a_target_institution_names_its_node_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_is_in_the_callers_encoding_and_always_in_the_published_dialect() {
    hops::a_hop_is_in_the_callers_encoding_and_always_in_the_published_dialect_at(&Stage::beside_a_gateway().await)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_of_the_partner_is_passed_on_as_it_came_and_over_grpc_as_a_code() {
    hops::a_status_of_the_partner_is_passed_on_as_it_came_and_over_grpc_as_a_code_at(&Stage::beside_a_gateway().await)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generic_call_for_a_partner_goes_on_as_it_is() {
    hops::a_generic_call_for_a_partner_goes_on_as_it_is_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pops_of_all_ways_are_served_in_the_order_in_which_they_came() {
    waits::pops_of_all_ways_are_served_in_the_order_in_which_they_came_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_wakes_the_pops_and_the_pushes_of_all_ways() {
    waits::a_release_wakes_the_pops_and_the_pushes_of_all_ways_at(&Stage::beside_a_gateway().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_waits_for_room_as_long_as_its_way_says() {
    waits::a_push_waits_for_room_as_long_as_its_way_says_at(&Stage::beside_a_gateway().await).await;
}
