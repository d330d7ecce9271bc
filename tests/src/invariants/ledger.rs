//! I6: the ledger adds up, and every turn is settled once, for what it used.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use sqlx::PgPool;

/// Accounts whose balance is not the sum of their lines, in the log or in the read model, or
/// not that of the last line.
const OUT_OF_BALANCE: &str = "
    WITH logged AS (
        SELECT aggregate_id::uuid AS account_id,
               coalesce(sum((payload->event_type->'posting'->'change'->>'tokens')::bigint), 0) AS tokens,
               coalesce(sum((payload->event_type->'posting'->'change'->>'credits')::numeric), 0) AS credits
        FROM events WHERE aggregate_type = 'quota' GROUP BY aggregate_id
    ), summed AS (
        SELECT account_id, sum(tokens) AS tokens, sum(credits::numeric) AS credits
        FROM transactions GROUP BY account_id
    ), last AS (
        SELECT DISTINCT ON (account_id) account_id, balance_tokens AS tokens,
               balance_credits::numeric AS credits
        FROM transactions ORDER BY account_id, position DESC
    ), states AS (
        SELECT account_id, (state->'balance'->>'tokens')::bigint AS tokens,
               (state->'balance'->>'credits')::numeric AS credits
        FROM accounts
    )
    SELECT concat_ws(' ', account_id, logged, summed, last, states)
    FROM logged FULL JOIN states USING (account_id)
    LEFT JOIN summed USING (account_id) LEFT JOIN last USING (account_id)
    WHERE (logged.tokens, logged.credits) IS DISTINCT FROM (states.tokens::numeric, states.credits)
       OR (coalesce(summed.tokens, 0), coalesce(summed.credits, 0))
          IS DISTINCT FROM (states.tokens::numeric, states.credits)
       OR (coalesce(last.tokens, 0), coalesce(last.credits, 0))
          IS DISTINCT FROM (states.tokens, states.credits)";

/// Accounts on which something is held; of holds that expired unsettled, nothing is.
const HELD: &str = "
    SELECT account_id::text || ' ' || (state->'holds')::text FROM accounts
    WHERE (state->'held'->>'tokens')::bigint <> 0 OR (state->'held'->>'credits')::numeric <> 0
       OR EXISTS (SELECT FROM json_each(state->'holds') AS hold
                  WHERE NOT (hold.value->>'expired')::boolean)";

/// I6, when no turn runs and nothing lags: balances are the sums of their lines, nothing is
/// held, and every turn that was admitted is settled.
pub async fn ledger_balances(pool: &PgPool) {
    assert_none(pool, OUT_OF_BALANCE, "balances that are not the sum of their lines").await;
    assert_none(pool, HELD, "accounts that still hold something").await;
    turns_are_settled(pool).await;
}

async fn assert_none(pool: &PgPool, query: &str, what: &str) {
    let found: Vec<String> = sqlx::query_scalar(query).fetch_all(pool).await.unwrap();
    assert!(found.is_empty(), "{what}: {found:#?}");
}

/// What the log says of holds, by turn.
#[derive(Default)]
struct Holds {
    reserved: HashSet<String>,
    consumed: HashMap<String, Vec<Value>>,
    /// Released, or expired.
    ended: HashSet<String>,
}

impl Holds {
    fn take(&mut self, event: &str, fields: &Value) {
        // Consumption without a hold is no turn's.
        let Some(turn) = fields["reservation_id"].as_str().map(str::to_owned) else { return };
        match event {
            "QuotaReserved" => drop(self.reserved.insert(turn)),
            "QuotaConsumed" => {
                assert_eq!(fields["turn_id"], turn.as_str(), "{fields}");
                self.consumed.entry(turn).or_default().push(fields["usage"].clone());
            }
            _ => drop(self.ended.insert(turn)),
        }
    }

    /// A turn that was completed is paid for; one that was cancelled too, as far as it came;
    /// of one that failed, the hold has ended.
    fn check(&self, event: &str, fields: &Value) {
        let turn = fields["turn_id"].as_str().unwrap();
        if !self.reserved.contains(turn) {
            return;
        }
        let consumed = self.consumed.get(turn).map(Vec::as_slice).unwrap_or_default();
        let usage = &fields["completion"]["usage"];
        let tokens = |of: &str| usage[of].as_u64().unwrap_or(0);
        let used = tokens("prompt_tokens") + tokens("completion_tokens") > 0;
        let ended = self.ended.contains(turn);
        if event == "TurnCompleted" || (event == "TurnCancelled" && used) {
            assert_eq!(consumed, std::slice::from_ref(usage), "{event}: {fields}");
        } else if event == "TurnCancelled" && fields["completion"].is_null() {
            // Its session was deleted: the attempt told afterwards what it had used.
            assert_eq!(consumed.len(), usize::from(!ended), "{event}: {fields}");
        } else {
            assert!(ended, "a hold outlives its turn: {event}: {fields}");
            assert_eq!(consumed, [] as [Value; 0], "{event}: {fields}");
        }
    }
}

async fn turns_are_settled(pool: &PgPool) {
    let events: Vec<(String, Value)> = sqlx::query_as(
        "SELECT event_type, payload->event_type FROM events WHERE event_type IN
         ('QuotaReserved', 'QuotaConsumed', 'ReservationReleased', 'ReservationExpired',
          'TurnCompleted', 'TurnFailed', 'TurnCancelled')
         ORDER BY position",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let (ends, quota): (Vec<_>, Vec<_>) =
        events.iter().partition(|(event, _)| event.starts_with("Turn"));
    let mut holds = Holds::default();
    for (event, fields) in quota {
        holds.take(event, fields);
    }
    for (event, fields) in ends {
        holds.check(event, fields);
    }
}
