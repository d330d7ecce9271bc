//! I2: what was acknowledged is in the log, once, and what was refused left nothing. I7: one key
//! is one turn.

use std::collections::HashMap;

use sqlx::PgPool;

use super::Evidence;

/// Every turn that a user was told of is where they were told, and nowhere else; no key and no
/// message has two.
pub(super) fn is_in_the_log_once(evidence: &Evidence<'_>) {
    let mut requested: HashMap<&str, Vec<i64>> = HashMap::new();
    for event in evidence.log.called("TurnRequested") {
        requested.entry(event.text("turn_id")).or_default().push(event.position);
    }
    let mut messages: HashMap<String, Vec<i64>> = HashMap::new();
    for event in evidence.log.called("MessageSent") {
        let text = event.field("message")["content"][0]["text"].as_str().unwrap_or_default();
        messages.entry(text.to_owned()).or_default().push(event.position);
    }
    for accepted in &evidence.told.accepted {
        let turn = &accepted.turn;
        let found = requested.get(turn.id.as_str()).map(Vec::as_slice).unwrap_or_default();
        assert_eq!(found, [turn.position], "I2: where the turn stands: {accepted:?}");
        let event = evidence.log.at(turn.position).expect("a position of the log");
        assert_eq!(event.stream, turn.session, "I2: its session: {accepted:?}");
        assert_eq!(event.tenant, accepted.tenant, "I8: its tenant: {accepted:?}");
        let sent = messages.get(&accepted.text).map_or(0, Vec::len);
        assert_eq!(sent, 1, "I7: messages of {accepted:?}");
    }
    for text in &evidence.told.keyed {
        let positions = messages.get(text).map(Vec::as_slice).unwrap_or_default();
        assert!(positions.len() <= 1, "I7: {text:?} at {positions:?}");
    }
    for done in &evidence.told.done {
        let Some(position) = done.position else { continue };
        let event = evidence.log.at(position);
        let command = event.and_then(|event| event.command.as_deref());
        assert_eq!(command, Some(done.key.as_str()), "I2: {done:?} stands there: {event:?}");
    }
}

/// No command is remembered for a request that was refused, and no event came from it.
pub(super) async fn refused_left_nothing(evidence: &Evidence<'_>, pool: &PgPool) {
    let keys: Vec<String> =
        evidence.told.refused.iter().map(|refused| refused.key.clone()).collect();
    let remembered: Vec<String> =
        sqlx::query_scalar("SELECT command_id FROM commands WHERE command_id = ANY($1)")
            .bind(&keys)
            .fetch_all(pool)
            .await
            .unwrap();
    assert!(remembered.is_empty(), "I2: refused and yet remembered: {remembered:?}");
    let left = evidence
        .log
        .events
        .iter()
        .find(|event| event.command.as_ref().is_some_and(|command| keys.contains(command)));
    assert!(left.is_none(), "I2: refused and yet in the log: {left:?}");
}
