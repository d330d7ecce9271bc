//! Messages that are sent and watched in one request: by the native route, and by Chat
//! Completions.

use std::time::{Duration, Instant};

use rand::Rng;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::client::{Answer, turn};
use crate::faults::record::{Accepted, Completion};
use crate::sse::EventStream;

use super::sending::{PATIENCE, PAUSE, is_definite, is_failed_turn};
use super::user::User;
use super::watching::Watching;

/// Signs of life come every 10 seconds.
const SIGN_OF_LIFE: Duration = Duration::from_secs(12);
/// A whole answer, with room for a worker that is lost on the way.
const WHOLE: Duration = Duration::from_secs(20);
const COMPLETIONS: &str = "/v1/chat/completions";

impl User {
    /// Sends a message and watches its turn on the same connection, and then on others.
    pub(super) async fn send_streaming(&mut self) {
        let session = self.session().await;
        let (key, text) = (self.key(), self.text());
        let path = format!("/v1/sessions/{session}/messages");
        let body = json!({ "content": text });
        let Some(response) = self.begin(Some(&key), &path, &body).await else { return };
        // What the stream's headers leave out is what a repeat answers.
        let mut watching = Watching::default();
        let stream = EventStream::new(response);
        let named = stream.header("x-colloquy-turn-id").map(str::to_owned);
        if let Err(what) = watching.read(stream, |_| false).await {
            self.record().wrong("I5", format!("the stream of {text}: {what}"));
            return;
        }
        let repeated = self.insist(Some(&key), Method::POST, &path, &body).await;
        let turn = turn(&repeated.expect(202));
        if named.as_deref() != Some(&turn.id) {
            self.record().wrong("I7", format!("{key} is {named:?}, then {turn:?}"));
        }
        let (tenant, user) = (self.tenant.clone(), self.name.clone());
        let accepted = Accepted { key: Some(key), tenant, user, text, turn: turn.clone() };
        self.has_sent(accepted, body);
        self.watch_on(&turn.id, watching, false, None).await;
        self.has_seen();
    }

    /// A stateless answer, whole.
    pub(super) async fn complete_whole(&mut self) {
        let (key, text) = (self.key(), self.text());
        let body = self.completion(&text, false);
        self.record().entries().keyed.push(text);
        let answer = self
            .insist_on(|client| {
                let request = client.request(Method::POST, COMPLETIONS).timeout(WHOLE);
                request.header("idempotency-key", &key).json(&body)
            })
            .await;
        if answer.status == 200 {
            let text = answer.text("/choices/0/message/content");
            let turn = answer.text("/turn_id");
            self.record().entries().completions.push(Completion { turn, text });
        } else if answer.status < 500 {
            self.record().wrong("I2", format!("{body}: {answer:?}"));
        }
        self.has_seen();
    }

    /// A stateless answer as a stream; half of them under a key.
    pub(super) async fn complete_streaming(&mut self) {
        let (key, text) = (self.key(), self.text());
        let key = self.dice.random_bool(0.5).then_some(key);
        let body = self.completion(&text, true);
        if key.is_some() {
            self.record().entries().keyed.push(text);
        }
        let Some(response) = self.begin(key.as_deref(), COMPLETIONS, &body).await else { return };
        let stream = EventStream::new(response);
        let turn = stream.header("x-colloquy-turn-id").unwrap_or_default().to_owned();
        let chunks = tokio::time::timeout(PATIENCE, read_chunks(stream)).await;
        match chunks.unwrap_or_else(|_| panic!("I9: the answer of turn {turn} is stuck")) {
            Chunks::Whole(text) => {
                self.record().entries().completions.push(Completion { turn, text });
            }
            // Words can't be taken back here, or the node went away: the turn has the answer.
            Chunks::Error(error) => self.mind_error(&turn, &error).await,
            Chunks::Broken => {}
        }
        self.has_seen();
    }

    fn completion(&self, text: &str, stream: bool) -> Value {
        json!({ "model": self.model, "stream": stream,
                "messages": [{ "role": "user", "content": text }] })
    }

    /// An error in a stream of chunks names its turn, which ends like any other.
    async fn mind_error(&mut self, turn: &str, error: &Value) {
        let superseded = error["code"] == "attempt_superseded";
        if superseded && !error["message"].as_str().unwrap_or_default().contains(turn) {
            self.record().wrong("I5", format!("{error} does not name turn {turn}"));
        }
        self.watch(turn, false, None).await;
    }

    /// Sends a request for a stream until one begins; none if its turn had failed before.
    async fn begin(&mut self, key: Option<&str>, path: &str, body: &Value) -> Option<Response> {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "I9: no definite answer in {PATIENCE:?}");
            let request = self.client().request(Method::POST, path).json(body);
            let request = request.header("accept", "text/event-stream");
            let request = match key {
                Some(key) => request.header("idempotency-key", key),
                None => request,
            };
            match tokio::time::timeout(SIGN_OF_LIFE, request.send()).await {
                Ok(Ok(response)) if response.status() == 200 => return Some(response),
                Ok(Ok(response)) => {
                    if let Ok(answer) = Answer::read(response).await {
                        self.mind(&answer);
                        if is_failed_turn(&answer) {
                            return None;
                        }
                        assert!(!is_definite(&answer), "I2: {body} was refused: {answer:?}");
                    }
                }
                _ => {}
            }
            self.record().entries().repeats += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

enum Chunks {
    Whole(String),
    Error(Value),
    Broken,
}

async fn read_chunks(mut stream: EventStream) -> Chunks {
    let mut text = String::new();
    loop {
        match tokio::time::timeout(SIGN_OF_LIFE, stream.next()).await {
            Ok(Ok(Some(event))) if event.data == "[DONE]" => return Chunks::Whole(text),
            Ok(Ok(Some(event))) => {
                let chunk = event.json();
                if !chunk["error"].is_null() {
                    return Chunks::Error(chunk["error"].clone());
                }
                text.push_str(chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
            }
            _ => return Chunks::Broken,
        }
    }
}
