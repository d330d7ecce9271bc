//! More than there is room for: turns that nobody takes, and clients that read nothing.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Client, Cluster, Transcript, eventually, found};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{BINARY, SOON};

const CHAT: &str = "/v1/chat/completions";

fn said(text: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": text }] })
}

/// A turn that was requested under a key.
struct Accepted {
    path: String,
    key: String,
    turn: String,
    position: i64,
}

/// Requests `room` turns, after which `client` is refused with `status`; tells which they are.
async fn fill(client: &Client, room: usize, status: u16) -> Vec<Accepted> {
    let mut accepted = Vec::new();
    let path = format!("/v1/sessions/{}/messages", client.create_session().await);
    while accepted.len() < room {
        let path = format!("/v1/sessions/{}/messages", client.create_session().await);
        let key = format!("filling {}", accepted.len());
        // What ended a moment ago may still count.
        let answer = found("there is room", SOON, async || {
            let answer = client.post_once(&path, &key, &waits()).await;
            (answer.status == 202).then_some(answer)
        })
        .await;
        let (turn, position) = (answer.text("/turn_id"), answer.number("/position"));
        accepted.push(Accepted { path, key, turn, position });
    }
    let refused = client.post(&path, &waits()).await.expect(status);
    assert_eq!(refused.code(), "queue_full");
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    accepted
}

fn waits() -> Value {
    json!({ "content": "waits" })
}

#[tokio::test]
async fn turns_that_nobody_takes_are_refused_beyond_a_limit() {
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api,projector,relay")
        .node("b", "api,projector,relay")
        .node("worker", "worker")
        .config("[queue]\nmax_waiting_per_tenant = 4\nmax_waiting = 6\n")
        .start()
        .await;
    let ann = cluster.client("a", "acme", "ann");
    let session = ann.create_session().await;
    let done = ann.say(&session, "before").await.turn_id();
    cluster.node("worker").kill();
    let accepted = fill(&ann, 4, 429).await;

    // Every way to ask for a turn, at every node, by whoever is of the tenant.
    let (at_b, bob) = (ann.at(cluster.base("b")), cluster.client("b", "acme", "bob"));
    let path = format!("/v1/sessions/{session}/messages");
    let last = accepted.last().unwrap();
    at_b.get(&format!("/v1/turns/{}?min_position={}", last.turn, last.position)).await.expect(200);
    bob.post(CHAT, &said("no room")).await.expect(429);
    let message = json!({ "content": "no room" });
    let command = json!({ "command": "SendMessage", "session_id": session, "content": "no room" });
    for (path, body) in [
        (path.as_str(), &message),
        (&format!("/v1/turns/{done}/retry"), &json!({})),
        ("/v1/commands", &command),
        (CHAT, &said("no room")),
    ] {
        for node in ["a", "b"] {
            let client = if node == "a" { &ann } else { &at_b };
            let answer = client.post(path, body).await.expect(429);
            assert_eq!(answer.code(), "queue_full", "{path}");
            if path == CHAT {
                assert_eq!(answer.text("/error/type"), "rate_limit_error");
            }
        }
    }
    assert_eq!(ann.history(&session, 0).await.len(), 2, "nothing of it was written");
    // What needs no place goes on, and so does a repeat of what has one.
    ann.patch(&format!("/v1/sessions/{session}"), &json!({ "title": "x" })).await.expect(200);
    for Accepted { path, key, turn, .. } in &accepted {
        for node in ["a", "b"] {
            let again = ann.at(cluster.base(node)).post_once(path, key, &waits()).await;
            assert_eq!(again.expect(202).text("/turn_id"), *turn);
        }
    }

    // Another tenant has room until all have none.
    let eve = cluster.client("a", "other", "eve");
    fill(&eve, 2, 503).await;
    cluster.node("worker").start();
    let accepted = found("there is room again", SOON, async || {
        let answer = ann.post(CHAT, &said("room")).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert!(!accepted.text("/choices/0/message/content").is_empty());
    assert!(cluster.provider.calls("no room").is_empty());
}

/// A client that sends `request` and reads nothing of the answer.
async fn reads_nothing(base: &str, request: &str) -> TcpStream {
    let address: SocketAddr = base.strip_prefix("http://").unwrap().parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Megabytes of memory that the process `pid` has.
fn megabytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1024
}

/// The ports of a client's connection as the server has it: its own first.
fn ports(client: &TcpStream) -> (u16, u16) {
    (client.peer_addr().unwrap().port(), client.local_addr().unwrap().port())
}

/// How many of the connections with these `ports` are open at the process `pid`.
fn open(pid: u32, ports: &[(u16, u16)]) -> usize {
    const ESTABLISHED: &str = "01";
    let port = |address: &str| u16::from_str_radix(address.split_once(':').unwrap().1, 16).unwrap();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let open = lines.filter(|fields| fields[3] == ESTABLISHED);
    // The table may change while it is read, and a line come twice.
    let open: HashSet<_> = open.map(|fields| (port(fields[1]), port(fields[2]))).collect();
    ports.iter().filter(|ports| open.contains(ports)).count()
}

#[tokio::test]
async fn clients_that_read_nothing_cost_little_and_nobody_else() {
    const CLIENTS: usize = 50;
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api")
        .node("core", "worker,projector,relay")
        .patient()
        .config("[http]\nstalled_client_seconds = 3\n")
        .start()
        .await;
    let ann = cluster.client("a", "acme", "ann");
    let session = ann.create_session().await;
    let text = "a long answer [[tokens=600 big=8000 pause=8 gate=1]]";
    let mut stream = ann.stream_message(&session, text).await;
    let turn = stream.header("x-colloquy-turn-id").unwrap().to_owned();
    let mut transcript = Transcript::default();
    assert!(transcript.read_deltas(&mut stream, 1).await);
    let pid = cluster.node("a").pid();
    let memory = megabytes(pid);
    let base = cluster.base("a");
    let token = tests::token::user("acme", "ann");
    let request = format!(
        "GET /v1/turns/{turn}/stream HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    let clients = (0..CLIENTS).map(|_| reads_nothing(&base, &request));
    let mut clients = futures::future::join_all(clients).await;
    let ports: Vec<(u16, u16)> = clients.iter().map(ports).collect();
    assert_eq!(open(pid, &ports), CLIENTS);
    cluster.provider.open("a long answer");
    // The long answer, 5 MB, reaches the one who reads it while the others read nothing.
    transcript.read_on(&mut stream).await;
    let most = megabytes(pid);
    assert_eq!(transcript.text(), transcript.message_text());
    assert_eq!(transcript.text(), cluster.provider.calls("a long answer")[0].text);
    assert!(transcript.text().len() > 4_000_000);
    assert!(most < memory + 120, "{memory} MB became {most} MB");
    eventually("they are hung up on", SOON, async || open(pid, &ports) == 0).await;
    for client in &mut clients {
        let mut rest = Vec::new();
        let broken = tokio::time::timeout(SOON, client.read_to_end(&mut rest)).await.unwrap();
        assert!(broken.is_err(), "the connection was cut off");
    }
    // And the node is as it was.
    ann.say(&session, "a short one").await.completed();
    assert!(
        ann.request(Method::GET, "/health").timeout(Duration::from_secs(5)).send().await.is_ok()
    );
}
