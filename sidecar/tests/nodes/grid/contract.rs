//! Each rule of the contract, and each box of its section 11, with the tests that fail without it. What is about several nodes
//! is shown with two grids in one process (`grid/src/elsewhere`), over a real NATS (`nodes/backplane`), and by the tables themselves, which
//! hold among gateways too (`gateways.rs`).
//!
//! | rule | tests |
//! |---|---|
//! | section 1 | `end_users_reach_no_api_at_their_port_and_the_api_takes_no_end_user`, `what_is_no_handshake_is_refused_by_its_status` |
//! | section 2 | `frames_have_the_originals_names_and_the_extra_keys_of_its_applications`, `a_backend_of_the_original_needs_no_change`, `bounds_and_times_are_the_originals_where_nothing_is_configured` |
//! | G-1 | `ids_of_requests_come_back_digit_by_digit`, `ids_are_echoed_to_the_digit`, `grid_request` |
//! | G-2 | `answers_are_those_of_the_seed`, `calls_over_http_are_answered_as_in_the_seed`, `http_is_answered_in_the_envelope_whatever_its_status` |
//! | G-3 | `parameters_may_stand_in_an_array_as_older_clients_write_them`, `the_examples_of_the_seed_are_read` |
//! | G-4 | `each_bad_request_has_its_code_and_harms_nobody`, `ten_bad_requests_in_a_row_end_a_connection_and_nine_do_not` |
//! | G-5 | `ids_have_the_layout_of_the_original`, `none_comes_twice_in_a_burst_or_behind_a_clock_that_goes_backwards`, `each_life_goes_on_behind_the_last_whatever_the_clock_says`, `after_a_restart_no_id_comes_again`, `no_id_comes_twice_after_kill_9`, `without_a_file_ids_begin_beyond_those_of_a_life_whose_disk_is_lost` |
//! | G-6 | `an_event_has_the_members_of_the_seed_and_those_of_the_contract`, `nothing_is_issued_beyond_what_is_reserved_and_the_next_life_begins_there`, `events_name_the_node_as_it_is_called_else_its_machine_which_is_the_pod` |
//! | G-7 | `a_message_that_was_not_sent_has_its_word_and_where_wanted_its_status`, `the_status_mirrors_what_the_body_says_where_that_is_configured` |
//! | G-8 | `a_publication_reaches_all_nodes_and_a_silent_one_counts_as_it_was_last_known`, `a_publication_reaches_each_subscriber_once_and_wakes_it_on_its_own_thread`, `a_client_that_is_slow_gone_or_too_small_counts_as_failed`, `a_client_that_takes_too_little_is_closed_and_others_notice_nothing`, `channels_and_contexts_are_bounded`, `where_there_is_no_room_for_all_together_each_subscriber_counts_once` |
//! | G-9 | `messages_keep_their_form_and_are_bounded`, `binary_is_base64_of_both_alphabets_padded_or_not`, `text_is_a_string_or_compact_json_with_its_digits`, `what_cannot_be_sent_is_refused` |
//! | G-10 | `what_one_connection_sends_arrives_in_its_order` |
//! | G-11 | `messages_keep_their_form_and_are_bounded`, `channels_and_contexts_are_bounded`, `names_have_no_blanks_no_control_characters_and_a_bound`, `what_does_not_fit_changes_nothing`, `a_message_above_the_bound_is_answered_like_every_request_that_is_none_and_is_the_last` |
//! | section 4, HTTP | `http_is_answered_in_the_envelope_whatever_its_status`, `from_elsewhere_nothing_is_answered_without_credentials`, `while_a_node_ends_backends_that_come_are_told_when_to_come_again`, `what_is_about_to_end_says_when_to_come_again`, `while_a_sidecar_ends_backends_that_come_are_told_when_to_come_again`, `a_gateway_that_stays_away_is_answered_for` |
//! | G-12 | `a_chat_room`, `a_message_centre_with_a_login`, `an_exchange_with_public_and_private_channels`, `bullets_over_a_video`, `the_first_rule_that_matches_takes_a_message`, `names_are_allowed_as_the_pattern_says_and_no_value_widens_it`, `clients_subscribe_to_what_they_may_and_no_value_widens_that`, `topics_learn_who_comes_and_who_goes`, `fragments_pass_as_they_come_with_pings_between_them`, `grid_rules`, `grid_patterns` |
//! | G-13 | `a_full_topic_does_what_its_policy_says_and_others_go_on`, `consumers_of_a_topic_get_each_message_once_together`, `each_policy_does_what_it_says_at_the_bound`, `a_topic_is_full_of_bytes_too_and_what_is_not_acknowledged_counts`, `topics_are_bounded_in_number` |
//! | G-14 | `a_consumer_gets_what_came_to_another_node_once_and_within_its_window`, `what_a_node_held_goes_to_others_when_it_is_no_more_and_who_comes_later_is_told_who_consumes`, `competing_consumers_get_disjoint_sets_in_turn_within_their_windows`, `a_sidecar_passes_calls_and_websockets_of_its_own_pod_on_to_the_gateway` |
//! | G-15 | `what_a_killed_gateway_had_comes_again_at_another_one_but_for_what_was_acknowledged`, `what_a_consumer_of_another_node_holds_is_acknowledged_there_and_comes_back_when_it_goes`, `what_a_consumer_elsewhere_does_not_acknowledge_comes_again_from_the_gateway_that_has_it`, `in_ack_mode_what_a_consumer_did_not_acknowledge_goes_to_another_one`, `tags_are_acknowledged_once_and_by_their_own_consumer`, `what_is_not_acknowledged_goes_back_to_its_place_when_its_consumer_is_lost`, `what_was_given_to_others_is_acknowledged_by_them_alone` |
//! | G-16 | `popping_and_unpopping_are_all_or_nothing_and_idempotent`, `where_it_is_strict_unpopping_nothing_is_203`, `who_unpops_may_finish_what_is_in_flight` |
//! | G-17 | `popping_and_unpopping_are_all_or_nothing_and_idempotent`, `while_the_process_ends_nobody_begins_to_consume`, `a_topic_that_is_disabled_is_consumed_by_nobody_any_more_and_what_is_on_its_way_is_finished` |
//! | G-18 | `clients_of_another_node_are_sent_to_and_called_and_one_that_is_silent_cannot_be_reached`, `calls_over_a_websocket_are_answered_as_in_the_seed`, `channels_and_contexts_are_bounded`, `values_keep_their_digits_and_replacing_keeps_what_is_reserved` |
//! | G-19 | `functions_of_a_connection_show_and_change_it`, `a_client_that_is_paused_is_not_read_until_it_is_resumed_and_hears_all_the_same`, `subscriptions_are_all_or_none_and_end_with_the_client` |
//! | G-20 | `messages_wait_until_a_backend_lets_them_go_but_the_login`, `what_is_held_back_is_bounded_as_the_listener_says`, `what_is_held_back_is_bounded_in_bytes_too`, `a_hold_that_nobody_ends_closes_with_1008`, `what_is_held_back_is_bounded_as_the_topic_says_where_the_listener_does_not`, `a_message_of_a_topic_that_pauses_is_the_last_that_is_read_while_others_are_refused` |
//! | G-21 | `credentials_in_plain_text_count_from_elsewhere_only_where_the_grid_says_so`, `from_elsewhere_nothing_is_answered_without_credentials`, `networks_may_call_in_plain_text_where_the_grid_says_so_and_pages_where_they_are_listed`, `a_backend_with_a_certificate_of_its_own_node_may_call_and_a_partners_may_not`, `each_method_has_its_code_for_who_may_not`, `clients_stay_as_long_as_their_listener_and_backends_as_long_as_they_may`, `credentials_that_a_backend_shows_its_sidecar_count_at_the_gateway`, `a_network_that_may_call_no_more_is_sent_away`, `secrets_that_are_renewed_count_for_who_comes_and_who_is_here_stays_but_by_a_token_that_is_gone` |
//! | G-22 | `a_hook_may_take_as_long_as_its_timeout_says_though_a_handshake_may_not`, `tokens_of_every_algorithm_are_taken_by_their_own_key_and_listener_only`, `each_claim_that_is_asked_for_is_looked_at_and_fills_what_it_has_to`, `keys_at_a_url_are_fetched_when_they_are_needed_and_again_for_a_new_one`, `a_session_ends_with_its_token_and_goes_on_with_a_new_one`, `a_hook_says_who_comes_what_they_have_and_for_how_long`, `grid_token`, `grid_keys`, `grid_hook`, `a_session_that_a_hook_began_goes_on_where_the_hook_says_so_of_a_new_token`, `about_a_token_that_a_client_brings_it_is_asked_with_what_is_known_of_the_client` |
//! | G-23 | `who_says_nothing_is_given_up_at_its_read_timeout_also_while_a_pong_is_awaited`, `who_says_nothing_and_answers_no_ping_is_given_up`, `a_quiet_client_is_asked_and_given_up_without_an_answer`, `a_socket_that_takes_nothing_is_dropped_and_one_that_takes_something_begins_anew`, `text_pings_are_answered_on_both_ports_unless_the_listener_says_otherwise`, `a_client_that_takes_nothing_within_the_write_timeout_is_dropped_though_its_queue_has_room`, `a_backend_that_takes_nothing_for_a_minute_is_given_up` |
//! | G-24 | `what_waits_for_all_clients_is_bounded_and_who_reads_goes_on`, `answers_to_pings_count_among_what_waits_for_all`, `what_waits_for_all_together_is_bounded_and_who_holds_most_of_it_is_cut`, `answers_count_too_and_who_goes_on_asking_where_there_is_no_room_is_cut`, `a_client_that_takes_too_little_is_closed_and_others_notice_nothing`, `frames_without_a_byte_fill_it_too`, `a_client_that_pings_and_takes_no_pong_is_closed_too`, `the_largest_message_is_taken_where_the_queue_has_the_room_of_one` |
//! | G-25 | `who_reads_nothing_holds_up_the_end_no_longer_than_its_write_timeout`, `at_the_end_clients_are_told_to_come_again_and_backends_hear_of_it_first`, `clients_are_told_over_the_longer_a_time_the_more_they_are`, `clients_are_told_one_by_one_and_all_within_the_time`, `clients_are_told_within_half_of_what_the_process_waits` |
//! | section 7 | `three_gateways_are_one_grid_whoever_of_them_dies_and_when_nats_does`, `a_gateway_whose_servers_are_away_waits_for_them_and_says_so`, `a_gateway_whose_number_is_anothers_sends_its_clients_away_and_ends`, `a_gateway_is_ready_for_half_a_minute_without_the_servers_and_not_at_all_without_its_number`, `a_leased_number_issues_as_far_as_its_lease_says_and_nothing_once_it_is_anothers` |
//! | section 8, metrics | `what_happens_is_counted_on_both_ports`, `what_becomes_no_call_and_no_client_is_counted_too` |
//! | section 8, close codes | `a_fault_of_ours_ends_its_own_client_with_1011_and_leaves_nothing_of_it`, `bytes_that_break_the_protocol_close_it_with_their_code` |
//! | section 8, TLS and compression | `listeners_of_a_port_show_their_own_certificate_and_take_no_plain_text`, `it_is_agreed_on_where_the_listener_and_the_client_want_it`, `messages_are_opened_on_their_way_in_and_packed_on_their_way_out_where_it_pays`, `what_does_not_open_or_opens_to_too_much_ends_its_own_connection_only`, `secrets_that_are_renewed_count_for_who_comes_and_who_is_here_stays_but_by_a_token_that_is_gone` |
//!
//! | box of section 11 | tests |
//! |---|---|
//! | malformed JSON, empty, no object, content type, oversize | `each_bad_request_has_its_code_and_harms_nobody`, `http_is_answered_in_the_envelope_whatever_its_status`, `messages_keep_their_form_and_are_bounded` |
//! | missing, blank or wrong parameters; unknown method; `i` and `id` | `each_bad_request_has_its_code_and_harms_nobody`, `parameters_that_are_missing_blank_or_wrong_are_101`, `what_cannot_be_read_is_101_and_what_is_not_known_100` |
//! | forms of `i` | `ids_of_requests_come_back_digit_by_digit` |
//! | forms of client ids, unknown, just closed | `each_bad_request_has_its_code_and_harms_nobody`, `what_is_no_id_is_refused`, `topics_learn_who_comes_and_who_goes` |
//! | base64, `t`, `d`, UTF-8 | `messages_keep_their_form_and_are_bounded`, `each_bad_request_has_its_code_and_harms_nobody` |
//! | channels and contexts at their bounds | `channels_and_contexts_are_bounded` |
//! | legacy array, `server.ping`, `id`, ten bad requests | `parameters_may_stand_in_an_array_as_older_clients_write_them`, `ten_bad_requests_in_a_row_end_a_connection_and_nine_do_not` |
//! | HTTP method, path, role, credentials, draining | `http_is_answered_in_the_envelope_whatever_its_status`, `from_elsewhere_nothing_is_answered_without_credentials`, `while_the_process_ends_nobody_begins_to_consume`, `while_a_node_ends_backends_that_come_are_told_when_to_come_again` |
//! | pops and unpops | `popping_and_unpopping_are_all_or_nothing_and_idempotent`, `consumers_of_a_topic_get_each_message_once_together` |
//! | a consumer dies; nack, ack twice, foreign tag, ack after reconnect | `in_ack_mode_what_a_consumer_did_not_acknowledge_goes_to_another_one`, `without_acks_what_was_written_to_a_consumer_that_dies_is_gone` |
//! | overflow policies | `a_full_topic_does_what_its_policy_says_and_others_go_on` |
//! | owner dead or partitioned, publish while nodes come and go, number used again, backplane down and back | `three_gateways_are_one_grid_whoever_of_them_dies_and_when_nats_does`, `a_gateway_that_is_cut_off_is_missed_and_finds_its_number_again`, `a_publication_reaches_all_nodes_and_a_silent_one_counts_as_it_was_last_known` |
//! | lease lost | `a_gateway_whose_number_is_anothers_sends_its_clients_away_and_ends` |
//! | clock going backwards | `none_comes_twice_in_a_burst_or_behind_a_clock_that_goes_backwards` |
//! | a client of another node | `a_message_that_was_not_sent_has_its_word_and_where_wanted_its_status` |
//! | handshakes and frames that are none | `what_is_no_handshake_is_refused_by_its_status`, `a_handshake_of_a_backend_that_is_none_has_its_status`, `pages_of_other_origins_are_refused` |
//! | control frames, fragments, UTF-8 across them | `large_messages_come_back_whole_however_they_are_cut`, `many_messages_come_back_in_their_order`, `compressed_messages_come_back_whole_by_each_offer`, `a_listener_does_in_each_case_what_the_rfc_says`, `the_backends_port_does_in_each_case_what_the_rfc_says` |
//! | text ping, missing pong, timeouts, slow reader | `text_pings_are_answered_on_both_ports_unless_the_listener_says_otherwise`, `who_says_nothing_and_answers_no_ping_is_given_up`, `a_client_that_takes_too_little_is_closed_and_others_notice_nothing`, `pings_without_end_by_who_reads_no_pong_end_that_client`, `a_client_that_takes_nothing_within_the_write_timeout_is_dropped_though_its_queue_has_room` |
//! | JWT, hook, hold | `tokens_of_every_algorithm_are_taken_by_their_own_key_and_listener_only`, `each_claim_that_is_asked_for_is_looked_at_and_fills_what_it_has_to`, `a_hook_that_is_away_or_slow_lets_nobody_in_and_holds_up_nobody_else`, `messages_wait_until_a_backend_lets_them_go_but_the_login`, `what_is_held_back_is_bounded_as_the_listener_says` |
//! | client commands, templates, the seed | `clients_subscribe_to_what_they_may_and_no_value_widens_that`, `calls_over_http_are_answered_as_in_the_seed`, `calls_over_a_websocket_are_answered_as_in_the_seed`, `what_fails_over_a_websocket_is_answered_as_in_the_seed`, `an_event_has_the_members_of_the_seed_and_those_of_the_contract` |
//! | floods | `messages_that_nobody_consumes_fill_no_more_than_their_topics_bytes`, `who_never_finishes_a_handshake_or_brings_too_much_in_it_is_sent_away`, `fragments_without_an_end_and_frames_without_a_byte_hold_nothing_and_nobody_up`, `where_there_are_too_many_the_oldest_gives_way`, `connections_beyond_what_the_process_can_bear_are_cut_before_they_say_a_word` |

use crate::harness::table::{each_test_is_there, rows};

#[test]
fn each_rule_and_each_box_has_tests_that_are_there() {
    let file = include_str!("contract.rs");
    for number in 1..=25 {
        let rule = format!("//! | G-{number} |");
        assert_eq!(rows(file).iter().filter(|row| row.starts_with(&rule)).count(), 1, "G-{number}");
    }
    each_test_is_there(
        file,
        &[
            "grid/src",
            "websocket/src",
            "network/src/listen",
            "src/start/backplane",
            "backplane/tests",
            "tests/nodes/grid",
            "tests/nodes/backplane",
        ],
    );
}
