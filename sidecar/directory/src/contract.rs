//! What of the Datanet contract this crate keeps, with the tests that fail without it. Tests that need a
//! node are in `sidecar/tests/nodes/directory`, those of the commands in `sidecar/src/cli/directory`, those of what a process does by
//! itself in `sidecar/src/start/directory`, and those with tools of others in `e2e/directory`. What needs several replicas is not
//! here, nor is it there yet; neither are validating witnesses.
//!
//! | sentence | tests |
//! |---|---|
//! | section 2, bodies and answers | `the_examples_of_section_2_are_taken`, `a_central_system_has_the_labels_that_are_printed`, `an_adapter_class_is_what_was_registered`, `a_data_system_is_what_was_registered`, `a_refusal_has_a_message` |
//! | section 2, one path for all | `the_multiplexed_form_names_its_message`, `one_path_takes_all_messages_by_their_operation` |
//! | section 2, paths, GET and ETag, batch | `a_path_takes_its_methods_and_no_other`, `a_retrieval_by_get_is_cached_until_the_revision_changes`, `a_batch_answers_each_message_in_its_place` |
//! | section 2, gzip, zstd, lines | `a_body_is_unpacked_up_to_its_bound`, `a_packed_snapshot_of_lines_is_taken_and_a_bomb_is_not`, `a_snapshot_longer_than_a_message_comes_as_lines`, `a_long_answer_is_packed_for_who_takes_it_so` |
//! | section 2, keys of repeated writes | `the_same_key_is_the_same_write`, `a_repeated_write_is_answered_as_the_first_time`, `a_refused_write_may_be_tried_again_with_its_key` |
//! | section 2, the status mirrors the code | `the_status_of_http_mirrors_the_code_or_is_always_200` |
//! | section 2, the option that always says 200, and what is no message | `a_command_knows_a_refusal_by_its_code` |
//! | section 2, tokens and certificates | `a_write_needs_the_token_or_the_certificate_of_its_central_system`, `a_certificate_writes_for_its_own_node_and_a_token_for_its_central_system`, `a_partner_that_proved_nothing_is_nobody` |
//! | section 3, each is counted and named | `each_leniency_is_named_and_counted_whichever_way_it_comes`, `calls_are_counted_by_what_and_code_and_levels_are_shown` |
//! | section 3, strict | `a_strict_directory_refuses_what_others_warn_of` |
//! | leniencies 1, 3, 6, 7, 9, 10, 12, 14, 15, 20 | `each_is_accepted_with_its_warning`, `each_is_refused_by_a_strict_directory`, `two_keys_that_differ_are_refused` |
//! | leniency 2 | `a_version_may_be_missing_or_written_otherwise_but_not_another` |
//! | leniency 4 | `an_empty_snapshot_means_none_and_a_missing_one_nothing` |
//! | leniency 5 | `labels_are_those_of_the_seed`, `a_central_system_has_the_labels_that_are_printed` |
//! | leniency 6, the option | `an_adapter_class_is_what_was_registered`, `protocols_are_answered_in_lower_case_where_that_is_wanted`, `a_protocol_is_answered_in_lower_case_and_proven_as_it_was_registered`, `a_copy_writes_protocols_as_the_directory_does`, `the_class_of_the_seed_is_answered_to_the_letter_where_protocols_are_in_lower_case` |
//! | leniency 8 | `the_search_for_a_typo_suggests_the_name_that_is_meant`, `distances_are_counted_in_letters` |
//! | leniency 9 | `ids_have_letters_and_digits_and_leniently_a_hyphen`, `ids_are_unique_without_case_and_kept_as_given` |
//! | leniency 11, corrected schemas | `the_schemas_are_there_for_everybody`, `a_schema_has_the_members_that_are_read_and_requires_those_that_are_required` |
//! | leniency 12 | `endpoints_are_addresses_or_urls` |
//! | leniency 13 | `a_key_is_known_in_either_case` |
//! | leniency 14 | `parameters_are_kept_as_they_came`, `a_number_is_the_same_however_it_is_written` |
//! | leniency 16 | `a_refusal_has_a_message` |
//! | leniency 17 | `a_code_is_a_number_or_the_text_of_one` |
//! | leniency 18 | `a_search_without_parameters_has_all_classes` |
//! | leniency 19 | `of_a_hundred_who_race_for_a_definition_one_wins` |
//! | leniency 20 | `one_bad_item_refuses_the_whole_snapshot`, `what_two_readers_could_take_for_two_things_is_refused` |
//! | D-1 | `an_id_is_its_first_owners`, `a_lease_ends_when_the_directory_signs_that_it_did`, `a_lease_ends_with_its_time_and_its_id_stays`, `a_central_system_that_does_not_come_again_is_withdrawn` |
//! | D-2 | `a_disconnected_one_leaves_nothing_but_its_id` |
//! | D-3 | `a_snapshot_replaces_the_whole`, `a_snapshot_may_be_guarded`, `a_delta_changes_what_it_names_and_nothing_else`, `a_delta_comes_to_what_the_snapshot_comes_to`, `a_delta_keeps_the_rules_of_snapshots`, `a_delta_may_be_guarded`, `a_delta_is_written_and_stands_in_the_log` |
//! | D-4 | `an_address_is_under_its_own_central_system_and_there_once`, `a_class_must_be_offered_somewhere_unless_pending` |
//! | D-5 | `a_class_has_one_definition`, `a_disconnected_one_leaves_nothing_but_its_id` |
//! | D-6 | `a_label_is_that_of_the_definition_of_today`, `a_shared_label_is_ambiguous_where_one_class_is_meant` |
//! | D-7 | `what_is_not_connected_can_do_nothing_else`, `addresses_that_cannot_be_are_no_missing_ones` |
//! | D-8 | `a_revision_that_is_not_there_yet_is_waited_for_elsewhere`, `a_retrieval_by_get_is_cached_until_the_revision_changes` |
//! | D-9 | `pages_follow_each_other_without_gap_and_overlap`, `a_list_goes_on_where_it_was_while_others_write`, `data_systems_are_listed_by_their_host_and_their_class`, `all_that_there_is_is_listed_and_written_by_deltas`, `pages_have_bounds_and_cursors_their_search`, `who_was_not_reached_comes_last_and_a_cursor_is_of_one_order`, `who_answers_is_found_first_and_nobody_has_a_loopback_address_asked_that_is_not_allowed`, `who_came_last_is_asked_first_and_then_who_was_asked_longest_ago`, `who_is_silent_holds_up_nobody_for_whom_there_is_a_place` |
//! | D-10 | `a_watcher_hears_all_from_its_revision_on_and_then_what_comes`, `a_watcher_that_comes_again_goes_on_where_it_was`, `what_changes_is_heard_and_a_node_ends_while_somebody_watches`, `changes_are_heard_in_the_channel_of_their_central_system_and_nobody_else_speaks_there`, `where_members_read_a_channel_says_that_something_was_written_and_not_what`, `the_piece_that_is_held_longest_gives_way`, `who_takes_nothing_is_let_go_and_whoever_takes_is_not`, `nobody_takes_all_seats` |
//! | 5.1 | `what_is_signed_is_known_to_the_byte`, `an_entry_comes_right_after_the_last_of_its_central_system`, `an_own_entry_is_about_its_body_its_time_and_its_key`, `roles_and_operations_go_together` |
//! | 5.2 | `the_roots_are_those_of_the_reference`, `a_path_names_a_tile`, `each_tile_has_one_spelling`, `the_tiles_of_each_level_are_the_level`, `a_bundle_is_lengths_and_leaves`, `the_example_of_the_specification_is_opened`, `sixteen_signatures_and_more_are_read_up_to_the_bound`, `there_is_one_spelling`, `a_client_of_static_files_has_the_whole_log`, `files_that_never_change_are_kept_by_caches_and_the_checkpoint_is_not`, `entries_and_bodies_replay_to_the_state` |
//! | 5.3 | `the_root_is_that_of_the_definition`, `it_is_a_map_whose_root_does_not_depend_on_its_history`, `a_replay_comes_to_the_same_roots` |
//! | 5.4 | `a_receipt_is_verified_by_its_text_alone`, `every_leaf_has_its_receipt`, `proofs_are_verified_from_their_json_alone`, `what_was_not_published_is_not_proven`, `what_is_there_and_what_is_not_is_proven_on_request`, `a_write_has_its_receipt_on_request`, `records_are_for_those_who_may_read_them`, `the_log_is_read_verified_and_replayed_over_http_alone`, `a_whole_log_holds_and_continues_each_of_its_checkpoints`, `both_ways_come_to_the_same_roots`, `a_replay_comes_to_the_head_of_the_ledger` |
//! | 7, a verified copy: checkpoint and proofs | `a_replica_comes_to_the_same_state_in_steps_of_any_size`, `from_far_behind_each_bundle_is_verified_by_itself`, `a_checkpoint_of_anybody_else_ends_it`, `another_history_of_the_same_log_ends_it_at_any_size`, `a_new_copy_goes_on_from_what_the_last_one_saw`, `no_byte_of_a_bundle_may_change_and_none_may_be_left_out_or_moved`, `what_the_log_signed_against_its_own_rules_ends_it_too`, `where_there_is_no_room_it_stays_answers_and_still_notices_a_fork`, `a_body_that_is_too_long_is_one_only_where_it_was_signed`, `what_is_sent_in_a_bodys_place_fills_nothing` |
//! | 7, keys in the node's hierarchy | `keys_are_believed_of_the_node_that_the_root_leads_to_and_of_nobody_else`, `another_certificate_is_another_statement` |
//! | 7, lookups survive an outage | `retrievals_searches_and_lists_are_lookups_and_nothing_else_is`, `a_copy_answers_as_the_directory_does_and_says_how_old_it_is`, `lookups_go_on_while_the_directory_is_dead_and_end_when_it_comes_back_with_another_history`, `what_is_changed_on_its_way_is_never_answered_and_garbage_ends_nothing`, `where_there_is_no_room_a_copy_stays_as_it_is_and_goes_on_with_more`, `a_cursor_of_another_revision_is_refused_by_a_copy_and_says_how_to_go_on` |
//! | 6, L0: witnesses optional; the way to them and back | `two_nodes_sign_each_others_logs_over_tls_and_go_on_after_kill_9`, `a_log_whose_witness_is_away_is_shown_and_says_so`, `a_checkpoint_is_shown_with_its_signatures_once_enough_have_signed`, `the_last_that_enough_signed_is_shown_until_what_is_behind_it_is_too_old`, `a_clock_that_is_ahead_hides_nothing_for_longer` |
//! | 6, L2: the request for a cosignature | `a_request_is_read_as_it_was_written`, `an_answer_means_what_its_status_says`, `a_log_that_grows_is_signed_from_each_size_to_each`, `what_is_no_continuation_is_refused_with_its_status` |
//! | 6, L2: kept before it is answered, checked and set in one | `of_two_histories_that_come_at_once_one_is_signed`, `two_nodes_sign_each_others_logs_over_tls_and_go_on_after_kill_9` |
//!
//! | box of section 8 | tests |
//! |---|---|
//! | no JSON, no object, duplicate keys, bombs, UTF-8, surrogates, control characters | `what_is_no_message_is_refused`, `what_two_readers_could_take_for_two_things_is_refused`, `depth_has_its_bound`, `messages_have_a_size`, `directory_message` |
//! | look-alike ids, wrong types, empty, blank and over-long strings | `ids_that_cannot_be_are_refused_everywhere`, `names_are_what_people_see`, `one_bad_item_refuses_the_whole_snapshot` |
//! | wrong method, unknown path, bodies at HTTP's edge | `a_path_takes_its_methods_and_no_other`, `a_path_that_nobody_knows_is_not_found`, `a_body_that_is_no_message_is_refused`, `a_body_that_is_too_long_or_in_an_unknown_coding_is_refused`, `a_query_is_read_like_a_body`, `nobody_who_is_unknown_sends_much` |
//! | unknown version, missing header, missing body, unknown operation | `a_version_may_be_missing_or_written_otherwise_but_not_another`, `what_is_no_message_is_refused`, `the_multiplexed_form_names_its_message` |
//! | not connected, disconnected, connected again, disconnected twice | `what_is_not_connected_can_do_nothing_else`, `a_disconnected_one_leaves_nothing_but_its_id`, `an_id_is_its_first_owners` |
//! | snapshots | `an_address_is_under_its_own_central_system_and_there_once`, `a_class_must_be_offered_somewhere_unless_pending`, `a_class_has_one_definition` |
//! | leniencies, and every example of the seed | as above, and `every_example_of_the_seed_is_taken_and_answered_as_printed`, `the_search_of_the_seed_finds_both_central_systems_by_the_name_that_is_meant`, `a_bad_request_is_answered_as_printed` |
//! | endpoints, and where nobody is asked when probing | `endpoints_are_addresses_or_urls`, `an_endpoint_leads_to_a_host_and_a_port`, `nobody_has_this_machine_or_a_metadata_service_asked_unless_it_is_allowed` |
//! | searches, cursors, limits | `a_search_without_parameters_has_all_classes`, `an_old_a_foreign_and_a_broken_cursor_are_refused`, `limits_have_bounds` |
//! | races for an id and for a definition | `of_a_hundred_who_race_for_an_id_one_wins`, `of_a_hundred_who_race_for_a_definition_one_wins`, `of_a_hundred_threads_that_race_for_an_id_one_wins` |
//! | concurrent syncs of one csid, stale base revision | `of_snapshots_that_come_at_once_the_last_is_there_whole`, `of_snapshots_and_deltas_with_one_base_one_is_taken`, `of_deltas_that_come_at_once_none_is_lost`, `a_snapshot_may_be_guarded` |
//! | oversized result sets | `limits_have_bounds`, `a_walk_over_much_that_does_not_fit_ends_and_goes_on`, `a_list_that_cannot_be_is_refused` |
//! | clock skew, replayed, reordered, altered entries, rotation, recovery | `who_holds_a_token_takes_a_key_and_the_token_alone_does_no_more`, `a_clock_may_be_a_little_off`, `no_byte_of_a_leaf_or_a_body_may_change`, `no_leaf_may_be_left_out_repeated_or_moved`, `a_key_is_rotated_by_its_owner_and_recovered_by_a_recovery_key`, `a_key_is_replaced_only_by_one_that_agrees` |
//! | proofs, and altered ones | `every_leaf_of_every_small_log_is_proven`, `every_small_log_is_proven_to_continue_every_earlier_one`, `nothing_that_was_altered_is_proven`, `no_altered_continuation_is_proven`, `what_is_there_and_what_is_not_is_proven`, `no_altered_proof_holds` |
//! | a crash and a restart: log root and state root; what was altered is named | `after_kill_9_nothing_that_was_acknowledged_is_lost`, `after_a_restart_log_and_state_are_what_they_were`, `what_was_committed_is_there_after_a_crash`, `what_was_altered_is_found_at_the_start_and_named`, `a_step_that_does_not_follow_is_not_kept_and_neither_is_its_group` |
//! | missing, expired, foreign token; one for another csid; certificate and csid differ | `a_write_needs_the_token_or_the_certificate_of_its_central_system`, `a_certificate_writes_for_its_own_node_and_a_token_for_its_central_system`, `a_revoked_and_an_expired_token_hold_no_longer`, `a_token_is_for_one_central_system_until_its_time`, `a_revoked_token_holds_no_longer`, `what_is_kept_and_shown_has_no_secret` |
//! | retry after timeout, the same key and another body | `the_same_key_is_the_same_write`, `without_a_key_an_equal_write_adds_nothing` |
//! | rate limit | `a_burst_is_taken_and_then_what_comes_with_time`, `who_writes_too_often_is_held_up_alone` |
//! | proofs, the tree and lines, whoever wrote them | `directory_proof`, `directory_trie`, `directory_lines` |
//! | packed bombs | `a_bomb_is_given_up_at_its_bound`, `a_packed_snapshot_of_lines_is_taken_and_a_bomb_is_not` |
//! | an exported log, altered | `what_was_altered_is_named_in_words`, `no_byte_of_an_exported_log_may_change`, `a_receipt_holds_for_its_own_entry_alone` |
//! | a disk that is gone | `a_directory_whose_disk_is_gone_goes_on_from_what_was_exported`, `a_node_whose_log_is_gone_goes_on_from_what_was_exported` |
//! | disk full | `what_could_not_be_kept_was_never_there` |
//! | witness: a request, whoever wrote it | `directory_add_checkpoint` |
//! | witness: unknown origin, wrong key, old size too high and too low, forked root, a crash before the answer | `what_is_no_continuation_is_refused_with_its_status`, `a_log_is_signed_as_long_as_it_only_grows_and_each_refusal_has_its_status`, `what_is_no_request_is_refused`, `a_signature_over_something_else_does_not_count`, `two_nodes_sign_each_others_logs_over_tls_and_go_on_after_kill_9` |
//! | bounds of tiles and leaves | `tiles_are_there_as_far_as_the_log_is`, `around_the_bounds_of_tiles_too`, `the_longest_leaf_has_its_bound`, `beyond_the_checkpoint_there_is_nothing` |

use std::{collections::HashSet, fs, path::Path};

/// The text of all Rust files below a folder.
fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn each_sentence_and_each_box_has_tests_that_are_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = String::new();
    sources(&folder, &mut all);
    sources(&folder.join("../../tests/nodes/directory"), &mut all);
    sources(&folder.join("../../src/cli/directory"), &mut all);
    sources(&folder.join("../../src/start/directory"), &mut all);
    let name = |line: &str| {
        line.trim()
            .trim_start_matches("async ")
            .strip_prefix("fn ")
            .and_then(|rest| rest.split('(').next())
            .map(str::to_owned)
    };
    let tests: HashSet<String> = all.lines().filter_map(name).collect();
    let table = fs::read_to_string(folder.join("contract.rs")).unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("//! |")).collect();
    let named = rows.iter().flat_map(|row| row.split('`').skip(1).step_by(2));
    let missing: Vec<&str> = named.clone().filter(|test| !tests.contains(*test)).collect();
    assert!(rows.len() > 30 && named.count() > 60, "the table was read");
    assert!(missing.is_empty(), "tests of the table that are not there: {missing:?}");
}
