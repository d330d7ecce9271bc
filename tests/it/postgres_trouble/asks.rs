//! One request of every kind, asked during the trouble and again after it.

use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::PgPool;
use tests::client::{Answer, Client};
use tests::{Cluster, found, token};

/// Every answer comes within this, however bad things are.
const BOUND: Duration = Duration::from_secs(15);
/// From the end of the trouble until everything works.
const RECOVERY: Duration = Duration::from_secs(10);
/// What a 503 may say.
const CODES: [&str; 3] = ["unavailable", "outcome_unknown", "auth_unavailable"];

/// A node, and who works with it.
pub(super) struct World {
    ann: Client,
    olga: Client,
    /// With an API key that nobody has used lately.
    keyed: Client,
    pool: PgPool,
}

impl World {
    pub(super) async fn new(cluster: &Cluster, node: &str) -> Self {
        let key = ["keys", "create", "--tenant", "acme", "--user", "kim", "--role", "user"];
        let printed = cluster.cli(&[&key[..], &["--name", "trouble"]].concat()).await;
        let key = printed.lines().last().unwrap().trim().to_owned();
        let ann = cluster.client(node, "acme", "ann");
        let olga = ann.with_token(Some(token::with_role("acme", "olga", "admin")));
        let keyed = ann.with_token(Some(key));
        Self { ann, olga, keyed, pool: cluster.pool().await }
    }

    async fn effects(&self, ask: &Ask) -> i64 {
        let Some((event, marker)) = &ask.effect else { return 0 };
        let count = "SELECT count(*) FROM events
                     WHERE event_type = $1 AND payload::text LIKE '%' || $2 || '%'";
        sqlx::query_scalar(count).bind(event).bind(marker).fetch_one(&self.pool).await.unwrap()
    }
}

/// A request, and the event by which its effect is known.
struct Ask {
    name: &'static str,
    request: RequestBuilder,
    effect: Option<(&'static str, String)>,
    is_openai: bool,
}

/// Requests of every kind.
pub(super) struct Round<'a> {
    world: &'a World,
    asks: Vec<Ask>,
}

/// What they were answered during the trouble.
pub(super) struct Answers(Vec<(&'static str, bool, Answer)>);

impl<'a> Round<'a> {
    /// Makes what the requests are about. `name` is in all that they write.
    pub(super) async fn prepare(world: &'a World, name: &str) -> Self {
        let ann = &world.ann;
        let read = ann.create_session().await;
        let answered = ann.say(&read, "before [[tokens=3]]").await;
        let turn = answered.turn_id();
        ann.ended(&turn).await;
        let busy = ann.create_session().await;
        let running = ann.send_message(&busy, "runs [[tokens=1000 pause=30]]").await;
        let idle = ann.create_session().await;
        let mut asks = reads(world, &read, &turn);
        asks.extend(writes(world, name, &idle, &running.id));
        Self { world, asks }
    }

    /// Asks all at once; fails where an answer is late, or not one that a client can go by.
    pub(super) async fn ask(&self) -> Answers {
        let answers = join_all(self.asks.iter().map(async |ask| {
            let began = Instant::now();
            let answer = self.world.ann.send(ask.request.try_clone().unwrap()).await;
            let took = began.elapsed();
            assert!(took < BOUND, "{}: {took:?}", ask.name);
            ask.check(&answer);
            (ask.name, ask.effect.is_some(), answer)
        }));
        Answers(answers.await)
    }

    /// What was refused for certain is not in the log; what is in doubt is there once or not.
    pub(super) async fn assert_refused_left_nothing(&self, answers: &Answers) {
        for (ask, (name, _, answer)) in self.asks.iter().zip(&answers.0) {
            let effects = self.world.effects(ask).await;
            match answer.status {
                503 if answer.code() == "outcome_unknown" => assert!(effects <= 1, "{name}"),
                503 => assert_eq!(effects, 0, "{name}: {}", answer.body),
                _ => assert_eq!(effects, i64::from(ask.effect.is_some()), "{name}"),
            }
        }
    }

    /// The same requests succeed, soon, and each has its effect once.
    pub(super) async fn assert_recovered(&self) {
        join_all(self.asks.iter().map(async |ask| {
            found(&format!("{} works again", ask.name), RECOVERY, async || {
                let answer = self.world.ann.send(ask.request.try_clone().unwrap()).await;
                ask.check(&answer);
                (answer.status < 300).then_some(())
            })
            .await;
        }))
        .await;
        for ask in self.asks.iter().filter(|ask| ask.effect.is_some()) {
            assert_eq!(self.world.effects(ask).await, 1, "{}", ask.name);
        }
    }
}

impl Answers {
    /// Writes were refused, all of them.
    pub(super) fn assert_writes_refused(&self) {
        for (name, _, answer) in self.0.iter().filter(|(_, writes, _)| *writes) {
            assert_eq!(answer.status, 503, "{name}: {}", answer.body);
        }
    }

    /// Reads were answered as ever.
    pub(super) fn assert_reads_served(&self) {
        for (name, _, answer) in self.0.iter().filter(|(_, writes, _)| !writes) {
            assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        }
    }

    /// All was done as ever.
    pub(super) fn assert_all_served(&self) {
        for (name, _, answer) in &self.0 {
            assert!(answer.status < 300, "{name}: {}", answer.body);
        }
    }
}

impl Ask {
    /// A success, or a 503 of the right shape that says when to come again.
    fn check(&self, answer: &Answer) {
        let (name, body) = (self.name, &answer.body);
        if answer.status < 300 {
            return;
        }
        assert_eq!(answer.status, 503, "{name}: {body}");
        assert!(CODES.contains(&answer.code()), "{name}: {body}");
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..60).contains(&seconds), "{name}: {seconds}");
        let shape = if self.is_openai { "application/json" } else { "application/problem+json" };
        assert_eq!(answer.header("content-type"), Some(shape), "{name}");
        assert_eq!(
            answer.json["error"]["type"] == "server_error",
            self.is_openai,
            "{name}: {body}"
        );
    }
}

fn reads(world: &World, session: &str, turn: &str) -> Vec<Ask> {
    let get = |name, client: &Client, path: String| {
        let is_openai = path.starts_with("/v1/models");
        Ask { name, request: client.request(Method::GET, &path), effect: None, is_openai }
    };
    let ann = &world.ann;
    vec![
        get("a session", ann, format!("/v1/sessions/{session}")),
        get("sessions", ann, "/v1/sessions".to_owned()),
        get("a history", ann, format!("/v1/sessions/{session}/messages")),
        get("a turn", ann, format!("/v1/turns/{turn}")),
        get("a turn's stream", ann, format!("/v1/turns/{turn}/stream")),
        get("an account", ann, "/v1/quota".to_owned()),
        get("a ledger", ann, "/v1/quota/transactions".to_owned()),
        get("use", ann, "/v1/usage".to_owned()),
        get("an audit", ann, format!("/v1/audit/sessions/{session}")),
        get("by API key", &world.keyed, "/v1/sessions".to_owned()),
        get("models", ann, "/v1/models".to_owned()),
        get("accounts", &world.olga, "/v1/admin/accounts".to_owned()),
    ]
}

/// A write: what it is called, where it goes, and the event that it leaves, which holds `marker`.
struct Write<'a> {
    what: &'static str,
    by: &'a Client,
    to: (Method, String),
    body: Value,
    leaves: (&'static str, String),
}

impl Write<'_> {
    fn ask(self, name: &str) -> Ask {
        let (method, path) = self.to;
        let key = format!("{name} {}", self.what);
        let request = self.by.request(method, &path).header("idempotency-key", key);
        let (request, is_openai) = (request.json(&self.body), path.starts_with("/v1/chat"));
        Ask { name: self.what, request, effect: Some(self.leaves), is_openai }
    }
}

fn writes(world: &World, name: &str, session: &str, running: &str) -> Vec<Ask> {
    let (ann, olga) = (&world.ann, &world.olga);
    let write = |what, by, to: (Method, String), body, event, marker: &str| {
        Write { what, by, to, body, leaves: (event, marker.to_owned()) }.ask(name)
    };
    let post = |path: &str| (Method::POST, path.to_owned());
    let patch = |path: &str| (Method::PATCH, path.to_owned());
    let session = format!("/v1/sessions/{session}");
    let marked = |what: &str| format!("{name} {what}");
    let (opened, said, renamed) = (marked("opened"), marked("said"), marked("renamed"));
    let (paid, shown, asked) = (marked("paid"), marked("shown"), marked("asked"));
    let open = json!({ "title": opened });
    let send = json!({ "content": format!("{said} [[tokens=3]]") });
    let rename = json!({ "title": renamed });
    let pay = json!({ "tokens": 5, "reason": paid });
    let show = json!({ "display_name": shown });
    let question = json!([{ "role": "user", "content": format!("{asked} [[tokens=3]]") }]);
    let chat = json!({ "model": "scripted", "messages": question });
    let (messages, stop) = (format!("{session}/messages"), format!("/v1/turns/{running}/cancel"));
    let accounts = "/v1/admin/accounts/ann/recharge";
    vec![
        write("open a session", ann, post("/v1/sessions"), open, "SessionCreated", &opened),
        write("send a message", ann, post(&messages), send, "MessageSent", &said),
        write("rename a session", ann, patch(&session), rename, "SessionRenamed", &renamed),
        write("stop a turn", ann, post(&stop), Value::Null, "CancelRequested", running),
        write("recharge", olga, post(accounts), pay, "QuotaRecharged", &paid),
        write(
            "change a model",
            olga,
            patch("/v1/admin/models/other"),
            show,
            "ModelChanged",
            &shown,
        ),
        write("complete a chat", ann, post("/v1/chat/completions"), chat, "MessageSent", &asked),
    ]
}
