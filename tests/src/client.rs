//! A client of the HTTP API, as one user on one node.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::sse::EventStream;
use crate::transcript::{Transcript, content_text};
use crate::wait::found;

/// How long a turn of a test may take, with room for a busy machine.
const TURN: Duration = Duration::from_secs(60);

/// An answer that is no stream.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body, null if it is no JSON.
    pub json: Value,
    /// The body as it came.
    pub body: String,
}

impl Answer {
    async fn of(response: reqwest::Response) -> Self {
        Self::read(response).await.unwrap()
    }

    /// Reads `response` to its end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn read(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = response.text().await?;
        let json = serde_json::from_str(&body).unwrap_or(Value::Null);
        Ok(Self { status, headers, json, body })
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Fails unless the status is `status`.
    #[expect(clippy::return_self_not_must_use, reason = "often the status is all that counts")]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// A text in the body, by its JSON pointer.
    pub fn text(&self, pointer: &str) -> String {
        let found = self.json.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("no text at {pointer} in {}", self.body)).to_owned()
    }

    /// A whole number in the body, by its JSON pointer.
    pub fn number(&self, pointer: &str) -> i64 {
        let found = self.json.pointer(pointer).and_then(Value::as_i64);
        found.unwrap_or_else(|| panic!("no number at {pointer} in {}", self.body))
    }

    /// The list in `data`.
    pub fn data(&self) -> &[Value] {
        self.json["data"].as_array().unwrap_or_else(|| panic!("no list in {}", self.body))
    }

    /// The code of an error, in either shape.
    pub fn code(&self) -> &str {
        let code = self.json["code"].as_str().or_else(|| self.json["error"]["code"].as_str());
        code.unwrap_or_else(|| panic!("no code in {}", self.body))
    }
}

/// A turn that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Its id.
    pub id: String,
    /// Its session.
    pub session: String,
    /// The message it answers.
    pub message: String,
    /// The position of its last event so far.
    pub position: i64,
}

/// A client with a token.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    /// A client of the server at `base`.
    pub fn new(base: impl Into<String>, token: Option<String>) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, base: base.into(), token }
    }

    /// The same user on another node.
    #[must_use]
    pub fn at(&self, base: impl Into<String>) -> Self {
        Self::new(base, self.token.clone())
    }

    /// The same node with another token, or none.
    #[must_use]
    pub fn with_token(&self, token: Option<String>) -> Self {
        Self { token, ..self.clone() }
    }

    /// A request, to be filled in.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends `request`; fails if there is no answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::of(request.timeout(TURN).send().await.unwrap()).await
    }

    /// Sends `request`; none if there is no answer, as while the node is down.
    pub async fn try_send(&self, request: RequestBuilder) -> Option<Answer> {
        let response = request.timeout(TURN).send().await.ok()?;
        Some(Answer::of(response).await)
    }

    /// Sends `request`; the response as soon as it begins, or the answer if it is a refusal.
    ///
    /// # Errors
    /// When the status is none of success.
    pub async fn begin(&self, request: RequestBuilder) -> Result<reqwest::Response, Answer> {
        let response = request.timeout(TURN).send().await.unwrap();
        if response.status().is_success() { Ok(response) } else { Err(Answer::of(response).await) }
    }

    /// `GET path`
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// `DELETE path`
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// `POST path`
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// `POST path` without a body
    pub async fn post_empty(&self, path: &str) -> Answer {
        self.send(self.request(Method::POST, path)).await
    }

    /// `POST path` under an idempotency key
    pub async fn post_once(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).header("idempotency-key", key);
        self.send(request.json(body)).await
    }

    /// `PATCH path`
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(body)).await
    }

    /// Opens a session with the default settings; tells its id.
    pub async fn create_session(&self) -> String {
        self.post("/v1/sessions", &json!({})).await.expect(201).text("/id")
    }

    /// Sends a message; fails unless it is accepted.
    pub async fn send_message(&self, session: &str, text: &str) -> Turn {
        let path = format!("/v1/sessions/{session}/messages");
        turn(&self.post(&path, &json!({ "content": text })).await.expect(202))
    }

    /// Sends a message and watches its turn on the same connection.
    pub async fn stream_message(&self, session: &str, text: &str) -> EventStream {
        let path = format!("/v1/sessions/{session}/messages");
        let body = json!({ "content": text });
        self.open(self.request(Method::POST, &path).json(&body)).await
    }

    /// Sends a message and watches its turn to the end.
    pub async fn say(&self, session: &str, text: &str) -> Transcript {
        Transcript::of(self.stream_message(session, text).await).await
    }

    /// Watches a turn, after `last_id` if one is given.
    pub async fn watch(&self, turn: &str, last_id: Option<&str>) -> EventStream {
        let request = self.request(Method::GET, &format!("/v1/turns/{turn}/stream"));
        self.open(match last_id {
            Some(id) => request.header("last-event-id", id),
            None => request,
        })
        .await
    }

    /// Opens a stream of events.
    pub async fn open(&self, request: RequestBuilder) -> EventStream {
        let request = request.header("accept", "text/event-stream");
        let response = request.send().await.unwrap();
        let status = response.status();
        if status.is_success() {
            return EventStream::new(response);
        }
        panic!("{status} {}", response.text().await.unwrap_or_default());
    }

    /// The turn once it has ended; nodes that don't answer are asked again.
    pub async fn ended(&self, turn: &str) -> Answer {
        let path = format!("/v1/turns/{turn}");
        found(&format!("the end of turn {turn}"), TURN, async || {
            let answer = self.try_send(self.request(Method::GET, &path)).await?;
            let done = answer.status == 200 && !answer.json["ended_at"].is_null();
            done.then_some(answer)
        })
        .await
    }

    /// Role and text of each message of a session, oldest first.
    pub async fn history(&self, session: &str, min_position: i64) -> Vec<(String, String)> {
        let path = format!("/v1/sessions/{session}/messages?limit=100&min_position={min_position}");
        let answer = self.get(&path).await.expect(200);
        let said = |message: &Value| {
            let role = message["role"].as_str().unwrap().to_owned();
            (role, content_text(&message["content"]))
        };
        answer.data().iter().map(said).collect()
    }
}

/// The turn that an answer tells of.
pub fn turn(answer: &Answer) -> Turn {
    Turn {
        id: answer.text("/turn_id"),
        session: answer.text("/session_id"),
        message: answer.text("/message_id"),
        position: answer.number("/position"),
    }
}
