//! A turn that says something without end, and its watcher.

use std::time::Duration;

use serde_json::json;
use tests::{Client, EventStream, Transcript};

use crate::setup::SCRIPTED;

/// For what takes a few seconds at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A turn that is being answered.
pub(crate) struct Speaking {
    client: Client,
    /// Its message; no other has the same.
    pub(crate) text: String,
    pub(crate) turn: String,
    stream: EventStream,
    seen: Transcript,
}

impl Speaking {
    /// Begins one; returns when its first words were heard.
    pub(crate) async fn begin(client: Client, name: &str) -> Self {
        let text = format!("{name} [[tokens=4000 pause=10]]");
        let settings = json!({ "settings": { "model": SCRIPTED } });
        let session = client.post("/v1/sessions", &settings).await.expect(201).text("/id");
        let mut stream = client.stream_message(&session, &text).await;
        let mut seen = Transcript::default();
        seen.read_deltas(&mut stream, 2).await;
        let turn = seen.turn_id();
        Self { client, text, turn, stream, seen }
    }

    /// Asks for its end.
    pub(crate) async fn stop(&self) {
        self.client.post_empty(&format!("/v1/turns/{}/cancel", self.turn)).await.expect(202);
    }

    /// Whether the process `id` is at it; none while nobody is known to be.
    pub(crate) async fn is_held_by(&self, id: u32) -> Option<bool> {
        let shown = self.client.get(&format!("/v1/turns/{}", self.turn)).await.expect(200);
        Some(shown.json["worker_id"].as_str()?.contains(&format!("-{id}-")))
    }

    /// Waits until its watcher is told that another attempt has begun; false if it ended instead.
    pub(crate) async fn restarts(&mut self) -> bool {
        while let Ok(Some(event)) = self.stream.next_real().await {
            let is_restart = event.name == "turn.restarted";
            self.seen.take(event);
            if is_restart {
                return true;
            }
        }
        false
    }
}
