//! Clients that close their connection at any point of a request.

use std::time::Duration;

use rand::Rng;
use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::turn;
use crate::faults::record::Accepted;
use crate::token;

use super::user::User;

/// The server may be anywhere in the request by then.
const LINGER: std::ops::Range<u64> = 0..40;
/// Reads of each.
const READS: usize = 5;

impl User {
    /// Begins a request and goes away; then asks again under the same key what became of it.
    pub(super) async fn vanish(mut self) {
        let session = self.session().await;
        let (key, text) = (self.key(), self.text());
        let path = format!("/v1/sessions/{session}/messages");
        let body = json!({ "content": text });
        let base = self.shared.bases[self.dice.random_range(0..self.shared.bases.len())].clone();
        let address = base.trim_start_matches("http://");
        let (sent, token) = (body.to_string(), token::user(&self.tenant, &self.name));
        let accept = if self.dice.random_bool(0.5) { "text/event-stream" } else { "*/*" };
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             accept: {accept}\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{sent}",
            sent.len()
        );
        let read = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        for _ in 0..READS {
            self.send_and_leave(address, &read).await;
        }
        self.send_and_leave(address, &request).await;
        let answer = self.insist(Some(&key), Method::POST, &path, &body).await;
        let turn = turn(&answer.expect(202));
        let (tenant, user) = (self.tenant.clone(), self.name.clone());
        self.has_sent(Accepted { key: Some(key), tenant, user, text, turn }, body);
    }

    /// Sends `request`, or its beginning, and goes away soon.
    async fn send_and_leave(&mut self, address: &str, request: &str) {
        let whole = self.dice.random_bool(0.7);
        let cut = if whole { request.len() } else { self.dice.random_range(0..request.len()) };
        let linger = Duration::from_millis(self.dice.random_range(LINGER));
        if let Ok(mut stream) = TcpStream::connect(address).await {
            drop(stream.write_all(&request.as_bytes()[..cut]).await);
            tokio::time::sleep(linger).await;
        }
    }
}
