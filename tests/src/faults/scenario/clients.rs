//! Clients that go away, come back all at once, or hardly read.

use std::time::Duration;

use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Stage;
use crate::faults::world::APIS;
use crate::token;

/// A turn that takes its time.
const LONG: &str = "tokens=120 pause=40";
const SLOW: Duration = Duration::from_secs(1);

/// Clients close their connections at any point of a request, and come back with the same key.
pub(super) async fn vanishing(stage: &mut Stage) {
    for _ in 0..stage.by_scale(4, 40) {
        let clients = stage.by_scale(40, 100);
        stage.working.vanish(clients, &mut stage.dice);
        stage.turns(2).await;
    }
}

/// Hundreds watch the same few turns when their node is killed, and all go to the other one;
/// some read a byte a second.
pub(super) async fn stampede(stage: &mut Stage) {
    for _ in 0..stage.by_scale(1, 4) {
        let (watchers, turns) = stage.by_scale((150, 3), (1000, 10));
        let mut slow = JoinSet::new();
        for _ in 0..turns {
            let (owner, accepted) = stage.working.ask(&mut stage.dice, LONG).await;
            let turn = accepted.turn.id;
            stage.working.watch(owner, &turn, watchers / turns, &mut stage.dice);
            for _ in 0..stage.by_scale(2, 5) {
                let node = stage.dice.random_range(0..APIS.len());
                let base = stage.world.cluster.base(APIS[node]);
                let (tenant, user) = stage.working.names(owner);
                slow.spawn(read_slowly(base, token::user(&tenant, &user), turn.clone()));
            }
        }
        stage.turns(2).await;
        for node in APIS {
            stage.world.kill(node);
            stage.world.cluster.node(node).ready().await;
        }
        stage.turns(watchers).await;
        let moved = {
            let entries = stage.working.record().entries();
            entries.watched.iter().filter(|seen| seen.connections > 1).count()
        };
        assert!(moved > watchers / 2, "the fault: {moved} of {watchers} lost their node");
        slow.shutdown().await;
    }
}

/// Reads the stream of `turn` byte by byte.
async fn read_slowly(base: String, token: String, turn: String) {
    let address = base.trim_start_matches("http://").to_owned();
    let Ok(mut stream) = TcpStream::connect(&address).await else { return };
    let request = format!(
        "GET /v1/turns/{turn}/stream HTTP/1.1\r\nhost: {address}\r\n\
         authorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n"
    );
    if stream.write_all(request.as_bytes()).await.is_err() {
        return;
    }
    let mut byte = [0];
    while stream.read_exact(&mut byte).await.is_ok() {
        tokio::time::sleep(SLOW).await;
    }
}
