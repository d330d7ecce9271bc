//! The relay's leader may freeze: another one takes over, and turns go on.

use std::time::Duration;

use tests::{Cluster, Transcript, invariants};

use crate::support::BINARY;

#[tokio::test]
async fn a_frozen_relay_is_replaced() {
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api,worker,projector")
        .node("first", "relay")
        .node("second", "relay")
        .start()
        .await;
    let ann = cluster.client("a", "acme", "ann");
    let session = ann.create_session().await;
    // One of them leads; whichever it is, the turn ends while it is frozen.
    for frozen in ["first", "second"] {
        cluster.node(frozen).signal("STOP");
        let turn = ann.send_message(&session, &format!("{frozen} is frozen")).await;
        let watch = async { Transcript::of(ann.watch(&turn.id, None).await).await };
        let watched = tokio::time::timeout(Duration::from_secs(20), watch).await;
        cluster.node(frozen).signal("CONT");
        watched.expect("the turn ends without the frozen relay").assert_ended();
    }
    let last = ann.say(&session, "both are back").await;
    last.assert_ended();
    invariants::check(&cluster.pool().await).await;
}
