//! Workers that are lost in the middle of an answer: another one takes the turn, soon, and the
//! one that comes back is refused.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::client::Client;
use tests::{Cluster, Process, Transcript, eventually, found, invariants};

use crate::support::{BINARY, SOON};

/// From a worker's death to its successor, with room for a busy machine; on a quiet one it takes
/// about a second.
const AFTER_A_DEATH: Duration = Duration::from_secs(4);
/// A lease is 3 seconds long.
const AFTER_A_FREEZE: Duration = Duration::from_secs(7);

/// Two workers, one of which is to be lost, and somebody who watches.
async fn two_workers() -> Cluster {
    Cluster::builder(BINARY)
        .node("a", "api,projector,relay")
        .node_behind_proxy("first", "worker")
        .node_behind_proxy("second", "worker")
        .start()
        .await
}

/// A turn that has begun.
struct Begun {
    client: Client,
    stream: tests::EventStream,
    transcript: Transcript,
}

impl Begun {
    async fn new(cluster: &Cluster, text: &str) -> Self {
        let client = cluster.client("a", "acme", "ann");
        let session = client.create_session().await;
        let mut stream = client.stream_message(&session, text).await;
        let mut transcript = Transcript::default();
        assert!(transcript.read_deltas(&mut stream, 3).await);
        Self { client, stream, transcript }
    }

    fn turn(&self) -> String {
        self.transcript.turn_id()
    }

    /// Reads on to the words of the next attempt.
    async fn restarted(&mut self) {
        let restarts = |transcript: &Transcript| {
            transcript.events.iter().filter(|event| event.name == "turn.restarted").count()
        };
        let before = restarts(&self.transcript);
        while restarts(&self.transcript) == before {
            let deltas = self.transcript.deltas() + 1;
            assert!(self.transcript.read_deltas(&mut self.stream, deltas).await, "it ended");
        }
    }

    async fn shown(&self) -> Value {
        self.client.get(&format!("/v1/turns/{}", self.turn())).await.expect(200).json
    }

    /// Which of two processes has the turn.
    async fn holder(&self, cluster: &mut Cluster) -> (&'static str, &'static str) {
        found("somebody holds the turn", SOON, async || {
            let worker = self.shown().await["worker_id"].as_str()?.to_owned();
            let is = |process: &Process| worker.contains(&format!("-{}-", process.pid()));
            if is(cluster.node("first")) {
                return Some(("first", "second"));
            }
            is(cluster.node("second")).then_some(("second", "first"))
        })
        .await
    }

    /// Reads on to the end: all say the same, and the provider was asked `calls` times.
    async fn ends_well(&mut self, cluster: &Cluster, text: &str, calls: usize) {
        self.transcript.read_on(&mut self.stream).await;
        self.transcript.assert_ended();
        assert_eq!(self.transcript.text(), self.transcript.message_text());
        let asked = cluster.provider.calls(text);
        assert_eq!(asked.len(), calls);
        assert_eq!(asked[calls - 1].text, self.transcript.text());
        let ends = invariants::check(&cluster.pool().await).await;
        assert_eq!(ends[&self.turn()].event, "TurnCompleted");
    }
}

#[tokio::test]
async fn a_dead_workers_turn_is_taken_over_within_a_second_or_two() {
    let mut cluster = two_workers().await;
    let text = "a sudden death [[tokens=80 pause=40]]";
    let mut begun = Begun::new(&cluster, text).await;
    let (holder, _) = begun.holder(&mut cluster).await;
    cluster.node(holder).kill();
    let killed = Instant::now();
    begun.restarted().await;
    assert!(killed.elapsed() < AFTER_A_DEATH, "{:?}", killed.elapsed());
    begun.ends_well(&cluster, text, 2).await;

    // What the lost attempt used is told, and nobody pays for it.
    let shown = begun.shown().await;
    let abandoned = &shown["abandoned_attempts"];
    assert_eq!(abandoned.as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!(
        (&abandoned[0]["attempt"], &abandoned[0]["code"]),
        (&1.into(), &"worker_lost".into())
    );
    assert!(abandoned[0]["usage"]["completion_tokens"].as_i64() > Some(0), "{abandoned}");
}

#[tokio::test]
async fn a_frozen_workers_turn_is_taken_over_and_its_return_changes_nothing() {
    let mut cluster = two_workers().await;
    let text = "freezes and thaws [[tokens=120 pause=50]]";
    let mut begun = Begun::new(&cluster, text).await;
    let (holder, other) = begun.holder(&mut cluster).await;
    cluster.node(holder).signal("STOP");
    let frozen = Instant::now();
    begun.restarted().await;
    assert!(frozen.elapsed() < AFTER_A_FREEZE, "{:?}", frozen.elapsed());
    cluster.node(holder).signal("CONT");
    begun.ends_well(&cluster, text, 2).await;
    assert_eq!(begun.shown().await["attempt"], 2);

    // It is as good as before.
    cluster.node(other).kill();
    let session = begun.client.create_session().await;
    begun.client.say(&session, "and again").await.completed();
}

#[tokio::test]
async fn a_worker_that_loses_nats_alone_keeps_its_turn() {
    let mut cluster = two_workers().await;
    let text = "cut off from NATS [[tokens=100 pause=60]]";
    let mut begun = Begun::new(&cluster, text).await;
    let (holder, _) = begun.holder(&mut cluster).await;
    cluster.proxy(holder).cut();
    begun.ends_well(&cluster, text, 1).await;
    assert_eq!(begun.shown().await["attempt"], 1);
}

#[tokio::test]
async fn jobs_too_many_take_no_turn_from_a_live_worker() {
    let mut cluster = two_workers().await;
    let text = "in good hands [[tokens=60 pause=50]]";
    let mut begun = Begun::new(&cluster, text).await;
    begun.holder(&mut cluster).await;
    let (shown, pool) = (begun.shown().await, cluster.pool().await);
    eventually("its worker has said that it is at it", SOON, async || {
        let listed = "SELECT count(*) FROM worker_leases WHERE $1::text::uuid = ANY(turns)";
        let listed = sqlx::query_scalar::<_, i64>(listed).bind(begun.turn());
        listed.fetch_one(&pool).await.unwrap() == 1
    })
    .await;
    for lost in [None, Some(0), Some(1)].into_iter().cycle().take(24) {
        let job = serde_json::json!({
            "tenant_id": "acme", "session_id": shown["session_id"], "turn_id": begun.turn(),
            "lost": lost,
        });
        cluster.publish("job.default.next", job.to_string()).await;
    }
    begun.ends_well(&cluster, text, 1).await;
    assert_eq!(begun.shown().await["attempt"], 1);
}

#[tokio::test]
async fn a_wiped_queue_and_a_dead_worker_strand_nobody() {
    let mut cluster = two_workers().await;
    let text = "nothing is left [[tokens=60 pause=40]]";
    let mut begun = Begun::new(&cluster, text).await;
    let (holder, _) = begun.holder(&mut cluster).await;
    cluster.nats.kill().await.unwrap();
    cluster.node(holder).kill();
    cluster.nats.delete_store().unwrap();
    cluster.nats.start_again().await.unwrap();
    begun.ends_well(&cluster, text, 2).await;
}

#[tokio::test]
async fn a_turn_whose_worker_is_lost_can_be_stopped_and_keeps_its_words() {
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api,projector,relay")
        .node("first", "worker")
        .start()
        .await;
    let mut begun = Begun::new(&cluster, "stopped by nobody [[tokens=200 pause=40]]").await;
    cluster.node("first").kill();
    let path = format!("/v1/turns/{}", begun.turn());
    begun.client.post_empty(&format!("{path}/cancel")).await.expect(202);
    cluster.node("first").start();
    begun.transcript.read_on(&mut begun.stream).await;
    let end = begun.transcript.end().expect("an end");
    assert_eq!((end.name.as_str(), &end.json()["attempt"]), ("turn.cancelled", &1.into()));
    let turn = begun.client.ended(&begun.turn()).await;
    let kept = tests::transcript::content_text(&turn.json["content"]);
    assert_eq!(begun.transcript.text(), kept);
    assert!(kept.len() > 3, "what was said is kept");
    assert!(turn.number("/usage/completion_tokens") > 0, "and paid");
    invariants::check(&cluster.pool().await).await;
}

/// Nobody is left who knows what the turn used: the hold ends all the same.
#[tokio::test]
async fn a_deleted_turn_of_a_lost_worker_leaves_no_hold() {
    let mut cluster = two_workers().await;
    let begun = Begun::new(&cluster, "deleted and lost [[tokens=200 pause=40]]").await;
    let (holder, _) = begun.holder(&mut cluster).await;
    let session = begun.shown().await["session_id"].as_str().unwrap().to_owned();
    cluster.node(holder).signal("STOP");
    begun.client.delete(&format!("/v1/sessions/{session}")).await.expect(204);
    // The relay's leader knows of the turn; it is lost as well.
    cluster.node(holder).kill();
    cluster.node("a").kill();
    cluster.node("a").start();
    cluster.node("a").ready().await;
    let pool = cluster.pool().await;
    let holds = "SELECT count(*) FROM accounts, json_object_keys(state->'holds')";
    eventually("nothing is held", SOON, async || {
        sqlx::query_scalar::<_, i64>(holds).fetch_one(&pool).await.unwrap() == 0
    })
    .await;
    invariants::check(&pool).await;
}

#[tokio::test]
async fn a_turn_that_wears_its_workers_out_fails() {
    let mut cluster = Cluster::builder(BINARY)
        .config("[attempts]\nmax_without_progress = 2\n")
        .patient()
        .node("a", "api,projector,relay")
        .node("first", "worker")
        .start()
        .await;
    let ann = cluster.client("a", "acme", "ann");
    let session = ann.create_session().await;
    let text = "a deadly question [[hang]]";
    let turn = ann.send_message(&session, text).await;
    for calls in 1..=2 {
        let what = format!("the provider is asked {calls} times");
        eventually(&what, SOON, async || cluster.provider.calls(text).len() == calls).await;
        cluster.node("first").kill();
        cluster.node("first").start();
    }
    let ended = ann.ended(&turn.id).await;
    assert_eq!(ended.text("/status"), "failed");
    assert_eq!(ended.text("/error/code"), "attempts_exhausted");
    assert_eq!(ended.json["abandoned_attempts"].as_array().map(Vec::len), Some(2));
    assert_eq!(cluster.provider.calls(text).len(), 2, "and nobody is asked again");
    invariants::check(&cluster.pool().await).await;
}

/// Where the provider can go on from what was said, nothing is said twice or taken back.
#[tokio::test]
async fn an_answer_goes_on_where_a_lost_worker_left_it() {
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api,projector,relay")
        .node("first", "worker")
        .start()
        .await;
    let admin = cluster
        .client("a", "acme", "olga")
        .with_token(Some(tests::token::with_role("acme", "olga", "admin")));
    let change = serde_json::json!({ "continuation": "last_message" });
    admin.patch("/v1/admin/providers/scripted", &change).await.expect(200);
    let text = "goes on [[tokens=60 pause=40]]";
    let mut begun = Begun::new(&cluster, text).await;
    assert!(begun.transcript.read_deltas(&mut begun.stream, 12).await);
    let said = begun.transcript.text().to_owned();
    cluster.node("first").kill();
    cluster.node("first").start();
    begun.transcript.read_on(&mut begun.stream).await;
    let restart = begun.transcript.events.iter().find(|event| event.name == "turn.restarted");
    let offset = restart.expect("a restart").json()["offset"].as_u64().unwrap();
    let offset = usize::try_from(offset).unwrap();
    assert!(offset >= said.len(), "{offset}: all of {} is kept", said.len());
    assert_eq!(begun.transcript.text(), begun.transcript.message_text());

    // Together the two calls have said it once.
    let calls = cluster.provider.calls(text);
    assert_eq!(calls.len(), 2);
    let joined = &begun.transcript.text()[offset..];
    assert!(
        calls[1].text.ends_with(joined.trim_start()) && begun.transcript.text().starts_with(&said)
    );
    assert!(calls[1].tokens < 60, "{} words were left", calls[1].tokens);

    // Who comes later, or comes back, is told the same.
    let turn = begun.turn();
    let whole = Transcript::of(begun.client.watch(&turn, None).await).await;
    assert_eq!(whole.text(), begun.transcript.text());
    let first_id = begun.transcript.events.iter().find_map(|event| event.id.clone());
    let again = Transcript::of(begun.client.watch(&turn, first_id.as_deref()).await).await;
    assert_eq!(again.text(), begun.transcript.text());
    invariants::check(&cluster.pool().await).await;
}

#[tokio::test]
async fn an_answer_that_a_provider_breaks_off_is_begun_again() {
    let cluster = Cluster::builder(BINARY).node("a", "api,worker,projector,relay").start().await;
    let ann = cluster.client("a", "acme", "ann");
    let session = ann.create_session().await;
    for fault in ["cut=5", "malformed=5", "stall=5"] {
        let text = format!("broken once [[tokens=12 {fault} times=1]]");
        let transcript = ann.say(&session, &text).await;
        transcript.completed();
        assert_eq!(transcript.text(), transcript.message_text(), "{fault}");
        assert_eq!(cluster.provider.calls(&text).len(), 2, "{fault}");
        let shown = ann.get(&format!("/v1/turns/{}", transcript.turn_id())).await.expect(200);
        assert_eq!(shown.json["abandoned_attempts"].as_array().map(Vec::len), Some(1), "{fault}");
    }
    invariants::check(&cluster.pool().await).await;
}

/// One tenant's long queue holds another one's turn up by little.
#[tokio::test]
async fn tenants_take_turns() {
    let cluster = Cluster::builder(BINARY)
        .config("[worker]\nconcurrency = 2\n")
        .node("a", "api,worker,projector,relay")
        .start()
        .await;
    let many = cluster.client("a", "acme", "ann");
    let sends = (0..400).map(|number| {
        let many = &many;
        async move {
            let session = many.create_session().await;
            many.send_message(&session, &format!("one of many {number} [[tokens=3 pause=20]]"))
                .await
        }
    });
    let turns = futures::future::join_all(sends).await;
    let one = cluster.client("a", "beta", "bob");
    let session = one.create_session().await;
    let alone = one.send_message(&session, "only me").await;
    one.ended(&alone.id).await;
    let pool = cluster.pool().await;
    let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM turns WHERE ended_at IS NULL")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(waiting > 100, "{waiting} of the others are still there");
    for turn in &turns {
        assert_eq!(many.ended(&turn.id).await.text("/status"), "completed");
    }
    invariants::check(&pool).await;
}
