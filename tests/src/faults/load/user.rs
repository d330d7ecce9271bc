//! One user and what they do, one thing after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::Rng;
use rand::rngs::StdRng;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::faults::record::{Accepted, Done, Record, Refused};
use crate::faults::world::{BACKED, CONTINUED, PLAIN};
use crate::token;

use super::Shared;

/// Whom users talk to, by their numbers.
const MODELS: [&str; 4] = [PLAIN, CONTINUED, PLAIN, BACKED];
/// What the provider that goes on with an answer has no way to go on with.
const WHOLE_ONLY: [&str; 2] = ["think", "big"];
/// Turns of a session, after which another one is begun.
const TALK: usize = 6;

pub(super) struct User {
    pub(super) shared: Arc<Shared>,
    pub(super) tenant: String,
    pub(super) name: String,
    pub(super) model: &'static str,
    pub(super) dice: StdRng,
    clients: Vec<Client>,
    session: Option<String>,
    talked: usize,
    pub(super) turns: usize,
    keys: usize,
    /// The last message that was accepted, to be sent once more.
    last: Option<(Accepted, Value)>,
}

impl User {
    pub(super) fn new(shared: &Arc<Shared>, number: usize, dice: StdRng) -> Self {
        let tenant = format!("tenant-{}", number % shared.load.tenants);
        let name = format!("user-{number}");
        let client = |base: &String| Client::new(base, Some(token::user(&tenant, &name)));
        let clients = shared.bases.iter().map(client).collect();
        let (shared, model) = (Arc::clone(shared), MODELS[number % MODELS.len()]);
        let (session, talked, turns, keys, last) = (None, 0, 0, 0, None);
        Self { shared, tenant, name, model, dice, clients, session, talked, turns, keys, last }
    }

    pub(super) async fn work(mut self) {
        while !self.shared.over.load(Ordering::Relaxed) || self.turns < self.shared.load.at_least {
            let kind = if self.shared.load.plain { 0 } else { self.dice.random_range(0..16) };
            match kind {
                0..=5 => self.send_and_watch().await,
                6..=7 => self.send_streaming().await,
                8 => self.send_and_cancel().await,
                9 => self.complete_whole().await,
                10..=11 => self.complete_streaming().await,
                12 => self.send_again().await,
                13 => self.ask_for_nonsense().await,
                14 => self.trespass().await,
                _ => self.consume().await,
            }
        }
    }

    pub(super) fn record(&self) -> &Record {
        &self.shared.record
    }

    /// This user at any node.
    pub(super) fn client(&mut self) -> Client {
        let node = self.dice.random_range(0..self.clients.len());
        self.clients[node].clone()
    }

    pub(super) fn key(&mut self) -> String {
        self.keys += 1;
        format!("{}-{}-k{}", self.shared.round, self.name, self.keys)
    }

    /// A text like no other, which says how it wants to be answered.
    pub(super) fn text(&mut self) -> String {
        self.keys += 1;
        let (load, dice) = (&self.shared.load, &mut self.dice);
        let tokens = dice.random_range(load.tokens.0..load.tokens.1);
        let pause = dice.random_range(load.pause.0..load.pause.1);
        let more = load.directives[dice.random_range(0..load.directives.len())];
        let hard = WHOLE_ONLY.iter().any(|word| more.contains(word));
        let more = if hard && self.model == CONTINUED { "" } else { more };
        let mark = format!("{}-{}-m{}", self.shared.round, self.name, self.keys);
        format!("{mark}. [[tokens={tokens} pause={pause} {more}]]")
    }

    /// The session that the user talks in; a new one after some turns.
    pub(super) async fn session(&mut self) -> String {
        if self.talked >= TALK {
            self.session = None;
        }
        self.talked += 1;
        if let Some(session) = &self.session {
            return session.clone();
        }
        let key = self.key();
        let body = json!({ "settings": { "model": self.model } });
        let answer = self.insist(Some(&key), Method::POST, "/v1/sessions", &body).await;
        let session = answer.expect(201).text("/id");
        (self.session, self.talked) = (Some(session.clone()), 0);
        session
    }

    pub(super) fn has_sent(&mut self, accepted: Accepted, body: Value) {
        self.record().entries().accepted.push(accepted.clone());
        self.last = Some((accepted, body));
    }

    pub(super) fn has_seen(&mut self) {
        self.turns += 1;
        self.shared.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends the last message again under its key, and another one under the same: the first is
    /// the same turn, the second is refused.
    async fn send_again(&mut self) {
        let Some((accepted, body)) = self.last.clone() else { return };
        let path = format!("/v1/sessions/{}/messages", accepted.turn.session);
        let key = accepted.key.as_deref();
        let answer = self.insist(key, Method::POST, &path, &body).await;
        if answer.status != 202 || crate::client::turn(&answer) != accepted.turn {
            self.record().wrong("I7", format!("{accepted:?} repeated: {answer:?}"));
        }
        let other = json!({ "content": "something else" });
        let answer = self.insist(key, Method::POST, &path, &other).await;
        if answer.status != 422 {
            self.record().wrong("I7", format!("the key of {accepted:?} reused: {answer:?}"));
        }
    }

    /// Sends what must be refused, and leave nothing.
    async fn ask_for_nonsense(&mut self) {
        let session = self.session().await;
        let path = format!("/v1/sessions/{session}/messages");
        let bodies = [
            json!({ "content": "" }),
            json!({ "content": "hi", "settings": { "model": "there-is-none" } }),
            json!({ "content": "hi", "settings": { "temperature": 9 } }),
            json!({ "content": "hi", "parent_id": "01980000-0000-7000-8000-000000000001" }),
        ];
        let body = &bodies[self.dice.random_range(0..bodies.len())];
        let key = self.key();
        let answer = self.insist(Some(&key), Method::POST, &path, body).await;
        let tenant = self.tenant.clone();
        if (400..500).contains(&answer.status) {
            self.record().entries().refused.push(Refused { key, tenant, status: answer.status });
        } else {
            self.record().wrong("I2", format!("{body} was taken: {answer:?}"));
        }
    }

    /// Looks for what belongs to others.
    async fn trespass(&mut self) {
        let theirs = {
            let entries = self.record().entries();
            let theirs = entries.accepted.iter().rev().find(|one| one.tenant != self.tenant);
            theirs.map(|one| (one.turn.id.clone(), one.turn.session.clone()))
        };
        let Some((turn, session)) = theirs else { return };
        for path in [format!("/v1/turns/{turn}"), format!("/v1/sessions/{session}/messages")] {
            let answer = self.insist(None, Method::GET, &path, &Value::Null).await;
            if answer.status != 404 {
                self.record().wrong("I8", format!("{} sees {path}: {answer:?}", self.tenant));
            }
        }
    }

    /// Charges what was used elsewhere.
    async fn consume(&mut self) {
        let key = self.key();
        let tokens = self.dice.random_range(1..100);
        let usage = json!({ "prompt_tokens": tokens, "completion_tokens": tokens,
                            "cached_tokens": 0, "reasoning_tokens": 0 });
        let body = json!({ "service": "search", "model": "scripted", "usage": usage });
        let path = "/v1/quota/consume";
        let answer = self.insist(Some(&key), Method::POST, path, &body).await;
        if answer.status != 200 {
            self.record().wrong("I2", format!("{body} was not taken: {answer:?}"));
            return;
        }
        let (tenant, position) = (self.tenant.clone(), Some(answer.number("/position")));
        self.record().entries().done.push(Done { key, tenant, position });
    }
}
