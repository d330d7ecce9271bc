//! Requests that are sent until their outcome is known.

use std::time::{Duration, Instant};

use rand::Rng;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::client::{Answer, Client, turn};
use crate::faults::record::Accepted;

use super::user::User;

/// How long one try may take, and how long a user keeps trying: longer than any fault lasts. (How
/// soon after its end all is well is for the checks to say.)
const TRY: Duration = Duration::from_secs(12);
pub(super) const PATIENCE: Duration = Duration::from_secs(420);
/// Before the next try.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

impl User {
    /// Sends a request, under `key` if there is one, until there is a definite answer.
    pub(super) async fn insist(
        &mut self,
        key: Option<&str>,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Answer {
        self.insist_on(|client| {
            let request = client.request(method.clone(), path).timeout(TRY);
            let request = if body.is_null() { request } else { request.json(body) };
            match key {
                Some(key) => request.header("idempotency-key", key),
                None => request,
            }
        })
        .await
    }

    /// Sends what `make` makes until there is a definite answer.
    pub(super) async fn insist_on(
        &mut self,
        make: impl Fn(&Client) -> RequestBuilder + Send,
    ) -> Answer {
        let began = Instant::now();
        loop {
            let request = make(&self.client());
            let answer = match request.send().await {
                Ok(response) => Answer::read(response).await.ok(),
                Err(_) => None,
            };
            if let Some(answer) = answer {
                self.mind(&answer);
                if is_definite(&answer) {
                    return answer;
                }
            }
            self.record().entries().repeats += 1;
            assert!(began.elapsed() < PATIENCE, "I9: no definite answer in {PATIENCE:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Notes an answer that nobody should ever get.
    pub(super) fn mind(&self, answer: &Answer) {
        if answer.status == 500 {
            self.record().wrong("I2", format!("a fault was answered: {answer:?}"));
        }
        let says_when = answer.header("retry-after").is_some();
        if answer.status == 503 && !says_when && !is_failed_turn(answer) {
            self.record().wrong("I9", format!("a 503 that says nothing of later: {answer:?}"));
        }
    }

    /// Sends a message of its own kind and tells of its turn.
    pub(super) async fn send(&mut self) -> Accepted {
        let text = self.text();
        self.send_text(text).await
    }

    /// Sends `text`, which is like no other.
    pub(super) async fn send_text(&mut self, text: String) -> Accepted {
        let session = self.session().await;
        let key = self.key();
        let path = format!("/v1/sessions/{session}/messages");
        let body = json!({ "content": text });
        let answer = self.insist(Some(&key), Method::POST, &path, &body).await;
        let turn = turn(&answer.expect(202));
        let (tenant, user) = (self.tenant.clone(), self.name.clone());
        let accepted = Accepted { key: Some(key), tenant, user, text, turn };
        self.has_sent(accepted.clone(), body);
        accepted
    }

    pub(super) async fn send_and_watch(&mut self) {
        let accepted = self.send().await;
        let leaves = self.dice.random_ratio(1, 3);
        self.watch(&accepted.turn.id, leaves, None).await;
        self.has_seen();
    }

    /// Sends a message, and asks for an end of its turn when some words were said.
    pub(super) async fn send_and_cancel(&mut self) {
        let accepted = self.send().await;
        let words = self.dice.random_range(0..10);
        self.watch(&accepted.turn.id, false, Some(words)).await;
        self.has_seen();
    }

    pub(super) async fn cancel(&mut self, turn: &str) {
        let key = self.key();
        let path = format!("/v1/turns/{turn}/cancel");
        let answer = self.insist(Some(&key), Method::POST, &path, &Value::Null).await;
        if answer.status != 202 {
            self.record().wrong("I2", format!("{turn} could not be cancelled: {answer:?}"));
        }
    }
}

/// Whether the request's outcome is known by this answer.
pub(super) fn is_definite(answer: &Answer) -> bool {
    match answer.status {
        _ if is_failed_turn(answer) => true,
        408 | 412 | 429 => false,
        409 => answer.json["code"] != "contended",
        status => status < 500,
    }
}

/// Chat Completions tells of a turn that has failed by a status of its own.
pub(super) fn is_failed_turn(answer: &Answer) -> bool {
    let code = answer.json["error"]["code"].as_str().unwrap_or_default();
    code.starts_with("provider_") || code == "attempts_exhausted"
}
