//! The same where the node has three gateways over a real NATS (Grid section 7): backends call two of them, end users are connected to
//! the third, and every message, send, publication, call and acknowledgement goes from one to another. Each answer is the one that a
//! lone grid gives.
//!
//! Left out is what ends at the connection that it is about, whoever else there is: handshakes and frames, credentials, tokens and hooks,
//! TLS and compression, floods, what HTTP answers, and what a process writes on its own page of metrics.

use serde_json::json;

use super::{Stage, codes, connections, examples, queues, requests};

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_settings_holds() {
    let stage = Stage::among_gateways(&json!({})).await;
    Box::pin(what_needs_no_settings_holds_at(&stage)).await;
}

async fn what_needs_no_settings_holds_at(stage: &Stage) {
    requests::each_bad_request_has_its_code_and_harms_nobody_at(stage).await;
    stage.is_left().await;
    codes::parameters_may_stand_in_an_array_as_older_clients_write_them_at(stage).await;
    stage.is_left().await;
    requests::messages_keep_their_form_and_are_bounded_at(stage).await;
    stage.is_left().await;
    requests::channels_and_contexts_are_bounded_at(stage).await;
    stage.is_left().await;
    codes::a_client_that_is_paused_is_not_read_until_it_is_resumed_and_hears_all_the_same_at(stage).await;
    stage.is_left().await;
    codes::what_one_connection_sends_arrives_in_its_order_at(stage).await;
    stage.is_left().await;
    queues::consumers_of_a_topic_get_each_message_once_together_at(stage).await;
    stage.is_left().await;
    queues::without_acks_what_was_written_to_a_consumer_that_dies_is_gone_at(stage).await;
    stage.is_left().await;
    queues::in_ack_mode_what_a_consumer_did_not_acknowledge_goes_to_another_one_at(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_have_their_settings() {
    let stage = Stage::among_gateways(&queues::one_is_off()).await;
    queues::popping_and_unpopping_are_all_or_nothing_and_idempotent_at(&stage).await;
    drop(stage);
    let stage = Stage::among_gateways(&queues::two_topics()).await;
    queues::topics_are_bounded_in_number_at(&stage).await;
    drop(stage);
    let stage = Stage::among_gateways(&queues::small_topics()).await;
    queues::a_full_topic_does_what_its_policy_says_and_others_go_on_at(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_have_their_settings() {
    let stage = Stage::among_gateways(&codes::small_queues()).await;
    codes::a_message_that_was_not_sent_has_its_word_and_where_wanted_its_status_at(&stage).await;
    drop(stage);
    let stage = Stage::among_gateways(&connections::who_comes()).await;
    connections::topics_learn_who_comes_and_who_goes_at(&stage).await;
    drop(stage);
    let stage = Stage::among_gateways(&examples::chat_room()).await;
    examples::a_chat_room_at(&stage).await;
}
