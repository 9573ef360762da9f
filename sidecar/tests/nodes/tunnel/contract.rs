//! The boxes of the contract's section 9, and what else it asks of the control plane, with the tests that fail without it.
//!
//! | the original dies from | tests |
//! |---|---|
//! | UnRegister of a node that never joined | `unregistering_a_node_that_never_joined` |
//! | a socket that is gone, or says no JSON, between the 101 and the handshake | `a_socket_that_is_gone_or_says_no_json_before_its_handshake` |
//! | the 63rd node | `the_63rd_node` |
//! | a short packet | `a_packet_that_is_too_short` |
//!
//! | box of section 9 | tests |
//! |---|---|
//! | UnRegister of a node that never joined, of one twice; its address free | `an_unregistered_node_is_cut_its_token_and_address_are_gone_and_its_certificates_denied` |
//! | 63rd node and exhaustion at the real limit | `the_127th_node_of_a_24_gets_none_until_one_leaves`, `the_address_set_aside_for_a_first_comer_is_free_again_when_it_leaves` |
//! | even addresses never; prefixes /22, /24, /29 | `a_24_holds_126_nodes_and_each_further_24_127_more`, `what_a_node_may_have_is_what_the_contract_says`, `it_is_the_same_as_looking_at_every_address_each_time` |
//! | tokens that are none, unknown, expired, revoked, used up | `what_has_no_form_of_a_token_is_not_even_hashed`, `what_is_no_bootstrap_token_joins_nobody_and_the_endpoints_are_told_all_the_same`, `tokens_that_are_none_are_found_by_no_rpc`, `a_token_ends_at_its_second_when_it_is_used_up_and_when_it_is_revoked`, `tunnel_token` |
//! | `expireTime` | `minutes_are_what_the_contract_says_up_to_both_ends_of_int64`, `zero_minutes_ask_for_the_endpoint_only_and_too_many_are_refused`, `a_bootstrap_token_has_16_digits_and_comes_with_the_bootstrap_port` |
//! | certificates on 6440 and 6439; plain text | `the_register_port_lets_nobody_in_without_a_good_certificate_of_its_plane`, `the_bootstrap_port_verifies_a_certificate_if_it_is_given`, `plain_text_on_either_port_gets_no_answer_but_the_end` |
//! | role split on and off | `without_the_split_a_node_may_do_what_the_original_lets_it_do`, `with_the_split_a_node_asks_about_and_removes_itself_only_and_mints_nothing` |
//! | `reserverd` in every rpc | `the_servers_own_entry_is_shown_stays_and_opens_no_tunnel` |
//! | fields 4 to 7 on failure; -1 on the wire; reflection; unknown rpc | `what_is_no_bootstrap_token_joins_nobody_and_the_endpoints_are_told_all_the_same`, `minus_one_takes_ten_bytes_on_the_wire`, `both_ports_tell_their_own_services_in_both_versions_of_reflection`, `names_in_json_are_those_of_the_contract_and_so_is_the_files`, `an_unknown_rpc_is_unimplemented_and_one_of_the_other_port_too` |
//! | a single-use token at once; rate limit; write failure | `of_many_at_once_with_a_token_for_one_exactly_one_joins`, `who_guesses_too_fast_is_told_to_wait`, `a_full_disk_is_answered_with_500_and_changes_nothing` |
//! | certificate of another node on 6441 | `a_certificate_on_the_tunnel_must_not_be_another_nodes_and_in_strict_mode_be_the_nodes_own`, `in_strict_mode_a_certificate_of_another_node_opens_no_tunnel` |
//! | slowloris in TLS | `a_handshake_that_is_never_made_ends_within_its_time_and_holds_nobody_up` |
//! | restart: states -1; addresses stay | `a_node_keeps_its_address_over_a_restart_and_loses_it_with_its_registration`, `what_a_node_was_told_survives_kill_9`, `what_was_told_holds_at_whatever_write_it_is_killed`, `killed_at_every_write_it_goes_on_with_what_was_told` |
//!
//! | box of section 9, the tunnel | tests |
//! |---|---|
//! | UnRegister through the node's own tunnel: the answer first, then the end | `a_node_that_unregisters_itself_through_its_own_tunnel_hears_the_answer_and_ends`, `a_session_parts_when_its_node_has_heard_the_answer_and_after_five_seconds_at_last` |
//! | UnRegister of a live node; of one in its handshake; a late end of an old session | `a_node_that_is_unregistered_is_cut_and_comes_in_no_more`, `one_that_is_unregistered_in_its_handshake_is_told_so`, `nothing_passes_any_more_once_a_session_was_cut`, `an_old_session_that_ends_late_takes_nothing_from_the_new_one` |
//! | dropped between 101 and handshake; first message no JSON, of wrong shape, binary, a ping | `tunnel_handshake`, `tunnel_joiner`, `a_socket_that_is_dropped_before_the_handshake_leaves_nothing_behind`, `a_first_message_that_is_no_json_is_a_breach`, `other_types_are_ignored_and_what_is_no_such_json_is_broken`, `pings_binary_messages_and_other_json_may_come_before_the_handshake` |
//! | short, odd, cut packets; other versions; wrong lengths | `what_is_short_odd_cut_or_no_ipv4_is_no_packet`, `what_is_no_packet_is_dropped_and_the_tunnel_stays`, `tunnel_packets` |
//! | joins and leaves at once; two that come back at once; packets intact | `a_thousand_joins_and_leaves_leave_nothing_behind`, `of_two_that_come_back_at_once_one_has_the_session`, `a_million_packets_at_full_speed_are_never_doubled_or_torn_and_each_drop_is_counted` |
//! | one stalled peer | `a_peer_that_reads_nothing_stalls_nobody_else`, `a_stalled_receiver_costs_the_others_nothing_and_each_drop_is_counted` |
//! | other paths and methods; `Node-Token` missing, empty, twice; foreign Origin; ALPN | `what_is_no_handshake_on_ws_has_its_status`, `other_requests_get_their_status`, `a_token_is_there_once`, `a_bad_token_is_told_so_after_the_101`, `refusals_name_the_token_and_fit_a_frame`, `clients_without_alpn_and_with_http_1_1_come_in_and_h2_alone_does_not` |
//! | bytes that are no UTF-8; fragments; frames without mask; sizes; reserved bits | `packets_that_are_no_utf8_pass_both_ways_whatever_their_size_and_fragments`, `what_breaks_the_protocol_is_closed_with_its_code` |
//! | spoofed source; unknown, broadcast, multicast, own, server's address, IPv6; interconnection | `what_may_not_pass_is_dropped_and_counted_by_its_reason`, `nodes_that_may_not_reach_each_other_still_reach_the_server`, `a_packet_goes_to_whoever_has_its_destination_and_to_nobody_else` |
//! | long idle; PING with payload; silent peer; half-open first socket | `an_idle_node_is_there_after_many_minutes_and_its_pings_are_answered`, `a_ping_is_answered_ahead_of_data_with_its_payload`, `a_node_that_answers_no_ping_is_dead_within_45_seconds`, `a_half_open_first_socket_is_taken_over`, `a_second_socket_is_refused_while_the_first_answers` |
//! | same address after coming back; a /22 | `a_node_gets_its_address_and_keeps_it_when_it_comes_back`, `an_address_is_told_as_soon_as_it_is_chosen`, `a_22_holds_500_nodes_with_odd_addresses_of_their_own` |
//! | 503 while draining and for what is for later; slowloris in headers and handshake; plain text | `while_it_ends_newcomers_are_told_503_and_legacy_nodes_are_served_to_the_last`, `whoever_shall_come_again_later_is_told_503_before_the_upgrade`, `whoever_says_nothing_is_given_up_after_ten_seconds`, `a_head_that_does_not_end_is_refused`, `plain_text_gets_no_tunnel` |
//! | import of a legacy database with expired, never-expiring and broken rows | `nodes_and_tokens_are_found_and_what_is_broken_is_named_without_secrets`, `nodes_administrators_and_tokens_of_litekube_go_on_with_a_server_that_took_over`, `what_cannot_be_taken_over_is_said_and_changes_nothing`, `nodes_and_tokens_of_another_controller_keep_what_they_had_and_come_once`, `an_import_that_is_not_written_leaves_nothing_behind_that_could_be_given_twice`, `tunnel_database` |
//! | section 8: the server's own address, forwards, policy, segments | `the_server_answers_pings_and_takes_tcp`, `port_6440_gets_the_connection_with_the_node_it_is_of`, `a_forward_leads_to_its_target_and_other_ports_nowhere`, `a_forward_to_a_listener_of_this_node_is_refused`, `a_policy_denies_what_it_does_not_allow_from_its_first_rule_on`, `what_is_said_of_two_nodes_is_what_happens_to_their_packets`, `the_policy_is_shown_and_says_of_two_nodes_who_reaches_whom`, `a_connection_agrees_on_segments_that_fit_the_tunnel` |
//!
//! | sections 2 to 7, by their paragraphs | tests |
//! |---|---|
//! | 2, messages: numbers, types, names in JSON, paths | `the_messages_are_those_of_the_contract`, `names_in_json_are_those_of_the_contract_and_so_is_the_files` |
//! | 2, HelloWorld and HealthCheck on both ports | `both_ports_are_healthy_and_one_greets`, `health_is_told_by_service_and_for_the_port` |
//! | 2, form of tokens, bootstrap port, multi-use, order of checks, `reserverd` | `a_new_token_is_the_start_of_a_uuid_and_is_taken_back`, `a_bootstrap_token_has_16_digits_and_comes_with_the_bootstrap_port`, `nodes_that_join_at_once_get_tokens_and_keys_of_their_own`, `tokens_that_are_none_are_found_by_no_rpc`, `the_servers_own_entry_is_shown_stays_and_opens_no_tunnel` |
//! | 2, a port through the tunnel | `the_register_plane_is_served_on_a_stream_that_is_no_socket`, `port_6440_gets_the_connection_with_the_node_it_is_of` |
//! | 3, subjects, keys, validity, forms; admin material | `a_node_gets_a_token_both_endpoints_and_six_pems_of_one_block_each`, `the_admins_files_open_the_register_plane_and_are_nobody_elses` |
//! | 4, open, refusal, handshake | `a_legacy_client_is_understood`, `the_handshake_may_come_in_fragments_and_right_behind_the_head`, `an_address_is_told_as_soon_as_it_is_chosen` |
//! | 4, keepalive, write deadline | `a_ping_is_answered_ahead_of_data_with_its_payload`, `an_answer_is_enough_for_three_more_pings`, `patience_ends_for_each_thing_by_itself`, `pongs_and_pings_go_before_what_waits_and_a_close_instead_of_it` |
//! | 4, one live socket of a token | `of_two_that_come_back_at_once_one_has_the_session`, `a_kicked_node_may_come_again_and_an_unregistered_one_may_not` |
//! | 5, which addresses, lowest first, given back; 503, counted | `the_first_nodes_get_3_5_and_7_and_a_freed_one_comes_first`, `even_ones_the_servers_and_those_elsewhere_are_never_held`, `what_is_no_network_is_refused`, `a_network_at_the_end_of_all_addresses_ends_there`, `the_127th_node_of_a_24_gets_none_until_one_leaves` |
//! | 5, the legacy database and folders of authorities | `rows_of_every_kind_come_in_their_order_from_all_pages`, `columns_are_found_however_they_are_quoted_and_constraints_are_none`, `a_database_without_the_tables_says_so`, `what_is_cut_or_no_database_is_told_apart` |
//! | 7, the calls of `ncadm` | `get_token_is_the_same_on_both_ports_with_a_certificate_and_without`, `both_ports_are_healthy_and_one_greets`, `a_nodes_state_goes_through_minus_1_1_and_3_and_its_address_stays`, `unregistering_a_node_that_never_joined` |
//! | 8, rates by source; keyed hash | `a_source_has_its_burst_and_then_ten_a_second`, `a_customers_ipv6_addresses_are_one_source`, `the_table_stays_small_whoever_comes`, `a_hash_is_the_same_with_and_without_the_pin_and_another_under_another_key`, `a_token_does_not_print_itself` |
//! | 8, keys stay on the node; SAN | `a_node_that_keeps_its_keys_gets_certificates_that_name_it_and_its_address` |
//! | 8, mode Tun is opt-in | `in_mode_tun_the_machine_has_the_servers_own_address_on_a_device`, `in_mode_tun_without_the_right_to_make_a_device_it_says_so_and_ends`, `messages_are_as_long_as_they_say_and_their_attributes_are_aligned`, `the_kernels_word_is_read_and_anything_else_is_none`, `with_a_device_the_machine_gets_what_the_switch_does_not_serve_and_answers` |
//!
//! | what else | tests |
//! |---|---|
//! | section 2, GetToken on both ports | `get_token_is_the_same_on_both_ports_with_a_certificate_and_without`, `a_node_gets_a_token_both_endpoints_and_six_pems_of_one_block_each` |
//! | connState | `a_nodes_state_goes_through_minus_1_1_and_3_and_its_address_stays` |
//! | section 3, certificates | `authorities_are_kept_and_the_planes_are_strangers_to_each_other`, `servers_name_every_address_that_they_are_dialled_by`, `an_imported_authority_issues_from_then_on_and_the_old_ones_clients_stay` |
//! | section 6, settings | `a_servers_settings_are_read_below_their_key_and_beside_it`, `what_is_no_servers_says_why` |
//! | section 8, authorities are renewed, hot bundles | `an_authority_is_renewed_at_two_thirds_and_takes_over_when_every_client_knows_both`, `an_authority_that_was_brought_with_little_left_is_replaced_before_it_ends` |
//! | section 8, renewal and deny list | `an_answer_that_does_not_serve_takes_no_place`, `certificates_in_the_last_third_of_their_life_are_renewed_through_the_tunnel_and_kept`, `certificates_of_an_old_authority_are_renewed_by_what_is_left_of_them`, `server_certificates_are_renewed_at_two_thirds_and_not_before`, `the_admins_files_are_his_alone_stay_and_are_renewed_at_two_thirds`, `a_denied_key_stays_denied_over_a_restart_for_as_long_as_certificates_last` |
//! | section 8, a client of ours | `two_nodes_of_ours_reach_each_other_through_forwards`, `a_connection_through_the_tunnel_survives_a_server_that_is_started_again`, `a_node_comes_back_by_its_folder_with_its_address_and_takes_over_from_a_dead_one`, `a_node_that_was_unregistered_ends_and_says_so`, `a_legacy_token_joins_a_node_of_ours_too`, `one_node_does_not_take_the_connections_of_others_nor_all_of_them_this_machines`, `nodes_of_ours_carry_tcp_to_each_other_and_leave_in_order`, `a_connection_goes_on_when_the_tunnel_was_away_for_a_moment`, `legacy_tokens_join_and_so_do_the_keys_that_a_legacy_server_makes`, `pauses_double_to_thirty_seconds_and_begin_anew_after_a_good_tunnel` |
//! | section 8, `X-NC-Proto: 2`: batches, MTU, resumption, drain; absent: exactly legacy | `protocol_2_is_asked_for_by_its_number_alone`, `packets_that_wait_together_are_one_message_of_protocol_2_and_texts_stay_texts`, `packets_are_told_apart_and_what_is_none_ends_the_batch`, `packets_go_in_batches_to_who_asked_for_them_and_each_alone_to_everybody_else`, `legacy_nodes_send_no_batches`, `whoever_knows_the_name_of_its_old_session_has_the_new_one_at_once`, `while_the_server_ends_nodes_of_protocol_2_are_sent_away_before_legacy_ones`, `a_server_that_knows_no_batches_gets_and_gives_each_packet_alone`, `tunnel_packets` |
//! | section 8, routes behind a node, approved: announced, in force, refused, kept, lost | `only_what_is_approved_is_in_force_and_the_source_check_knows_it`, `answers_of_the_server_find_the_way_back_to_a_network`, `the_longest_prefix_decides_and_who_leaves_has_nothing_behind_it`, `networks_that_overlap_go_to_one_and_special_ones_to_nobody`, `a_rule_of_the_configuration_approves_for_nodes_with_its_labels_and_the_hand_goes_first`, `networks_are_no_way_around_isolation_and_policy`, `an_approved_network_is_kept_over_a_restart_and_goes_with_its_node`, `what_cannot_be_behind_a_node_is_refused_with_a_word_and_so_is_too_much`, `what_is_special_or_the_tunnels_own_is_behind_nobody`, `networks_are_announced_in_protocol_2_alone_and_broken_ones_are_refused`, `what_is_behind_a_node_is_reached_by_tcp_and_nothing_else_is`, `a_network_behind_a_node_is_in_force_once_it_is_approved_and_after_a_restart` |
//! | section 8, manual approval | `a_node_of_a_token_with_approval_waits_until_somebody_approves_it`, `a_node_that_waits_for_an_administrator_joins_once_it_is_approved` |
//! | section 8, leases, ephemeral nodes | `the_address_of_a_node_that_is_away_is_free_after_its_lease_and_not_before`, `an_ephemeral_node_is_overdue_when_it_was_away_for_its_time`, `absent_nodes_lose_their_address_with_its_lease_and_ephemeral_ones_all_they_had` |
//! | section 8, pin | `a_pinned_token_is_told_to_nobody_but_the_server_of_that_authority`, `both_forms_are_read_with_their_pin_and_place` |
//! | section 8, metrics | `packets_drops_and_nodes_are_shown_under_their_names`, `what_moved_is_counted_beyond_the_end_of_a_session_and_once` |
//! | section 8, tokens | `nothing_on_the_disk_is_a_token`, `a_token_of_our_form_pins_the_authority_and_is_good_once`, `the_administrator_makes_lists_and_revokes_tokens_and_nodes_may_not` |

use crate::harness::table::each_test_is_there;

#[test]
fn each_box_has_tests_that_are_there() {
    each_test_is_there(include_str!("contract.rs"), &["tunnel/src", "tests/nodes/tunnel"]);
}
