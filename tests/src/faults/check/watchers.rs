//! I5: what anybody saw over any number of connections is the text that is stored.

use std::collections::HashMap;

use reqwest::Method;

use crate::client::Client;
use crate::faults::world::{APIS, World};
use crate::token;
use crate::transcript::content_text;

use super::Evidence;

/// So many turns are read from the API again, the newest first: all of them would take long.
const READ_AGAIN: usize = 30;

/// Who saw a turn to its end has the text of the log, byte for byte, and was told the same.
pub(super) fn saw_the_stored_text(evidence: &Evidence<'_>) {
    for seen in &evidence.told.watched {
        let end = evidence.ends.get(&seen.turn);
        let end = end.unwrap_or_else(|| panic!("I5: {seen:?} has no end in the log"));
        let name = match seen.end.as_str() {
            "turn.completed" => "TurnCompleted",
            "turn.failed" => "TurnFailed",
            _ => "TurnCancelled",
        };
        assert_eq!(end.event, name, "I5: {seen:?} against the log: {end:?}");
        if let Some(stored) = &end.text {
            assert_eq!(&seen.text, stored, "I5: the deltas of {seen:?} against the log's text");
        }
        assert!(seen.told.is_none() || seen.told == end.text, "I5: the end of {seen:?}: {end:?}");
    }
    for completion in &evidence.told.completions {
        let end = evidence.ends.get(&completion.turn);
        let stored = end.and_then(|end| end.text.as_ref());
        assert_eq!(stored, Some(&completion.text), "I5: {completion:?} against the log: {end:?}");
    }
}

/// The API tells the same text of a turn, at every node.
pub(super) async fn the_api_tells_the_same(world: &World, evidence: &Evidence<'_>) {
    let mut clients: HashMap<(&str, &str, &str), Client> = HashMap::new();
    for accepted in evidence.told.accepted.iter().rev().take(READ_AGAIN) {
        let stored = &evidence.ends[&accepted.turn.id];
        for node in APIS {
            let client = clients.entry((node, &accepted.tenant, &accepted.user));
            let client = client.or_insert_with(|| {
                let token = token::user(&accepted.tenant, &accepted.user);
                Client::new(world.cluster.base(node), Some(token))
            });
            let path = format!("/v1/turns/{}", accepted.turn.id);
            let shown = client.send(client.request(Method::GET, &path)).await;
            assert_eq!(shown.status, 200, "I5: {node} tells nothing of {accepted:?}: {shown:?}");
            let content = &shown.json["content"];
            let text = content.is_array().then(|| content_text(content));
            assert_eq!(text, stored.text, "I5: {node} tells of {accepted:?}");
        }
    }
}
