//! Many at the same few sessions and the same account, from every node at once.

use std::time::Duration;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};

use super::Stage;
use crate::client::{Answer, Client};
use crate::faults::world::{APIS, PLAIN, any};
use crate::token;

/// How long one try may take, and before the next.
const TRY: Duration = Duration::from_secs(12);
const PAUSE: Duration = Duration::from_millis(30);
/// Whatever waits for whatever, it ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// One of those who are at it.
struct Hand {
    clients: Vec<Client>,
    sessions: Vec<String>,
    name: String,
    dice: StdRng,
    turn: Option<String>,
}

/// Commands to a few sessions of a few users of one tenant, which interrupt, cancel, rename and
/// consume, so that appends of all processes cross on sessions and accounts; meanwhile nodes are
/// killed with what they have queued. Each command is answered, and Postgres sees no deadlock.
pub(super) async fn streams_crossed(stage: &mut Stage) {
    let mut hands = Vec::new();
    for user in 0..stage.by_scale(2, 4) {
        let user = format!("crossing-{}-{user}", stage.world.rounds);
        let token = token::user("crossing", &user);
        let clients =
            APIS.map(|name| Client::new(stage.world.cluster.base(name), Some(token.clone())));
        let mut sessions = Vec::new();
        for number in 0..3 {
            let key = format!("{user}-s{number}");
            let body = json!({ "settings": { "model": PLAIN } });
            let made = insist(&clients[0], Method::POST, "/v1/sessions", &key, &body).await;
            sessions.push(made.expect(201).text("/id"));
        }
        for number in 0..stage.by_scale(5, 12) {
            hands.push(Hand {
                clients: clients.to_vec(),
                sessions: sessions.clone(),
                name: format!("{user}-{number}"),
                dice: StdRng::seed_from_u64(stage.dice.random()),
                turn: None,
            });
        }
    }
    let steps = stage.by_scale(12, 60);
    let crossing = join_all(hands.into_iter().map(|hand| hand.work(steps)));
    let killing = async {
        for _ in 0..stage.by_scale(1, 6) {
            stage.turns(2).await;
            let node = any(&mut stage.dice, &APIS);
            stage.world.kill(node);
            stage.world.cluster.node(node).ready().await;
        }
    };
    let (answered, ()) = tokio::join!(crossing, killing);
    let accepted: usize = answered.iter().map(|(accepted, _)| accepted).sum();
    let crossed: usize = answered.iter().map(|(_, crossed)| crossed).sum();
    assert!(accepted > 0 && crossed > 0, "the fault: {accepted} accepted, {crossed} in the way");
}

impl Hand {
    /// Does so many things; tells how many were accepted, and how many met another's turn.
    async fn work(mut self, steps: u32) -> (usize, usize) {
        let (mut accepted, mut crossed) = (0, 0);
        for step in 0..steps {
            let answer = self.step(&format!("{}-{step}", self.name)).await;
            assert_ne!(answer.status, 500, "I2: {answer:?}");
            match answer.status {
                200..300 => accepted += 1,
                409 => crossed += 1,
                _ => panic!("I9: a command of {} was answered by {answer:?}", self.name),
            }
            if answer.status == 202 && !answer.json["turn_id"].is_null() {
                self.turn = Some(answer.text("/turn_id"));
            }
        }
        (accepted, crossed)
    }

    async fn step(&mut self, key: &str) -> Answer {
        let client = self.clients[self.dice.random_range(0..self.clients.len())].clone();
        let session = &self.sessions[self.dice.random_range(0..self.sessions.len())];
        let messages = format!("/v1/sessions/{session}/messages");
        let text = format!("r-{key}. [[tokens=10 pause=10]]");
        match (self.dice.random_range(0..6), self.turn.take()) {
            (0, Some(turn)) => {
                let path = format!("/v1/turns/{turn}/cancel");
                insist(&client, Method::POST, &path, key, &Value::Null).await
            }
            (1, _) => {
                let body = json!({ "title": key });
                insist(&client, Method::PATCH, &format!("/v1/sessions/{session}"), key, &body).await
            }
            (2, _) => {
                let usage = json!({ "prompt_tokens": 1, "completion_tokens": 1,
                                    "cached_tokens": 0, "reasoning_tokens": 0 });
                let body = json!({ "service": "search", "model": "scripted", "usage": usage });
                insist(&client, Method::POST, "/v1/quota/consume", key, &body).await
            }
            (3, _) => {
                let body = json!({ "content": text });
                insist(&client, Method::POST, &messages, key, &body).await
            }
            _ => {
                let body = json!({ "content": text, "on_busy": "interrupt" });
                insist(&client, Method::POST, &messages, key, &body).await
            }
        }
    }
}

/// Sends a request under `key` until there is a definite answer.
pub(super) async fn insist(
    client: &Client,
    method: Method,
    path: &str,
    key: &str,
    body: &Value,
) -> Answer {
    let asking = async {
        loop {
            let request = client.request(method.clone(), path).timeout(TRY);
            let request = if body.is_null() { request } else { request.json(body) };
            if let Ok(response) = request.header("idempotency-key", key).send().await
                && let Ok(answer) = Answer::read(response).await
                && answer.status <= 500
                && ![408, 412].contains(&answer.status)
                && answer.json["code"] != "contended"
            {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await;
    answer.unwrap_or_else(|_| panic!("I9: {path} under {key} has no answer in {PATIENCE:?}"))
}
