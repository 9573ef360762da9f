//! Sections 8, 10, 11 and 12 of the contract, with the tests that fail without what they say. Where this server differs on purpose
//! stands in `docs/dialects.md` and `docs/partners.md`.
//!
//! | section 8, names and ways | tests |
//! |---|---|
//! | 8.1 a urn: labels, `${a.b}`, the node's label | `a_urn_names_its_method_and_its_node`, `what_has_too_few_labels_or_no_flag_is_no_urn`, `an_authority_may_be_a_urn`, `a_urn_names_its_mpi` |
//! | 8.2 ids: case, placeholders, whole ids | `ids_compare_without_regard_to_case`, `placeholders_and_empty_texts_are_no_ids`, `placeholders_count_as_absent`, `a_target_is_found_as_section_8_3_says` |
//! | 8.3 local or remote; a route that is closed | `a_target_is_found_as_section_8_3_says`, `a_target_institution_names_its_node`, `a_target_that_nobody_knows_is_not_woven`, `each_caller_gets_the_code_of_its_case` |
//! | 8.4 an HTTP hop | `a_hop_says_who_we_are_and_what_the_call_left_open`, `a_hop_is_in_the_callers_encoding_and_always_in_the_published_dialect` |
//! | 8.4 a gRPC hop | `calls_of_every_dialect_go_to_a_grpc_partner_as_invoke_and_their_answers_come_back`, `a_hop_over_grpc_says_what_it_carries_and_how_long_it_waits`, `a_status_of_a_grpc_partner_is_a_code` |
//! | 8.4 the path of `x-ptp-uri` decides; weave and ack within invoke | `requests_over_http_are_answered_as_the_contract_says`, `a_wrapped_weave_or_ack_ends_where_its_target_says_or_nowhere` |
//! | 8.4 a generic hop | `a_generic_call_for_a_partner_goes_on_as_it_is`, `a_partner_calls_of_the_generic_service_what_is_open_to_it` |
//! | 8.4 a pop keeps its time, and is cancelled | `a_pop_at_the_partner_that_is_given_up_over_grpc_gives_the_message_back_there`, `a_caller_that_goes_away_cancels_its_call_at_the_partner` |
//! | 8.4 statuses of the partner | `a_status_of_the_partner_is_passed_on_as_it_came_and_over_grpc_as_a_code`, `on_the_generic_hop_too_a_403_is_a_code_and_other_statuses_pass` |
//! | 8.4 between our kind | `only_our_kind_sees_what_is_for_our_kind`, `our_kind_is_told_what_others_never_see_and_a_new_connection_asks_again`, `a_message_whose_answer_is_cut_anywhere_comes_exactly_once`, `a_push_whose_answer_is_cut_anywhere_arrives_exactly_once`, `partners_that_guess_each_others_sessions_and_leases_get_nothing` |
//! | 8.5 precedence | `a_target_wins_over_the_same_urn_registered_here`, `services_by_name_are_called_and_none_of_the_nodes_own_is_taken_over`, `programs_that_register_one_communal_service_share_its_calls`, `all_who_offer_a_communal_service_share_its_calls_before_any_one_name` |
//! | 8.5 what nobody may claim | `nobody_takes_what_the_node_serves_itself`, `each_rule_has_its_code` |
//! | 8.6 a second listener | `a_second_listener_serves_the_same_queues`, `the_data_plane_takes_a_port_or_an_address` |
//!
//! | section 10, registrations | tests |
//! |---|---|
//! | 10.1 kinds | `other_kinds_offer_no_path`, `names_and_paths_do_not_meet`, `calls_to_partners_go_through_a_registered_proxy_until_it_goes` |
//! | 10.1 content, unknown members, lists that are swapped | `the_manuals_sample_is_taken_once_its_placeholder_is_an_address`, `the_older_manuals_content_and_its_text_timestamp_are_taken`, `services_of_sdks_that_are_not_routed_by_path_are_kept_as_they_are`, `the_lists_that_the_head_python_sdk_swaps_are_put_right` |
//! | 10.2 the MPIs; register is put; remove with empty lists | `the_mpis_put_export_and_remove`, `of_several_registrations_all_come_in_or_none`, `the_mpis_are_refused_to_others_and_name_what_is_missing`, `the_manuals_request_registers_once_its_placeholder_is_an_address`, `a_removal_needs_only_the_key`, `what_was_read_is_exported_in_the_same_form` |
//! | 10.3 key and address | `the_key_is_kind_name_and_instance`, `over_an_mpi_an_empty_address_is_the_instances_id`, `what_register_needs_is_named_when_it_is_missing` |
//! | 10.3 time, grace, sweep, renewal | `a_small_timestamp_is_a_duration_and_a_large_one_a_time`, `an_entry_goes_when_its_grace_has_passed`, `an_entry_goes_after_its_time_and_grace_and_its_route_with_it`, `the_grace_is_a_setting`, `what_has_run_out_goes_by_itself`, `a_renewal_moves_the_end_and_changes_no_route` |
//! | 10.3 who is not reachable | `a_service_where_nobody_listens_is_not_ready_with_its_reason`, `an_instance_gets_its_traffic_back_when_it_answers_a_check`, `people_see_each_registration_with_where_its_calls_go` |
//! | 10.3 an address that cannot be parsed | `each_rule_has_its_code`, `what_cannot_be_dialled_is_no_address` |
//! | kept over the end of the process; conflicts; a managed node | `a_live_registration_survives_the_end_of_the_process`, `a_live_registration_survives_kill_9`, `a_permanent_entry_wins_and_gives_way_when_it_goes`, `in_a_managed_node_the_api_registers_and_removes_only_the_callers_own`, `in_a_managed_node_nobody_overwrites_anothers_registration` |
//! | `MESH_TRICK` | `a_trick_names_services_and_their_paths`, `what_is_no_trick_is_refused`, `services_of_the_variable_are_routed_and_listed_as_permanent` |
//!
//! | section 10.4, calls | tests |
//! |---|---|
//! | the path is not rewritten | `a_call_reaches_the_service_with_its_path_and_query_unchanged` |
//! | 1 longest prefix, `/*`, priority | `the_longest_prefix_at_a_boundary_wins`, `urns_become_prefixes`, `a_lookup_equals_a_scan_of_all_prefixes`, `the_urn_with_high_priority_wins_over_the_other_name` |
//! | 2 by proto | `grpc_and_http_under_one_urn_go_to_their_own_services`, `one_protocol_alone_takes_both`, `a_call_over_http2_reaches_a_service_that_speaks_http1`, `a_call_over_http1_reaches_a_service_that_speaks_http2` |
//! | 3 instances, their address, ready ones only | `instances_of_one_name_share_the_urns_that_they_offer`, `a_call_goes_on_to_the_next_instance_while_nothing_has_arrived` |
//! | 3 round robin, least loaded, weights | `equal_instances_take_turns`, `calls_are_shared_by_weight`, `least_loaded_passes_over_the_busy_one`, `weight_nought_drains_and_what_is_not_ready_is_passed_over` |
//! | 3 `timeout` and `retries`, only where nothing arrived | `a_slow_service_is_answered_for_in_time`, `retries_wait_for_an_instance_that_is_starting`, `a_call_that_may_have_arrived_is_not_sent_again`, `a_call_that_a_service_did_not_begin_with_goes_to_the_next_one` |
//! | 4 subsets; plugins are ignored | `callers_with_a_subset_reach_its_instances_only`, `callers_with_a_subset_get_only_its_instances`, `a_caller_with_a_subset_reaches_a_service_that_has_none`, `services_of_sdks_that_are_not_routed_by_path_are_kept_as_they_are` |
//! | 5 sticky | `a_call_sticks_to_the_host_that_it_names`, `a_host_sticks_to_the_services_that_its_name_begins`, `a_call_that_names_its_instance_goes_there_or_nowhere` |
//! | 6 no match, no instance, the service's own answer | `each_refusal_is_the_services_or_the_nodes_for_every_pair`, `a_service_without_a_ready_instance_is_503`, `refusals_are_grpc_statuses`, `heads_pieces_and_trailers_pass_in_order_for_every_pair`, `a_services_own_403_passes_whole_however_it_begins` |
//! | 7 exports | `a_partner_reaches_only_what_is_exported_to_it`, `no_path_leads_a_partner_out_of_what_is_exported`, `a_partner_calls_the_names_that_are_exported_to_it`, `what_the_partner_does_not_export_is_refused_there` |
//!
//! | section 11, routes | tests |
//! |---|---|
//! | 11.1 members come back, keys never | `members_that_only_describe_a_partner_are_read_back_as_they_were_given_also_after_a_restart`, `the_roots_of_a_partner_and_of_its_server_are_kept_apart`, `no_answer_carries_a_private_key`, `the_manuals_key_in_the_place_of_a_certificate_is_refused_and_not_echoed` |
//! | 11.1 status bits | `status_bits_disable_enable_and_remove`, `bits_that_only_describe_a_route_are_kept_and_change_nothing` |
//! | 11.2 each MPI | `each_mpi_refuses_with_its_code_and_changes_nothing`, `what_may_be_read_says_who_and_with_whom_and_no_key`, `partners_are_asked_for_what_they_are_and_whether_they_are_there`, `domains_institutions_and_alliances_are_kept_and_read_back_also_after_kill_9`, `partners_are_listed_in_pages_ordered_and_chosen_by_their_members`, `versions_compare_by_their_numbers` |
//! | 11.2 disable, enable | `disabling_ends_what_is_under_way_on_either_side_long_before_its_time_and_enabling_begins_anew` |
//! | 11.3 refresh: what it needs, PEM, empty members, version, expire_at | `each_fault_of_net_refresh_has_its_code`, `the_manuals_net_refresh_adds_a_partner_and_is_an_ordinary_update`, `several_routes_are_refreshed_together_and_none_where_one_is_refused`, `whatever_a_document_changes_is_asked_for_and_never_taken_for_what_is_there` |
//! | 11.3 refresh asks who it is; another id is refused | `a_new_partner_is_asked_who_it_is`, `a_partner_that_says_who_it_is_counts_as_connected_and_another_does_not`, `a_partner_that_does_not_answer_is_added_all_the_same_and_nobody_waits_long_for_it`, `a_partner_that_renames_itself_has_its_new_name_and_ours_for_it_stays` |
//! | 11.3 weave and ack, on both sides | `a_weave_waits_for_an_ack_and_then_calls_go_both_ways_also_after_kill_9`, `what_a_weave_and_an_ack_send_is_what_the_reference_reads`, `a_partners_weave_names_a_code`, `a_weave_and_an_ack_reach_a_node_whose_resources_decide_and_change_nothing_there`, `whoever_answers_under_another_root_is_sent_no_key`, `each_fault_of_weave_and_ack_has_its_code` |
//! | 11.3 a stranger's weave is pending, and bounded | `a_strangers_weave_waits_whichever_way_it_comes_and_opens_nothing_else`, `a_refresh_that_names_the_root_is_a_consent_and_one_that_names_none_is_not`, `who_is_turned_down_carries_nothing_and_does_not_wait_again`, `a_flood_of_weaves_is_bounded_and_holds_up_nobody` |
//! | 11.4 addresses, lists, ports | `addresses_are_read_as_people_write_them`, `members_of_a_list_without_a_port_take_the_last_ones`, `what_cannot_be_an_address_is_refused` |
//! | 11.4 ordered failover and the way back | `no_push_fails_when_the_first_address_is_killed_and_it_takes_over_again_when_it_is_back`, `an_address_that_begins_to_swallow_everything_costs_no_push_and_little_time`, `the_first_address_takes_over_again_when_it_is_back`, `those_that_were_cut_off_together_do_not_come_back_together` |
//! | 11.4 health, by `/stats` and by calls | `an_address_that_nobody_calls_is_checked_and_what_is_found_is_shown`, `an_address_of_which_nothing_was_heard_for_twelve_seconds_is_asked`, `an_address_whose_stats_are_refused_or_kept_back_is_not_healthy`, `nothing_is_sent_to_a_start_page_and_its_address_takes_over_when_a_node_is_there` |
//! | 11.4 `MESH_MDC` | `data_centres_are_a_list_whose_last_port_counts_for_those_without`, `a_weave_names_the_addresses_of_all_data_centres` |
//! | 11.4 tags, static IPs, proxies | `tags_are_read_kept_and_written_in_one_form`, `the_tag_d_passes_the_callers_host_on`, `the_tag_s_is_tried_first_by_calls_of_that_subset`, `the_tag_k_is_taken_where_it_is_permitted_and_shown_as_a_warning`, `a_name_leads_where_static_ip_says_and_no_name_server_is_asked`, `a_partner_is_reached_through_the_routes_proxy_or_the_addresss_own` |
//! | 11.5 the loop guard | `the_own_id_seen_more_than_five_times_ends_the_call`, `circulation_may_be_permitted`, `a_call_that_passed_here_more_than_five_times_is_503`, `an_instance_goes_by_its_own_name_and_may_be_told_to_let_calls_circulate`, `a_call_that_would_go_round_in_circles_ends_at_the_second_node` |
//!
//! | section 12, identity | tests |
//! |---|---|
//! | 12.1 environ, both spellings, contradictions | `both_manuals_spellings_mean_the_same`, `each_fault_of_node_refresh_has_its_code`, `what_may_be_read_says_who_and_with_whom_and_no_key` |
//! | 12.1 kept, a no-op, the default identity | `the_root_of_a_node_that_nobody_named_survives_kill_9`, `the_manuals_node_refresh_sets_the_identity_once_and_survives`, `the_same_document_again_changes_nothing`, `a_node_that_nobody_configured_has_the_placeholder_ids_and_a_root_that_stays`, `what_the_api_set_is_there_after_a_restart` |
//! | 12.2 KMS | `a_reset_is_a_refresh_of_the_node`, `each_mpi_refuses_with_its_code_and_changes_nothing`, `a_request_gets_a_leaf_for_its_key_and_its_nodes_name_and_no_other` |
//! | 12.3 shapes | `a_root_has_the_subject_names_and_usages_of_the_contract`, `a_leaf_has_the_subject_names_and_usages_of_the_contract`, `an_rsa_leaf_comes_with_the_pkcs1_key_that_reference_nodes_want` |
//! | 12.3 what is taken | `a_key_is_taken_in_every_form_of_the_contract`, `the_root_of_the_manual_is_a_pair_and_issues`, `both_algorithms_of_the_standard_work_together` |
//! | 12.4 as client: chain, name, the pair that is shown | `a_partner_under_another_root_is_not_trusted`, `the_name_must_be_the_partners_or_the_dialled_hosts`, `under_a_shared_root_only_the_partners_own_name_will_do`, `a_pair_that_the_partner_issued_is_shown_to_it`, `the_name_in_a_partners_certificate_may_be_left_unchecked_and_its_chain_never` |
//! | 12.4 as server: who is admitted | `a_partner_is_the_route_whose_root_its_chain_ends_in`, `where_a_root_serves_several_the_leaf_must_name_the_partner`, `a_right_certificate_with_a_foreign_node_id_is_refused`, `each_caller_gets_the_code_of_its_case`, `who_is_no_partner_is_told_so_in_its_own_encoding` |
//! | 12.4 `clientCertificate: Optional` | `a_route_that_asks_for_no_certificate_takes_the_claim`, `a_partner_that_proves_nothing_is_shown_as_such`, `a_partner_that_asks_for_no_certificate_is_told_and_so_is_a_route_that_wants_none` |
//! | 12.4 rotation | `a_certificate_is_swapped_under_load_without_losing_a_request`, `an_old_root_and_a_new_one_hold_side_by_side`, `a_leaf_is_renewed_in_time_and_kept` |
//! | 12.4 clear text | `plain_text_from_another_address_is_refused_but_for_the_stats`, `plain_text_from_a_network_that_is_let_in_is_local`, `both_ends_decide_whether_plain_text_is_local` |
//!
//! | what `mesh diagnose route` names | tests |
//! |---|---|
//! | `dns`, `tcp` | `names_ports_and_what_answers_there_are_told_apart`, `a_firewall_that_drops_is_told_from_a_port_where_nobody_listens` |
//! | `tls`, `sni` | `a_handshake_that_is_refused_by_an_alert_says_whose_certificate_or_name_it_was`, `a_proxy_that_chooses_by_name_is_found_and_server_name_is_the_remedy` |
//! | `chain`, `name` | `a_wrong_root_and_another_nodes_leaf_are_told_apart`, `a_proxy_that_ends_tls_is_found_whether_it_shows_its_own_certificate_or_the_partners` |
//! | `http`, `identity`, `authorisation` | `tls_without_a_node_behind_it_is_found`, `another_node_of_the_partner_is_told_by_what_it_says_of_itself`, `a_partner_that_does_not_know_us_or_has_closed_its_route_is_said_to_be_so`, `what_answers_as_no_node_would_is_found` |
//! | `clock` | `a_partner_whose_clock_is_wrong_is_told_by_how_much`, `a_certificate_that_has_ended_or_names_another_is_told_on_either_side` |
//! | `round trip`, `buffering` | `a_connection_that_does_not_last_is_found`, `a_proxy_that_keeps_bodies_until_they_are_whole_is_found` |
//! | `body limit`, `bandwidth`, `idle timeout` | `a_body_limit_on_the_way_is_found_with_what_still_passes`, `a_link_on_which_the_largest_body_takes_longer_than_a_push_has_fails`, `a_proxy_that_cuts_idle_connections_is_found_with_its_time` |

use crate::harness::table::{each_test_is_there, rows};

#[test]
fn each_section_and_each_line_of_a_diagnosis_has_tests_that_are_there() {
    let file = include_str!("contract.rs");
    for section in
        ["8.1", "8.2", "8.3", "8.4", "8.5", "8.6", "10.1", "10.2", "10.3", "11.1", "11.2", "11.3", "11.4", "11.5"]
    {
        assert!(rows(file).iter().any(|row| row.starts_with(&format!("//! | {section} "))), "{section}");
    }
    for section in ["12.1", "12.2", "12.3", "12.4"] {
        assert!(rows(file).iter().any(|row| row.starts_with(&format!("//! | {section} "))), "{section}");
    }
    let folders =
        ["registry/src", "registry/tests", "network/src", "core/src", "pki/tests", "transport/src", "tests/nodes"];
    each_test_is_there(file, &folders);
}
