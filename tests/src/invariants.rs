//! What must hold always, checked on the real tables and through the running nodes.

mod ledger;

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use sqlx::PgPool;

use crate::client::{Client, Turn};
use crate::cluster::Cluster;
use crate::transcript::content_text;
use crate::wait::eventually;

pub use ledger::ledger_balances;

/// Ten seconds after the last fault nothing may lag; a busy machine gets some more.
const QUIET: Duration = Duration::from_secs(30);
/// The read models.
pub const READ_MODELS: [&str; 6] =
    ["sessions", "messages", "turns", "accounts", "transactions", "usage_daily"];

/// How one turn ended, by the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndOfTurn {
    /// `TurnCompleted`, `TurnFailed` or `TurnCancelled`.
    pub event: String,
    /// The attempt that it came from.
    pub attempt: i64,
    /// The text of the answer, if there is one.
    pub text: Option<String>,
    /// Who made the attempts, in order.
    pub workers: Vec<String>,
}

/// Waits until nothing lags, then checks everything that can be told from the database: the
/// order of the log, the end of every turn and its settlement, and that the read models say the
/// same.
pub async fn check(pool: &PgPool) -> HashMap<String, EndOfTurn> {
    turns_have_ended(pool).await;
    nothing_lags(pool).await;
    log_is_in_order(pool).await;
    let ends = ends_of_turns(pool).await;
    read_models_agree(pool, &ends).await;
    ledger_balances(pool).await;
    ends
}

/// I1: positions are 1..N, and the versions of each stream 1..k in the order of positions.
pub async fn log_is_in_order(pool: &PgPool) {
    let (count, first, last): (i64, i64, i64) = sqlx::query_as(
        "SELECT count(*), coalesce(min(position), 1), coalesce(max(position), 0) FROM events",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!((first, last), (1, count), "positions have a hole");
    let wrong: Vec<(String, i64)> = sqlx::query_as(
        "SELECT aggregate_id, sequence FROM (
             SELECT aggregate_id, sequence, row_number() OVER (
                 PARTITION BY aggregate_type, aggregate_id ORDER BY position) AS place
             FROM events) AS numbered
         WHERE sequence <> place",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert!(wrong.is_empty(), "versions out of order: {wrong:?}");
}

/// I2: every turn that a client was told of is in the log, once, where it was said to be.
pub async fn acknowledged_turns_stand(pool: &PgPool, turns: &[Turn]) {
    for turn in turns {
        let found: Vec<(i64, String)> = sqlx::query_as(
            "SELECT position, aggregate_id FROM events WHERE event_type = 'TurnRequested'
             AND aggregate_id = $1 AND payload->'TurnRequested'->>'turn_id' = $2",
        )
        .bind(&turn.session)
        .bind(&turn.id)
        .fetch_all(pool)
        .await
        .unwrap();
        assert_eq!(found, [(turn.position, turn.session.clone())], "{turn:?}");
    }
}

/// I4: every turn has exactly one end, which comes from its newest attempt; and only the newest
/// attempt is given up or given back.
pub async fn ends_of_turns(pool: &PgPool) -> HashMap<String, EndOfTurn> {
    let events: Vec<(i64, String, Value)> = sqlx::query_as(
        "SELECT position, event_type, payload FROM events WHERE event_type IN
         ('TurnRequested', 'AttemptStarted', 'AttemptAbandoned', 'AttemptReleased',
          'TurnCompleted', 'TurnFailed', 'TurnCancelled')
         ORDER BY position",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut open: HashMap<String, Vec<String>> = HashMap::new();
    let mut ends: HashMap<String, EndOfTurn> = HashMap::new();
    for (position, event, payload) in events {
        let fields = &payload[&event];
        let turn = fields["turn_id"].as_str().unwrap().to_owned();
        let at = format!("position {position}: {payload}");
        assert!(!ends.contains_key(&turn), "an event after the turn's end at {at}");
        match event.as_str() {
            "TurnRequested" => assert!(open.insert(turn, Vec::new()).is_none(), "twice: {at}"),
            "AttemptStarted" => {
                let workers = open.get_mut(&turn).unwrap_or_else(|| panic!("no request: {at}"));
                workers.push(fields["worker_id"].as_str().unwrap().to_owned());
                assert_eq!(fields["attempt"], workers.len(), "attempts out of order: {at}");
            }
            "AttemptAbandoned" | "AttemptReleased" => {
                let workers = open.get(&turn).unwrap_or_else(|| panic!("no request: {at}"));
                assert_eq!(fields["attempt"], workers.len(), "I4: an old attempt ends at {at}");
            }
            _ => {
                let workers = open.remove(&turn).unwrap_or_else(|| panic!("no request: {at}"));
                assert_eq!(fields["attempt"], workers.len(), "an end of an old attempt: {at}");
                let content = &fields["completion"]["message"]["content"];
                let text = content.is_array().then(|| content_text(content));
                let attempt = fields["attempt"].as_i64().unwrap();
                ends.insert(turn, EndOfTurn { event, attempt, text, workers });
            }
        }
    }
    assert!(open.is_empty(), "turns without an end: {:?}", open.keys());
    ends
}

/// The read model of turns, and that of messages, say what the log says.
pub(crate) async fn read_models_agree(pool: &PgPool, ends: &HashMap<String, EndOfTurn>) {
    let rows: Vec<(String, String, Option<Value>)> = sqlx::query_as(
        "SELECT t.turn_id::text, t.status, m.content FROM turns t
         LEFT JOIN messages m ON m.message_id = t.answer_id",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    for (turn, status, content) in rows {
        let end = &ends[&turn];
        let expected = match end.event.as_str() {
            "TurnCompleted" => "completed",
            "TurnFailed" => "failed",
            _ => "cancelled",
        };
        assert_eq!(status, expected, "turn {turn}");
        // A cleared or deleted history has no messages any more.
        if let Some(content) = content {
            assert_eq!(Some(content_text(&content)), end.text, "turn {turn}");
        }
    }
}

/// Waits until every accepted turn has ended.
pub async fn turns_have_ended(pool: &PgPool) {
    eventually("every turn has ended", QUIET, async || {
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FILTER (WHERE event_type = 'TurnRequested')
                  - count(*) FILTER (WHERE event_type IN ('TurnCompleted', 'TurnFailed', 'TurnCancelled'))
             FROM events",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        open == 0
    })
    .await;
}

/// I9: the read models come to hold the whole log.
pub async fn nothing_lags(pool: &PgPool) {
    eventually("the read models hold the whole log", QUIET, async || {
        let lag: Option<i64> = sqlx::query_scalar(
            "SELECT (SELECT max(position) FROM events) - min(position) FROM checkpoints",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        lag.is_none_or(|lag| lag == 0)
    })
    .await;
}

/// Nothing was set aside as unreadable.
pub async fn nothing_is_parked(pool: &PgPool) {
    let parked: i64 =
        sqlx::query_scalar("SELECT count(*) FROM parked_events").fetch_one(pool).await.unwrap();
    assert_eq!(parked, 0);
}

/// A hash of each read model's whole content.
pub async fn hashes(pool: &PgPool) -> Vec<String> {
    let mut hashes = Vec::new();
    for table in READ_MODELS {
        let query = format!(
            "SELECT coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '') FROM {table} t"
        );
        hashes.push(sqlx::query_scalar(&query).fetch_one(pool).await.unwrap());
    }
    hashes
}

/// I3: the read models are the same after they were made anew from the log.
pub async fn rebuild_changes_nothing(cluster: &Cluster, pool: &PgPool) {
    nothing_lags(pool).await;
    let before = hashes(pool).await;
    for name in READ_MODELS {
        cluster.cli(&["projections", "rebuild", name]).await;
    }
    nothing_lags(pool).await;
    assert_eq!(hashes(pool).await, before, "a read model is not the fold of the log");
}

/// The events of one tenant in the log.
pub async fn events_of(pool: &PgPool, tenant: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM events WHERE tenant_id = $1")
        .bind(tenant)
        .fetch_one(pool)
        .await
        .unwrap()
}

/// The answer's text wherever it can be read is `text`: the turn, the history, the audit.
pub async fn same_text_everywhere(client: &Client, session: &str, turn: &str, text: &str) {
    let ended = client.ended(turn).await;
    assert_eq!(content_text(&ended.json["content"]), text, "the turn");
    let position = ended.number("/position");
    let history = client.history(session, position).await;
    assert!(history.contains(&("assistant".to_owned(), text.to_owned())), "{history:?}");
    let audit = client.get(&format!("/v1/audit/sessions/{session}")).await.expect(200);
    let answer = ended.text("/answer_id");
    let replayed = &audit.json["state"]["messages"][&answer]["content"];
    assert_eq!(content_text(replayed), text, "the audit");
}
