//! Server-sent events, as a client reads them.

use std::time::Duration;

use serde_json::Value;

/// Nothing, not even a sign of life, for this long: the stream is stuck.
const PATIENCE: Duration = Duration::from_secs(30);
/// Nothing but signs of life for this long: the turn is stuck. A lost worker is missed only
/// when its lease is over.
const REAL_PATIENCE: Duration = Duration::from_secs(60);

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SseEvent {
    /// Its `id`, if it has one itself.
    pub id: Option<String>,
    /// Its name; empty for one without.
    pub name: String,
    /// Its data.
    pub data: String,
}

impl SseEvent {
    /// The data as JSON.
    pub fn json(&self) -> Value {
        let parsed = serde_json::from_str(&self.data);
        parsed.unwrap_or_else(|error| panic!("{error} in the data of {self:?}"))
    }

    /// Whether it ends its turn.
    pub fn is_end(&self) -> bool {
        matches!(self.name.as_str(), "turn.completed" | "turn.failed" | "turn.cancelled")
    }
}

/// An open stream of events.
pub struct EventStream {
    response: reqwest::Response,
    buffer: Vec<u8>,
    /// Comment lines seen.
    pub comments: usize,
}

impl EventStream {
    /// Reads the body of `response`, which must be a stream of events.
    pub fn new(response: reqwest::Response) -> Self {
        let kind = response.headers().get("content-type").cloned();
        let kind = kind.as_ref().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "{} {kind:?}", response.status());
        Self { response, buffer: Vec::new(), comments: 0 }
    }

    /// A header of the response.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// The next event; none at the end of the stream.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<SseEvent>, reqwest::Error> {
        loop {
            while let Some(end) = find(&self.buffer, b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let text = String::from_utf8(block).expect("events are UTF-8");
                if let Some(event) = self.parse(&text) {
                    return Ok(Some(event));
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            let Some(bytes) = chunk.expect("a stream gives a sign of life")? else {
                assert!(self.buffer.is_empty(), "the stream ended in the middle of an event");
                return Ok(None);
            };
            self.buffer.extend_from_slice(&bytes);
        }
    }

    /// The next event that is no sign of life.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next_real(&mut self) -> Result<Option<SseEvent>, reqwest::Error> {
        let search = async {
            loop {
                match self.next().await? {
                    Some(event) if event.name == "keep-alive" => {}
                    other => return Ok(other),
                }
            }
        };
        tokio::time::timeout(REAL_PATIENCE, search).await.expect("a turn gets on")
    }

    fn parse(&mut self, block: &str) -> Option<SseEvent> {
        let mut event = SseEvent::default();
        let mut fields = 0;
        for line in block.lines().filter(|line| !line.is_empty()) {
            if line.starts_with(':') {
                self.comments += 1;
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            fields += 1;
            match name {
                "id" => event.id = Some(value.to_owned()),
                "event" => value.clone_into(&mut event.name),
                "data" if event.data.is_empty() => value.clone_into(&mut event.data),
                "data" => event.data = format!("{}\n{value}", event.data),
                other => panic!("unknown field {other:?} in {block:?}"),
            }
        }
        (fields > 0).then_some(event)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
