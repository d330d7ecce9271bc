//! The fault suite in its short form: each scenario once, with a few users. The long form is
//! `cargo run --release -p tests --bin faults -- --help`.

mod stages;

use stages::play;

/// One test for each scenario, so that each is seen to pass.
macro_rules! scenarios {
    ($($test:ident $name:literal)*) => {
        $(
            #[test]
            fn $test() {
                play($name);
            }
        )*

        #[test]
        fn every_scenario_is_played() {
            let played = [$($name),*];
            for scenario in tests::faults::SCENARIOS {
                assert!(played.contains(&scenario.name), "{} is not", scenario.name);
            }
        }
    };
}

scenarios! {
    a_worker_is_killed "worker-killed"
    a_worker_is_frozen "worker-frozen"
    the_relay_is_frozen "relay-frozen"
    nodes_are_killed "api-killed"
    projectors_are_killed "projector-killed"
    everything_is_restarted "rolling-restart"
    everything_goes_wrong_at_once "everything-at-once"
    nats_is_wiped "nats-wiped"
    nats_loses_what_it_acknowledged "nats-truncated"
    nats_is_away "nats-down"
    nats_stands_still "nats-paused"
    nodes_are_cut_off_from_nats "nats-partitioned"
    messages_come_twice_and_late "nats-doubled"
    postgres_crashes "postgres-crashed"
    nodes_are_cut_off_from_postgres "postgres-partitioned"
    answers_of_postgres_are_lost "postgres-answers-lost"
    postgres_is_read_only "postgres-read-only"
    postgres_has_no_connections_left "postgres-exhausted"
    postgres_is_slow "postgres-slow"
    the_disk_is_full "postgres-disk-full"
    somebody_holds_the_append_lock "append-lock-held"
    clients_vanish "clients-vanish"
    watchers_stampede "watchers-stampede"
    an_event_is_poisoned "event-poisoned"
    a_rebuild_is_killed "rebuild-killed"
    providers_are_moody "provider-moody"
    providers_are_slow "provider-slow"
    quota_is_raced_for "quota-raced"
    streams_are_crossed "streams-crossed"
    faults_come_together "combined"
}
