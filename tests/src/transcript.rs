//! What a client has seen of a turn, over any number of connections, and the text it makes of
//! it by the rules of the protocol: deltas lie end to end, and only a restart takes text back.

use serde_json::Value;

use crate::sse::{EventStream, SseEvent};

/// The events of one turn, in the order a client saw them.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    /// All events but signs of life.
    pub events: Vec<SseEvent>,
    text: String,
    attempt: u64,
    sequence: u64,
}

impl Transcript {
    /// Reads `stream` to its end, which must be the turn's.
    pub async fn of(mut stream: EventStream) -> Self {
        let mut transcript = Self::default();
        transcript.read_on(&mut stream).await;
        transcript.assert_ended();
        transcript
    }

    /// Reads on until the stream ends or breaks.
    pub async fn read_on(&mut self, stream: &mut EventStream) {
        while let Ok(Some(event)) = stream.next_real().await {
            self.take(event);
        }
    }

    /// Reads on until `count` deltas were seen in all. False if the stream ended before.
    pub async fn read_deltas(&mut self, stream: &mut EventStream, count: usize) -> bool {
        while self.deltas() < count {
            match stream.next_real().await {
                Ok(Some(event)) => self.take(event),
                _ => return false,
            }
        }
        true
    }

    /// Takes in the next event, which must fit.
    pub fn take(&mut self, event: SseEvent) {
        self.try_take(event).unwrap_or_else(|problem| panic!("{problem}"));
    }

    /// Takes in the next event.
    ///
    /// # Errors
    /// With what is wrong, if it doesn't fit.
    pub fn try_take(&mut self, event: SseEvent) -> Result<(), String> {
        check(self.end().is_none(), || format!("{event:?} after the end of the turn"))?;
        match event.name.as_str() {
            "turn.started" => self.begin(&event.json())?,
            "turn.restarted" => {
                self.restart(&event.json())?;
                // One that keeps text stands in for the delta that would repeat it.
                let place = event.id.as_ref().and_then(|id| id.rsplit_once('-'));
                self.sequence = place.map_or(0, |(_, sequence)| sequence.parse().unwrap());
            }
            "delta" => self.add(&event.json())?,
            "stream.closing" | "quota.warning" => {}
            _ => check(event.is_end(), || format!("unexpected {event:?}"))?,
        }
        if let Some(id) = &event.id {
            check(!self.ids().contains(&id.as_str()), || format!("{id} came twice"))?;
        }
        self.events.push(event);
        Ok(())
    }

    fn begin(&mut self, data: &Value) -> Result<(), String> {
        let attempt = number(data, "attempt");
        check(attempt > self.attempt, || format!("attempt {attempt} after {}", self.attempt))?;
        self.attempt = attempt;
        self.sequence = 0;
        Ok(())
    }

    /// What lies behind the offset is taken back.
    fn restart(&mut self, data: &Value) -> Result<(), String> {
        self.begin(data)?;
        let offset = usize::try_from(number(data, "offset")).unwrap();
        check(self.text.is_char_boundary(offset), || format!("nothing ends at {data}"))?;
        self.text.truncate(offset);
        Ok(())
    }

    fn add(&mut self, data: &Value) -> Result<(), String> {
        let fits = [
            (number(data, "attempt"), self.attempt),
            (number(data, "sequence"), self.sequence + 1),
            (number(data, "offset"), self.text.len() as u64),
        ];
        let whole = fits.iter().all(|(is, expected)| is == expected);
        check(whole, || format!("a piece is missing: {data}, (is, expected): {fits:?}"))?;
        self.sequence += 1;
        self.text.push_str(data["text"].as_str().unwrap());
        Ok(())
    }

    /// The text put together from the deltas.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The number of deltas.
    pub fn deltas(&self) -> usize {
        self.events.iter().filter(|event| event.name == "delta").count()
    }

    /// All ids, in order.
    pub fn ids(&self) -> Vec<&str> {
        self.events.iter().filter_map(|event| event.id.as_deref()).collect()
    }

    /// The last id, with which to go on.
    pub fn last_id(&self) -> Option<&str> {
        self.ids().last().copied()
    }

    /// The event that ended the turn.
    pub fn end(&self) -> Option<&SseEvent> {
        self.events.last().filter(|event| event.is_end())
    }

    /// Fails unless the turn was seen to end.
    pub fn assert_ended(&self) {
        assert!(self.end().is_some(), "the stream ended before the turn: {:?}", self.events);
    }

    /// Fails unless the turn was completed; tells the last event's data.
    pub fn completed(&self) -> Value {
        let end = self.end().unwrap_or_else(|| panic!("not ended: {:?}", self.events));
        assert_eq!(end.name, "turn.completed", "{end:?}");
        end.json()
    }

    /// The text of the message that the completion holds.
    pub fn message_text(&self) -> String {
        content_text(&self.completed()["message"]["content"])
    }

    /// The turn's id.
    pub fn turn_id(&self) -> String {
        let named = self.events.iter().find(|event| event.name.starts_with("turn."));
        named.expect("a turn").json()["turn_id"].as_str().unwrap().to_owned()
    }
}

/// The text parts of a message's content, joined.
pub fn content_text(content: &Value) -> String {
    let parts = content.as_array().unwrap_or_else(|| panic!("no list of parts: {content}"));
    let text =
        |part: &Value| part["text"].as_str().filter(|_| part["type"] == "text").map(str::to_owned);
    parts.iter().filter_map(text).collect()
}

fn number(data: &Value, name: &str) -> u64 {
    data[name].as_u64().unwrap_or_else(|| panic!("no number {name:?} in {data}"))
}

fn check(fits: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if fits { Ok(()) } else { Err(problem()) }
}
