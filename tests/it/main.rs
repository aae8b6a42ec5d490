//! One binary for all tests that see Keyward from the outside: real components, no sleeps, loopback
//! only.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on fails"
)]

mod anchor_file;
mod architecture;
mod audit_commands;
mod authority_rotation;
mod break_glass;
mod causes;
mod checkpoints;
mod client_files;
mod clock;
mod clock_of_the_machine;
mod command_line;
mod compile_fail;
mod completion;
mod connections;
mod copies;
mod crash;
mod damage;
mod declared_objects;
mod declaring;
mod doctor;
mod ends_in_memory;
mod enrolment;
mod entry_filters;
mod evidence;
mod failed_orders;
mod file_owners;
mod first_path;
mod fleet;
mod fuzz;
mod golden;
mod guides;
mod half_applied;
mod handing_over;
mod handing_secrets;
mod hazards;
mod heavy;
mod host_socket;
mod hostile_broker;

mod idempotency;
mod incidents;
mod interleavings;
mod interop;
mod introspection;
mod key_lives;
mod key_schedule;
mod keyring_format;
mod leaks;
mod leases;
mod ledger_contract;
mod ledger_damage;
mod ledger_faults;
mod ledger_forgery;
mod ledger_full_disk;
mod ledger_opening;
mod ledger_snapshots;
mod ledger_space;
mod ledger_writers;
mod limits;
mod listener;
mod listener_limits;
mod liveness;
mod lost_entries;
mod mariadb;
mod mistakes;
mod mutants;
mod newer_broker;
mod oauth;
mod openapi;
mod operators;
mod output;
mod panel;
mod pending_orders;
mod progress;
mod races;
mod read_only;
mod readiness;
mod readme;
mod reference;
mod refusals;
mod release;
mod renewal;
mod renewal_kills;
mod resource_servers;
mod revocation;
mod rollback;
mod rollback_suspected;
mod root_rotation;
mod rotation;
mod routes;
mod sealed_keys;
mod sealed_start;
mod sealing;
mod sensitivity;
mod shares;
mod signing_keys;
mod slots;
mod snapshots;
mod sources;
mod status;
mod support;
mod tls;
mod token_show;
mod versions;
mod waiting_removals;
mod worst_day;
mod worst_hour;
