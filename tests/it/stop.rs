//! Stopping a turn, from any node: soon, once, with what was said kept and paid, and right
//! whatever it races with.

use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::PgPool;
use tests::client::Answer;
use tests::provider::{Call, Ended};
use tests::{Client, Cluster, EventStream, Transcript, eventually, found, invariants};

use crate::support::{BINARY, SOON, new_tenant, shared};

/// What is promised is that 99 of 100 take less; a busy machine gets it for every second one.
const PROMISED: Duration = Duration::from_millis(200);
/// Without NATS a worker hears of a stop when it renews its lease, each 750 ms.
const BY_ITS_LEASE: Duration = Duration::from_secs(4);

/// Two API nodes, and workers apart from them.
async fn cluster(workers: &[&str]) -> Cluster {
    let nodes =
        Cluster::builder(BINARY).node("a", "api,projector,relay").node("b", "api,projector,relay");
    workers.iter().fold(nodes, |builder, name| builder.node(name, "worker")).start().await
}

/// A turn that says something without end, and who watches it at node `a`.
struct Speaking {
    ann: Client,
    text: String,
    session: String,
    turn: String,
    stream: EventStream,
    seen: Transcript,
}

impl Speaking {
    async fn new(cluster: &Cluster, name: &str) -> Self {
        let text = format!("{name} [[tokens=600 pause=10 counting]]");
        let mut speaking = Self::just_sent(cluster, text).await;
        assert!(speaking.seen.read_deltas(&mut speaking.stream, 2).await);
        speaking
    }

    async fn just_sent(cluster: &Cluster, text: String) -> Self {
        let ann = cluster.client("a", "acme", "ann");
        let session = ann.create_session().await;
        let stream = ann.stream_message(&session, &text).await;
        let turn = stream.header("x-colloquy-turn-id").unwrap().to_owned();
        Self { ann, text, session, turn, stream, seen: Transcript::default() }
    }

    fn path(&self) -> String {
        format!("/v1/turns/{}/cancel", self.turn)
    }

    /// Asks `client` to stop it.
    async fn stop(&self, client: &Client) -> Answer {
        client.post_empty(&self.path()).await
    }

    /// The provider's call, once the provider was hung up on.
    async fn hung_up(&self, cluster: &Cluster) -> Call {
        found("the provider is hung up on", SOON, async || {
            let call = cluster.provider.calls(&self.text).pop()?;
            (call.ended != Ended::Not).then_some(call)
        })
        .await
    }

    /// Reads on to the end, which all tell alike: the watcher, the turn, the history, the log.
    async fn ends_alike(&mut self, pool: &PgPool) -> Value {
        self.seen.read_on(&mut self.stream).await;
        let end = self.seen.end().unwrap_or_else(|| panic!("{:?}", self.seen.events)).clone();
        let status = end.name.strip_prefix("turn.").unwrap().to_owned();
        let shown = self.ann.ended(&self.turn).await;
        assert_eq!(shown.text("/status"), status);
        assert_eq!(shown.json["usage"], end.json()["usage"]);
        if self.seen.text().is_empty() {
            assert_eq!(status, "cancelled", "{}", shown.body);
        } else {
            let text = self.seen.text();
            invariants::same_text_everywhere(&self.ann, &self.session, &self.turn, text).await;
        }
        let ends =
            ["TurnCompleted", "TurnFailed", "TurnCancelled"].map(|end| (end, status.as_str()));
        for (event, status) in ends {
            let is_it = event.to_lowercase() == format!("turn{status}");
            assert_eq!(events(pool, &self.turn, event).await, usize::from(is_it), "{event}");
        }
        end.json()
    }

    /// Checks that it was cancelled, and that what was heard of it is kept and paid.
    async fn is_cancelled(&mut self, cluster: &Cluster, pool: &PgPool) {
        let end = self.ends_alike(pool).await;
        assert_eq!(self.seen.end().unwrap().name, "turn.cancelled");
        assert_eq!(events(pool, &self.turn, "CancelRequested").await, 1);
        let call = self.hung_up(cluster).await;
        assert_eq!(call.ended, Ended::Abandoned);
        assert!(call.text.starts_with(self.seen.text()), "{:?}", self.seen.text());
        let counted = end["usage"]["completion_tokens"].as_u64().unwrap();
        assert!(counted <= call.tokens as u64 && counted > 0, "{end} {}", call.tokens);
        assert_eq!(counted, tokens_in(self.seen.text(), &call.text, call.tokens), "{end}");
        assert_ne!(end["usage"]["estimated"], true, "the provider has counted");
    }
}

/// How many of the `of` tokens of `whole` are in `part`: the provider's are words.
fn tokens_in(part: &str, whole: &str, of: usize) -> u64 {
    let ends: Vec<usize> = whole.match_indices([' ', '\n']).map(|(at, _)| at + 1).collect();
    assert!(ends.len() <= of, "{whole:?} has {of} tokens");
    ends.iter().filter(|end| **end <= part.len()).count() as u64
}

/// How many events of this name tell of `turn`.
async fn events(pool: &PgPool, turn: &str, name: &str) -> usize {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM events
         WHERE event_type = $2 AND payload->event_type->>'turn_id' = $1",
    )
    .bind(turn)
    .bind(name)
    .fetch_one(pool)
    .await
    .unwrap();
    usize::try_from(count).unwrap()
}

/// The time that so many of a hundred take at most.
fn percentile(sorted: &[Duration], hundredth: usize) -> Duration {
    sorted[(sorted.len() * hundredth / 100).min(sorted.len() - 1)]
}

#[tokio::test]
async fn the_provider_is_hung_up_on_soon_and_what_was_said_is_kept_and_paid() {
    let cluster = cluster(&["worker"]).await;
    let (at_b, pool) = (cluster.client("b", "acme", "ann"), cluster.pool().await);
    let mut took = Vec::new();
    for number in 0..100 {
        let mut speaking = Speaking::new(&cluster, &format!("stopped soon ({number})")).await;
        let asked = Instant::now();
        speaking.stop(&at_b).await.expect(202);
        let call = speaking.hung_up(&cluster).await;
        took.push(call.ended_at.unwrap().saturating_duration_since(asked));
        speaking.is_cancelled(&cluster, &pool).await;
    }
    took.sort_unstable();
    let [median, p95, p99, most] = [50, 95, 99, 100].map(|at| percentile(&took, at));
    println!("stop to hang-up: median {median:?}, p95 {p95:?}, p99 {p99:?}, most {most:?}");
    assert!(median < PROMISED, "{took:?}");
    let ends = invariants::check(&pool).await;
    assert!(ends.values().all(|end| end.event == "TurnCancelled"));
}

/// Before the first word, before any answer, and in the middle of one.
#[tokio::test]
async fn a_provider_that_keeps_silent_is_hung_up_on_too() {
    let cluster = shared().await;
    let (at_b, pool) = (cluster.client("b", "acme", "ann"), cluster.pool().await);
    for silence in ["first=60000", "hang", "stall=3"] {
        let text = format!("stopped in silence [[tokens=9 {silence}]]");
        let mut speaking = Speaking::just_sent(cluster, text).await;
        eventually("it is asked", SOON, async || cluster.provider.calls(&speaking.text).len() == 1)
            .await;
        speaking.stop(&at_b).await.expect(202);
        assert_eq!(speaking.hung_up(cluster).await.ended, Ended::Abandoned, "{silence}");
        speaking.ends_alike(&pool).await;
        assert_eq!(speaking.seen.end().unwrap().name, "turn.cancelled");
    }
}

#[tokio::test]
async fn five_stops_at_once_are_one() {
    let cluster = cluster(&["worker"]).await;
    let (at_b, pool) = (cluster.client("b", "acme", "ann"), cluster.pool().await);
    for number in 0..5 {
        let mut speaking = Speaking::new(&cluster, &format!("stopped by five ({number})")).await;
        let stops = [&speaking.ann, &at_b, &speaking.ann, &at_b, &at_b];
        let answers = futures::future::join_all(stops.map(|client| speaking.stop(client))).await;
        for answer in answers {
            let answer = answer.expect(202);
            assert_eq!(answer.text("/turn_id"), speaking.turn);
            assert_eq!(answer.text("/session_id"), speaking.session);
        }
        speaking.is_cancelled(&cluster, &pool).await;
        // With a turn that has ended there is nothing left to do.
        let before = invariants::events_of(&pool, "acme").await;
        speaking.stop(&at_b).await.expect(202);
        assert_eq!(invariants::events_of(&pool, "acme").await, before);
    }
    invariants::check(&pool).await;
}

#[tokio::test]
async fn a_stop_may_race_the_end() {
    let cluster = cluster(&["worker"]).await;
    let (at_b, pool) = (cluster.client("b", "acme", "ann"), cluster.pool().await);
    let mut completed = 0;
    for number in 0..40 {
        let text = format!("nearly done ({number}) [[tokens=12 pause=6 counting]]");
        let mut speaking = Speaking::just_sent(&cluster, text).await;
        // Deltas are held together for 20 ms: the last ones come with the end.
        speaking.seen.read_deltas(&mut speaking.stream, 1 + number % 5).await;
        speaking.stop(&at_b).await.expect(202);
        speaking.ends_alike(&pool).await;
        let end = &speaking.seen.end().unwrap().name;
        assert!(["turn.completed", "turn.cancelled"].contains(&end.as_str()), "{end}");
        completed += usize::from(end == "turn.completed");
        assert!(events(&pool, &speaking.turn, "CancelRequested").await <= 1);
        assert_eq!(cluster.provider.calls(&speaking.text).len(), 1);
    }
    println!("{completed} of 40 were faster than their stop");
    let ends = invariants::check(&pool).await;
    assert_eq!(ends.len(), 40);
}

#[tokio::test]
async fn a_stop_may_race_the_start() {
    let cluster = cluster(&["worker"]).await;
    let (at_b, pool) = (cluster.client("b", "acme", "ann"), cluster.pool().await);
    let mut asked = 0;
    for number in 0..40 {
        let text = format!("hardly begun ({number}) [[tokens=400 pause=20 counting]]");
        let mut speaking = Speaking::just_sent(&cluster, text).await;
        // At once, a little later, and when the first word is there.
        match number % 4 {
            0 => {}
            1 => drop(at_b.get("/livez").await),
            2 => drop(at_b.get(&format!("/v1/turns/{}", speaking.turn)).await),
            _ => drop(speaking.stream.next_real().await.map(|event| {
                speaking.seen.take(event.expect("it begins"));
            })),
        }
        speaking.stop(&at_b).await.expect(202);
        speaking.ends_alike(&pool).await;
        assert_eq!(speaking.seen.end().unwrap().name, "turn.cancelled");
        assert_eq!(events(&pool, &speaking.turn, "CancelRequested").await, 1);
        let calls = cluster.provider.calls(&speaking.text).len();
        assert!(calls <= 1);
        if calls == 1 {
            assert_eq!(speaking.hung_up(&cluster).await.ended, Ended::Abandoned);
        }
        asked += calls;
    }
    println!("the provider was asked in {asked} of 40");
    let ends = invariants::check(&pool).await;
    assert!(ends.values().all(|end| end.event == "TurnCancelled"));
}

/// One that waits is claimed at the moment when it is stopped.
#[tokio::test]
async fn a_stop_may_race_the_claim() {
    let cluster = Cluster::builder(BINARY)
        .config("[worker]\nconcurrency = 1\n")
        .patient()
        .node("a", "api,projector,relay")
        .node("b", "api,projector,relay")
        .node("worker", "worker")
        .start()
        .await;
    let (at_b, pool) = (cluster.client("b", "acme", "ann"), cluster.pool().await);
    let mut asked = 0;
    for number in 0..20 {
        let before = format!("is in the way ({number}) [[tokens=2 gate=1]]");
        let mut first = Speaking::just_sent(&cluster, before).await;
        assert!(first.seen.read_deltas(&mut first.stream, 1).await);
        let text = format!("waits for it ({number}) [[tokens=400 pause=20 counting]]");
        let mut next = Speaking::just_sent(&cluster, text).await;
        cluster.provider.open(&first.text);
        for _ in 0..number % 5 {
            at_b.get("/livez").await.expect(200);
        }
        next.stop(&at_b).await.expect(202);
        next.ends_alike(&pool).await;
        assert_eq!(next.seen.end().unwrap().name, "turn.cancelled");
        assert_eq!(events(&pool, &next.turn, "CancelRequested").await, 1);
        let calls = cluster.provider.calls(&next.text).len();
        assert!(calls <= events(&pool, &next.turn, "AttemptStarted").await);
        if calls == 1 {
            assert_eq!(next.hung_up(&cluster).await.ended, Ended::Abandoned);
        }
        asked += calls;
        first.seen.read_on(&mut first.stream).await;
        first.seen.completed();
    }
    println!("the provider was asked in {asked} of 20");
    invariants::check(&pool).await;
}

#[tokio::test]
async fn a_stop_may_race_a_takeover() {
    let mut cluster = cluster(&["first", "second"]).await;
    let (at_b, pool) = (cluster.client("b", "acme", "ann"), cluster.pool().await);
    for number in 0..4 {
        let mut speaking = Speaking::new(&cluster, &format!("loses it all ({number})")).await;
        let path = format!("/v1/turns/{}", speaking.turn);
        let holder = found("somebody holds the turn", SOON, async || {
            let shown = at_b.get(&path).await.expect(200);
            let worker = shown.json["worker_id"].as_str()?.to_owned();
            let is_of = |name: &&str| worker.contains(&format!("-{}-", cluster.node(name).pid()));
            ["first", "second"].into_iter().find(is_of)
        })
        .await;
        match number % 4 {
            0 => {
                cluster.node(holder).kill();
                speaking.stop(&at_b).await.expect(202);
            }
            1 => {
                speaking.stop(&at_b).await.expect(202);
                cluster.node(holder).kill();
            }
            2 => {
                let kill = async { cluster.node(holder).kill() };
                tokio::join!(speaking.stop(&at_b), kill).0.expect(202);
            }
            _ => {
                cluster.node(holder).kill();
                // As soon as the next one has begun.
                while speaking.seen.events.iter().all(|event| event.name != "turn.restarted") {
                    let event = speaking.stream.next_real().await.unwrap();
                    speaking.seen.take(event.expect("it goes on"));
                }
                speaking.stop(&at_b).await.expect(202);
            }
        }
        cluster.node(holder).start();
        speaking.ends_alike(&pool).await;
        assert_eq!(speaking.seen.end().unwrap().name, "turn.cancelled", "{number}");
        let calls = cluster.provider.calls(&speaking.text);
        let attempts = events(&pool, &speaking.turn, "AttemptStarted").await;
        assert!(calls.len() <= attempts && attempts <= 2, "{attempts} {}", calls.len());
        speaking.hung_up(&cluster).await;
    }
    invariants::check(&pool).await;
}

#[tokio::test]
async fn a_stop_arrives_without_nats() {
    let mut cluster = cluster(&["worker"]).await;
    let (at_b, pool) = (cluster.client("b", "acme", "ann"), cluster.pool().await);
    let mut all = Vec::new();
    for number in 0..3 {
        all.push(Speaking::new(&cluster, &format!("stopped blindly ({number})")).await);
    }
    cluster.nats.kill().await.unwrap();
    let mut took = Vec::new();
    for speaking in &mut all {
        let asked = Instant::now();
        speaking.stop(&at_b).await.expect(202);
        let answered = asked.elapsed();
        let call = speaking.hung_up(&cluster).await;
        took.push((answered, call.ended_at.unwrap().saturating_duration_since(asked)));
        speaking.is_cancelled(&cluster, &pool).await;
    }
    cluster.nats.start_again().await.unwrap();
    println!("answered and hung up on: {took:?}");
    assert!(took.iter().all(|(_, hung_up)| *hung_up < BY_ITS_LEASE), "{took:?}");
    invariants::check(&pool).await;
}

#[tokio::test]
async fn only_ones_own_turns_can_be_stopped() {
    let cluster = shared().await;
    let (ours, theirs) = (new_tenant(), new_tenant());
    let ann = cluster.client("a", &ours, "ann");
    let session = ann.create_session().await;
    let turn = ann.send_message(&session, "goes on [[tokens=12 pause=25]]").await;
    let path = format!("/v1/turns/{}/cancel", turn.id);
    let unknown = "/v1/turns/01900000-0000-7000-8000-000000000000/cancel";
    for (tenant, user, path) in
        [(&theirs, "ann", path.as_str()), (&ours, "bob", path.as_str()), (&ours, "ann", unknown)]
    {
        let refused = cluster.client("b", tenant, user).post_empty(path).await.expect(404);
        assert_eq!(refused.code(), "turn_not_found", "{tenant} {user}");
    }
    assert_eq!(ann.ended(&turn.id).await.text("/status"), "completed");
    let pool = cluster.pool().await;
    eventually("nothing was written", SOON, async || {
        events(&pool, &turn.id, "CancelRequested").await == 0
    })
    .await;
}
