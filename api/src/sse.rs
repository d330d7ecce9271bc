//! Server-sent events of the native routes (WHATWG HTML, 9.2).
//!
//! Every frame has an id `{attempt}-{sequence}`, which a client sends back as `Last-Event-ID`
//! to go on exactly there. Signs of life are named events without an id.

use std::fmt::Write;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use broker::{Cursor, Frame, Settlement, Terminal};
use bytes::Bytes;
use domain::TurnId;
use futures::Stream;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::turn_stream::TurnStream;

/// One event's bytes. Data is JSON, which has no line breaks.
pub(crate) fn event(name: &str, id: Option<&str>, data: &Value) -> Bytes {
    let mut text = String::with_capacity(96);
    if let Some(id) = id {
        let _ = writeln!(text, "id: {id}");
    }
    let _ = write!(text, "event: {name}\ndata: {data}\n\n");
    Bytes::from(text)
}

/// A sign of life.
pub(crate) fn keep_alive() -> Bytes {
    Bytes::from_static(b"event: keep-alive\ndata: {}\n\n")
}

/// A streaming answer.
pub(crate) fn response<S, E>(stream: S) -> Response
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies that buffer would hold the answer back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// The id of a frame's event.
pub(crate) fn id(frame: &Frame) -> String {
    let (attempt, sequence) = frame.place();
    format!("{attempt}-{sequence}")
}

/// The cursor that a `Last-Event-ID` stands for.
pub(crate) fn parse_id(text: &str) -> Result<Cursor, ApiError> {
    let numbers = text.split_once('-').and_then(|(attempt, sequence)| {
        Some(Cursor::after(attempt.parse().ok()?, sequence.parse().ok()?))
    });
    numbers.ok_or_else(|| {
        let detail = "Last-Event-ID must be an id of this stream, as in `1-17`";
        ApiError::bad_request("invalid_last_event_id", detail)
    })
}

/// The error for a `Last-Event-ID` beyond the end of its stream.
pub(crate) fn never_sent() -> ApiError {
    let detail = "no event with this Last-Event-ID was ever sent; ask with `?from=start`";
    ApiError::bad_request("invalid_last_event_id", detail)
}

/// A frame's event. `seen` is the attempt the client had last: a later one makes it drop what
/// it has.
pub(crate) fn describe(turn_id: TurnId, frame: &Frame, seen: u32) -> (&'static str, Value) {
    match frame {
        Frame::Started { attempt, .. } if seen > 0 && *attempt > seen => {
            ("turn.restarted", json!({ "turn_id": turn_id, "attempt": attempt, "offset": 0 }))
        }
        Frame::Started { attempt, at } => {
            ("turn.started", json!({ "turn_id": turn_id, "attempt": attempt, "at": at }))
        }
        Frame::Delta { attempt, sequence, delta } => {
            let mut data = json!({
                "attempt": attempt, "sequence": sequence,
                "offset": delta.offset, "text": delta.text,
            });
            if !delta.reasoning.is_empty() {
                data["reasoning"] = json!(delta.reasoning);
            }
            if !delta.tool_calls.is_empty() {
                data["tool_calls"] = json!(delta.tool_calls);
            }
            ("delta", data)
        }
        Frame::Ended { attempt, position, terminal, settlement, .. } => {
            let (name, mut data) = describe_end(terminal, settlement);
            data["turn_id"] = json!(turn_id);
            data["attempt"] = json!(attempt);
            data["position"] = json!(position);
            (name, data)
        }
    }
}

fn describe_end(terminal: &Terminal, settlement: &Settlement) -> (&'static str, Value) {
    match terminal {
        Terminal::Completed { finish_reason, completion } => {
            let mut data = json!({
                "message": completion.message, "finish_reason": finish_reason,
                "usage": completion.usage, "credits": settlement.credits,
                "timing": completion.timing,
            });
            if let Some(code) = &completion.stopped_by {
                data["stopped_by"] = json!(code);
            }
            ("turn.completed", data)
        }
        Terminal::Failed { error } => ("turn.failed", json!({ "error": error })),
        Terminal::Cancelled { completion } => {
            let data = json!({
                "message": completion.as_ref().map(|completion| &completion.message),
                "usage": completion.as_ref().map(|completion| completion.usage),
                "credits": settlement.credits,
            });
            ("turn.cancelled", data)
        }
    }
}

/// What is told before `frame`: the limits of the account of which the turn's settlement left
/// little. They have no id, for they belong to the end and come again with it.
pub(crate) fn warnings(turn_id: TurnId, frame: &Frame) -> Bytes {
    let Frame::Ended { settlement, .. } = frame else { return Bytes::new() };
    let told = settlement.warnings.iter().map(|threshold| {
        let mut data = json!(threshold);
        data["turn_id"] = json!(turn_id);
        event("quota.warning", None, &data)
    });
    told.collect::<Vec<_>>().concat().into()
}

/// The events of one turn until its end, or until the process stops: then a last event tells
/// where to go on.
pub(crate) fn turn_events(
    mut watched: TurnStream,
    turn_id: TurnId,
    keep_alive_every: Duration,
    stopping: CancellationToken,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
    async_stream::stream! {
        let mut seen = watched.cursor().attempt;
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout(keep_alive_every, watched.next()) => next,
                () = stopping.cancelled() => {
                    yield Ok(closing(watched.cursor()));
                    return;
                }
            };
            match next {
                Err(_) => yield Ok(keep_alive()),
                Ok(Ok(Some(frame))) => {
                    let (name, data) = describe(turn_id, &frame, seen);
                    seen = frame.place().0;
                    let told = event(name, Some(&id(&frame)), &data);
                    yield Ok([warnings(turn_id, &frame), told].concat().into());
                }
                Ok(Ok(None)) => return,
                Ok(Err(error)) => {
                    yield Ok(event("error", None, &json!({ "code": error.code, "detail": error.detail })));
                    return;
                }
            }
        }
    }
}

/// The hint with which a stream ends early: connect again with `resume` as `Last-Event-ID`.
pub(crate) fn closing(cursor: Cursor) -> Bytes {
    event("stream.closing", None, &json!({ "resume": resume_id(cursor) }))
}

/// The id of the last frame that `cursor` has seen, if any.
pub(crate) fn resume_id(cursor: Cursor) -> Option<String> {
    cursor.next.checked_sub(1).map(|last| format!("{}-{last}", cursor.attempt))
}
