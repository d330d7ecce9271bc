//! Server-sent events of the native routes (WHATWG HTML, 9.2).
//!
//! Every frame has an id `{attempt}-{sequence}`, which a client sends back as `Last-Event-ID`
//! to go on exactly there. Signs of life are named events without an id.

use std::fmt::Write;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use broker::{Cursor, Frame};
use bytes::Bytes;
use domain::TurnId;
use futures::Stream;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::on_disconnect::Abandon;
use crate::state::ApiState;
use crate::teller::{Teller, Told};
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

/// What is told before `frame`: the limits of the account of which the turn's settlement left
/// little. They have no id, for they belong to the end and come again with it.
fn warnings(turn_id: TurnId, frame: &Frame) -> Bytes {
    let Frame::Ended { settlement, .. } = frame else { return Bytes::new() };
    let told = settlement.warnings.iter().map(|threshold| {
        let mut data = json!(threshold);
        data["turn_id"] = json!(turn_id);
        event("quota.warning", None, &data)
    });
    told.collect::<Vec<_>>().concat().into()
}

/// What a stream of one turn has to know.
pub(crate) struct Watching {
    pub(crate) turn_id: TurnId,
    pub(crate) watched: TurnStream,
    /// Cancels the turn if the client leaves before its end.
    pub(crate) abandon: Option<Abandon>,
}

/// The events of one turn until its end, or until the process stops: then a last event tells
/// where to go on.
pub(crate) fn turn_events(
    watching: Watching,
    state: &ApiState,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + use<> {
    let Watching { turn_id, mut watched, mut abandon } = watching;
    let (keep_alive_every, stopping) = (state.keep_alive, state.stopping.clone());
    async_stream::stream! {
        let mut teller = Teller::new(turn_id, watched.cursor());
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout(keep_alive_every, watched.next()) => next,
                () = stopping.cancelled() => {
                    // The client is sent elsewhere: it does not leave.
                    if let Some(abandon) = &mut abandon {
                        abandon.disarm();
                    }
                    yield Ok(closing(teller.cursor()));
                    return;
                }
            };
            match next {
                Err(_) => yield Ok(keep_alive()),
                Ok(Ok(Some(frame))) => {
                    if let (Frame::Ended { .. }, Some(abandon)) = (&*frame, &mut abandon) {
                        abandon.disarm();
                    }
                    let told = teller.tell(&frame);
                    if !told.is_empty() {
                        yield Ok(told_of(turn_id, &frame, &told, Told::id));
                    }
                }
                Ok(Ok(None)) => return,
                Ok(Err(error)) => {
                    // The client is asked to come again.
                    if let Some(abandon) = &mut abandon {
                        abandon.disarm();
                    }
                    yield Ok(broken(&error));
                    return;
                }
            }
        }
    }
}

/// The bytes of what is told of `frame`, each under the id that `id` makes.
pub(crate) fn told_of(
    turn_id: TurnId,
    frame: &Frame,
    told: &[Told],
    id: impl Fn(&Told) -> String,
) -> Bytes {
    let events = told.iter().map(|told| event(told.name, Some(&id(told)), &told.data));
    [warnings(turn_id, frame)].into_iter().chain(events).collect::<Vec<_>>().concat().into()
}

/// The error with which a stream ends that can't go on.
pub(crate) fn broken(error: &ApiError) -> Bytes {
    event("error", None, &json!({ "code": error.code, "detail": error.detail }))
}

/// The hint with which a stream ends early: connect again with `resume` as `Last-Event-ID`.
pub(crate) fn closing(cursor: Cursor) -> Bytes {
    event("stream.closing", None, &json!({ "resume": resume_id(cursor) }))
}

/// The id of the last frame that `cursor` has seen, if any.
pub(crate) fn resume_id(cursor: Cursor) -> Option<String> {
    cursor.next.checked_sub(1).map(|last| format!("{}-{last}", cursor.attempt))
}
