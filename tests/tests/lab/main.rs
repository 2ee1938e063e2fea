//! Real programs talk through the balancer: one file per promise. Needs root.

mod a_bad_file_is_named;
mod a_connection_may_close_any_way;
mod a_failed_start_leaves_nothing;
mod a_flood_harms_no_live_connection;
mod a_host_that_lacks_something_is_named;
mod a_hostile_file_is_refused;
mod a_mode_that_cannot_work_is_reported;
mod a_refused_file_changes_nothing;
mod backends_may_move;
mod bad_input_is_named;
mod dead_backends_get_nobody;
mod each_mode_carries;
mod far_ends_are_strict;
mod far_ends_take_tunnels;
mod generic_mode_works_and_is_reported;
mod lab_carries_packets;
mod one_way_flows_stay;
mod refusal;
mod reload_breaks_nothing;
mod reload_takes_effect_whole;
mod requests_spread_by_weight;
mod restart_breaks_no_flow;
mod source_ports_are_used_again;
mod the_command_line_tells;
mod transfers_are_intact;
mod tunnel;
