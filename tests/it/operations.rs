//! What operators do: migrate, make keys, rebuild, replay, look after trouble.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::cluster::{empty_database, try_cli};
use tests::{Client, Cluster, eventually, invariants};

use crate::support::{BINARY, SOON, new_tenant, shared};

#[tokio::test]
async fn migrations_go_up_down_and_up_by_hand() {
    let url = empty_database(Path::new(BINARY)).await;
    let cli = |arguments: &[&str]| try_cli(Path::new(BINARY), arguments, &[("DATABASE_URL", &url)]);
    let status =
        |word: &str| cli(&["migrate", "status"]).unwrap().to_lowercase().matches(word).count();
    assert!(status("pending") >= 3);
    let refused = cli(&["serve"]).unwrap_err();
    assert!(refused.contains("migrate up"), "the error names the cure: {refused}");
    cli(&["migrate", "up"]).unwrap();
    cli(&["migrate", "up"]).unwrap();
    let applied = status("applied");
    assert!(applied >= 3 && status("pending") == 0);
    cli(&["migrate", "down"]).unwrap();
    assert_eq!((status("applied"), status("pending")), (applied - 1, 1));
    cli(&["migrate", "down", "--to", "0"]).unwrap();
    assert_eq!((status("applied"), status("pending")), (0, applied));
    cli(&["migrate", "up"]).unwrap();
    assert_eq!(status("applied"), applied);
}

#[tokio::test]
async fn keys_are_made_used_listed_and_revoked() {
    let (cluster, tenant) = (shared().await, new_tenant());
    let create = async |user: &str, role: &str| {
        let printed = cluster
            .cli(&[
                "keys",
                "create",
                "--tenant",
                &tenant,
                "--user",
                user,
                "--role",
                role,
                "--name",
                "for tests",
            ])
            .await;
        printed.lines().last().unwrap().trim().to_owned()
    };
    let (ann, boss) = (create("ann", "user").await, create("boss", "admin").await);
    assert!(ann.len() >= 32 && ann != boss, "{ann}");
    let at = |node: &str, key: &str| Client::new(cluster.base(node), Some(key.to_owned()));
    let session = at("a", &ann).create_session().await;
    at("b", &ann).say(&session, "with a key").await.completed();
    let path = format!("/v1/sessions/{session}");
    assert_eq!(at("b", &boss).get(&path).await.expect(200).text("/user_id"), "ann");
    let altered = format!("{}x", &ann[..ann.len() - 1]);
    let altered = if altered == ann { format!("{}y", &ann[..ann.len() - 1]) } else { altered };
    let refused = at("a", &altered).get(&path).await.expect(401);
    assert!(["unknown_key", "invalid_token"].contains(&refused.code()), "{}", refused.body);

    let listed = cluster.cli(&["keys", "list", "--tenant", &tenant]).await;
    assert!(!listed.contains(&ann), "a secret is shown only once");
    let line = listed.lines().find(|line| line.contains("ann")).unwrap();
    let id = line.split_whitespace().find(|word| word.len() == 36 && word.contains('-')).unwrap();
    cluster.cli(&["keys", "revoke", id]).await;
    for node in ["a", "b"] {
        let refused = at(node, &ann).get(&path).await.expect(401);
        assert_eq!(refused.code(), "revoked_key", "at once, on every node");
    }
    at("a", &boss).get(&path).await.expect(200);
    let stored: Vec<String> = sqlx::query_scalar("SELECT k::text FROM api_keys k")
        .fetch_all(&cluster.pool().await)
        .await
        .unwrap();
    let secret = ann.rsplit(['_', '.', '-']).next().unwrap();
    assert!(stored.iter().all(|row| !row.contains(secret)), "only hashes are kept");
}

#[tokio::test]
async fn a_poison_event_stops_its_own_stream_and_no_other() {
    let cluster = Cluster::builder(BINARY).node("all", "api,worker,projector,relay").start().await;
    let ann = cluster.client("all", "acme", "ann");
    let (sick, healthy) = (ann.create_session().await, ann.create_session().await);
    let turn = ann.say(&sick, "before the poison").await.turn_id();
    ann.ended(&turn).await;
    let pool = cluster.pool().await;
    invariants::nothing_lags(&pool).await;
    for name in ["Poisoned", "SessionRenamed"] {
        append_raw(&pool, &sick, name, &json!({ name: { "nonsense": true } })).await;
    }
    ann.say(&healthy, "after the poison").await.completed();
    let health = ann.get("/health").await;
    invariants::nothing_lags(&pool).await;
    let parked: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT projection, aggregate_id, event_type FROM parked_events ORDER BY projection, position",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(!parked.is_empty());
    assert!(parked.iter().all(|(_, session, _)| *session == sick), "{parked:?}");
    // The others don't look at sessions.
    for projection in ["sessions", "messages", "turns"] {
        let events: Vec<&str> = parked
            .iter()
            .filter(|(name, ..)| name == projection)
            .map(|(.., event)| event.as_str())
            .collect();
        assert_eq!(events, ["Poisoned", "SessionRenamed"], "{projection}: nothing is skipped");
    }
    let listed = cluster.cli(&["projections", "list"]).await;
    assert!(listed.contains("parked"), "{listed}");
    assert_eq!(health.status, 200);
    // What was there before can still be read.
    assert_eq!(ann.history(&sick, 0).await.len(), 2);
    invariants::log_is_in_order(&pool).await;
}

/// Appends an event past all our code, as another version of it might.
async fn append_raw(pool: &sqlx::PgPool, session: &str, name: &str, payload: &Value) {
    sqlx::query(
        "SELECT appended.* FROM
            (SELECT max(sequence) AS version FROM events WHERE aggregate_id = $1) AS v,
            append_events(
                ARRAY['acme'], '{}', '{}', '{}', '{}', '{}', '{}', '{}',
                ARRAY[1], ARRAY['session'], ARRAY[$1], ARRAY[v.version],
                ARRAY[1], ARRAY[gen_random_uuid()], ARRAY['session'], ARRAY[$1],
                ARRAY[v.version + 1], ARRAY[$2], ARRAY['1.0'], ARRAY[$3], ARRAY['{}']) AS appended",
    )
    .bind(session)
    .bind(name)
    .bind(payload.to_string())
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn read_models_are_rebuilt_while_everything_runs() {
    let cluster = Cluster::builder(BINARY)
        .node("a", "api,worker,projector,relay")
        .node("b", "api,projector,relay")
        .start()
        .await;
    let ann = cluster.client("a", "acme", "ann");
    let at_b = ann.at(cluster.base("b"));
    let session = ann.create_session().await;
    let rebuilds = async {
        for name in
            ["all", "messages", "turns", "sessions", "accounts", "transactions", "usage_daily"]
        {
            cluster.cli(&["projections", "rebuild", name]).await;
        }
    };
    let talk = async {
        for number in 0..15 {
            let turn = ann
                .send_message(&session, &format!("rebuilding {number} [[tokens=4 pause=10]]"))
                .await;
            let shown = at_b.history(&session, turn.position).await;
            assert!(shown.len() > 2 * number, "never less than what was there");
            ann.ended(&turn.id).await;
        }
    };
    tokio::join!(rebuilds, talk);
    let pool = cluster.pool().await;
    invariants::check(&pool).await;
    invariants::rebuild_changes_nothing(&cluster, &pool).await;
    let unknown = try_cli(
        Path::new(BINARY),
        &["projections", "rebuild", "nonsense"],
        &[("DATABASE_URL", cluster.database_url())],
    );
    assert!(unknown.unwrap_err().contains("sessions"), "the error lists what there is");
}

#[tokio::test]
async fn a_session_is_replayed_on_the_command_line() {
    let (cluster, tenant) = (shared().await, new_tenant());
    let ann = cluster.client("a", &tenant, "ann");
    let session = ann.create_session().await;
    let transcript = ann.say(&session, "to be replayed").await;
    let turn = ann.ended(&transcript.turn_id()).await;
    let printed = cluster.cli(&["replay", "session", &session]).await;
    let replayed: Value = serde_json::from_str(&printed).unwrap();
    let audit = ann.get(&format!("/v1/audit/sessions/{session}")).await.expect(200);
    assert_eq!(replayed["state"], audit.json["state"]);
    assert_eq!(replayed["events"], audit.json["events"]);
    let before = (turn.number("/position") - 1).to_string();
    let printed = cluster.cli(&["replay", "session", &session, "--as-of", &before]).await;
    assert!(!printed.contains("TurnCompleted") && printed.contains("AttemptStarted"), "{printed}");
}

#[tokio::test]
async fn the_doctor_and_the_configuration_check_find_nothing_wrong() {
    let cluster = shared().await;
    cluster.cli(&["doctor"]).await;
    cluster.cli(&["config", "check"]).await;
    let health = cluster.client("a", "acme", "ann").with_token(None);
    eventually("all is well", SOON, async || {
        let health = health.get("/health").await.expect(200);
        health.text("/status") == "ok"
    })
    .await;
    assert_eq!(health.get("/livez").await.status, 200);
    let folder = cluster.folder().join("bad.toml");
    std::fs::write(&folder, "[http]\nlisten = 5\n").unwrap();
    let refused = try_cli(
        Path::new(BINARY),
        &["config", "check", "--config", folder.to_str().unwrap()],
        &[("DATABASE_URL", cluster.database_url())],
    );
    assert!(refused.unwrap_err().contains("listen"));
}

#[tokio::test]
async fn without_its_database_a_start_waits_and_says_so() {
    let started = std::time::Instant::now();
    let nowhere = [
        ("DATABASE_URL", "postgres://nobody@127.0.0.1:9/none"),
        ("NATS_URL", "nats://127.0.0.1:9"),
    ];
    let error = try_cli(Path::new(BINARY), &["doctor"], &nowhere).unwrap_err();
    assert!(!error.is_empty());
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}
