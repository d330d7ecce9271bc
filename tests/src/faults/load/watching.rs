//! Turns that are watched to their end, over as many connections as it takes.

use std::time::{Duration, Instant};

use rand::Rng;
use reqwest::Method;

use crate::faults::record::Watched;
use crate::sse::EventStream;
use crate::transcript::{Transcript, content_text};

use super::sending::PATIENCE;
use super::user::User;

/// Signs of life come every 10 seconds; a stream without one is left for another node.
const SIGN_OF_LIFE: Duration = Duration::from_secs(12);
/// Before the next connection.
const PAUSE: Duration = Duration::from_millis(50);

/// One turn being watched.
#[derive(Default)]
pub(super) struct Watching {
    pub(super) transcript: Transcript,
    connections: usize,
    restarts: Vec<(Instant, i64)>,
}

impl User {
    /// Watches `turn` to its end. One who `leaves` does so after some events and comes back.
    /// After `cancelled` words it is cancelled.
    pub(super) async fn watch(&mut self, turn: &str, leaves: bool, cancelled: Option<usize>) {
        self.watch_on(turn, Watching::default(), leaves, cancelled).await;
    }

    pub(super) async fn watch_on(
        &mut self,
        turn: &str,
        mut watching: Watching,
        leaves: bool,
        mut cancelled: Option<usize>,
    ) {
        let began = Instant::now();
        while watching.transcript.end().is_none() {
            assert!(began.elapsed() < PATIENCE, "I9: turn {turn} is stuck");
            let Some(stream) = self.connect(turn, &watching).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let stay = if leaves { self.dice.random_range(1..8) } else { usize::MAX };
            let stop = watching.transcript.events.len().saturating_add(stay);
            let until = |seen: &Transcript| {
                seen.events.len() >= stop || cancelled.is_some_and(|words| seen.deltas() >= words)
            };
            if let Err(what) = watching.read(stream, until).await {
                self.record().wrong("I5", format!("turn {turn}: {what}"));
                return;
            }
            if cancelled.is_some_and(|words| watching.transcript.deltas() >= words) {
                cancelled = None;
                self.cancel(turn).await;
            }
        }
        self.has_watched(turn, &watching);
    }

    /// Opens the turn's stream at any node; none if it has to be tried again.
    async fn connect(&mut self, turn: &str, watching: &Watching) -> Option<EventStream> {
        let client = self.client();
        let request = client.request(Method::GET, &format!("/v1/turns/{turn}/stream"));
        let request = request.header("accept", "text/event-stream");
        let request = match watching.transcript.last_id() {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        let response = tokio::time::timeout(SIGN_OF_LIFE, request.send()).await.ok()?.ok()?;
        if response.status() == 200 {
            return Some(EventStream::new(response));
        }
        let answer = crate::client::Answer::read(response).await.ok()?;
        self.mind(&answer);
        if answer.status < 500 && answer.status != 412 {
            self.record().wrong("I5", format!("the stream of turn {turn}: {answer:?}"));
        }
        None
    }

    /// Notes what was seen of a turn that has ended.
    fn has_watched(&self, turn: &str, watching: &Watching) {
        let seen = &watching.transcript;
        let Some(end) = seen.end() else { return };
        let content = &end.json()["message"]["content"];
        self.record().entries().watched.push(Watched {
            turn: turn.to_owned(),
            text: seen.text().to_owned(),
            end: end.name.clone(),
            told: content.is_array().then(|| content_text(content)),
            connections: watching.connections,
            restarts: watching.restarts.clone(),
        });
    }
}

impl Watching {
    /// Reads until the stream ends, breaks or falls silent, or `enough` says so.
    ///
    /// # Errors
    /// With what broke the protocol.
    pub(super) async fn read(
        &mut self,
        mut stream: EventStream,
        enough: impl Fn(&Transcript) -> bool + Send,
    ) -> Result<(), String> {
        self.connections += 1;
        // Signs of life alone are not enough.
        let began = Instant::now();
        while self.transcript.end().is_none()
            && !enough(&self.transcript)
            && began.elapsed() < PATIENCE
        {
            match tokio::time::timeout(SIGN_OF_LIFE, stream.next()).await {
                Ok(Ok(Some(event))) if event.name == "keep-alive" => {}
                // The stream cannot go on; the turn can.
                Ok(Ok(Some(event))) if event.name == "error" => return Ok(()),
                Ok(Ok(Some(event))) => {
                    if event.name == "turn.restarted" {
                        let attempt = event.json()["attempt"].as_i64().unwrap_or(0);
                        self.restarts.push((Instant::now(), attempt));
                    }
                    self.transcript.try_take(event)?;
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}
