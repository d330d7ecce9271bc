//! The load: connections that each ask for one streamed answer after the other.
//!
//! HTTP/1.1 by hand, because the client shares the machine with what it measures. Every
//! answer is read to its end and its text compared.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Failure;

/// No answer takes longer, or the run has failed.
const PATIENCE: Duration = Duration::from_secs(30);
const CONTENT: &str = "\"content\":\"";
const DONE: &str = "data: [DONE]\n\n";
const LAST_CHUNK: &str = "0\r\n\r\n";

/// Where to ask, and what for.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    /// The whole request, head and body.
    pub(crate) request: Arc<[u8]>,
    /// The text of every answer.
    pub(crate) expected: Arc<str>,
}

/// What was measured: times in order, shortest first.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) elapsed: Duration,
    pub(crate) first_token: Vec<Duration>,
    pub(crate) whole: Vec<Duration>,
}

impl Measured {
    /// Answers a second.
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 answers")]
    pub(crate) fn rate(&self) -> f64 {
        self.whole.len() as f64 / self.elapsed.as_secs_f64()
    }
}

impl Load {
    /// Keeps `connections` busy for `duration`.
    pub(crate) async fn run(
        &self,
        connections: usize,
        duration: Duration,
    ) -> Result<Measured, Failure> {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            tasks.spawn(self.clone().keep_asking(started + duration));
        }
        let mut measured = Measured::default();
        while let Some(one) = tasks.join_next().await {
            let one = one??;
            measured.first_token.extend(one.first_token);
            measured.whole.extend(one.whole);
        }
        measured.elapsed = started.elapsed();
        measured.first_token.sort_unstable();
        measured.whole.sort_unstable();
        Ok(measured)
    }

    async fn keep_asking(self, until: Instant) -> Result<Measured, Failure> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let mut measured = Measured::default();
        let mut buffer = Vec::with_capacity(64 * 1024);
        while Instant::now() < until {
            let (first, whole) =
                tokio::time::timeout(PATIENCE, self.ask(&mut stream, &mut buffer)).await??;
            measured.first_token.push(first);
            measured.whole.push(whole);
        }
        Ok(measured)
    }

    async fn ask(
        &self,
        stream: &mut TcpStream,
        buffer: &mut Vec<u8>,
    ) -> Result<(Duration, Duration), Failure> {
        let started = Instant::now();
        stream.write_all(&self.request).await?;
        buffer.clear();
        let mut first = None;
        loop {
            if stream.read_buf(buffer).await? == 0 {
                return Err(format!("the connection broke off: {}", shown(buffer)).into());
            }
            let answer = std::str::from_utf8(buffer).unwrap_or_default();
            if first.is_none() && says_something(answer) {
                first = Some(started.elapsed());
            }
            if answer.ends_with(LAST_CHUNK) {
                break;
            }
        }
        let whole = started.elapsed();
        let answer = std::str::from_utf8(buffer)?;
        if !answer.contains(DONE) || text(answer) != *self.expected {
            return Err(format!("not the expected answer: {}", shown(buffer)).into());
        }
        Ok((first.unwrap_or(whole), whole))
    }
}

/// Whether a chunk with text is there; the first one often has an empty text.
fn says_something(answer: &str) -> bool {
    answer
        .match_indices(CONTENT)
        .any(|(at, _)| answer[at + CONTENT.len()..].chars().next().is_some_and(|next| next != '"'))
}

/// All pieces of text, joined. Line breaks are all that the provider's words need escaped.
fn text(answer: &str) -> String {
    let pieces = answer.match_indices(CONTENT).map(|(at, _)| {
        let rest = &answer[at + CONTENT.len()..];
        &rest[..rest.find('"').unwrap_or(rest.len())]
    });
    pieces.collect::<String>().replace("\\n", "\n")
}

fn shown(buffer: &[u8]) -> String {
    String::from_utf8_lossy(&buffer[..buffer.len().min(600)]).into_owned()
}
