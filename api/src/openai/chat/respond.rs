//! A turn as a Chat Completions answer: whole, or as chunks.
//!
//! `OpenAI`'s SDKs take only `data:` lines here: an `id:` or `retry:` line makes a later
//! comment look like an event to them, so signs of life are bare comments.

use std::convert::Infallible;

use axum::Json;
use axum::http::StatusCode;
use axum::response::Response;
use broker::{Delta, Frame, Terminal, ToolCallDelta};
use bytes::Bytes;
use domain::session::TurnError;
use domain::{Completion, ContentPart, FinishReason, SessionId, TurnId, Usage, content};
use futures::Stream;
use serde_json::{Value, json};

use super::Abandon;
use crate::error::ApiError;
use crate::sse;
use crate::state::ApiState;
use crate::turn_stream::TurnStream;

/// An answer on its way.
pub(super) struct Completing {
    pub(super) state: ApiState,
    pub(super) watched: TurnStream,
    pub(super) abandon: Option<Abandon>,
    pub(super) turn_id: TurnId,
    pub(super) session_id: SessionId,
    pub(super) model: String,
    pub(super) created: i64,
    pub(super) include_usage: bool,
}

impl Completing {
    fn id(&self) -> String {
        format!("chatcmpl-{}", self.turn_id.0.simple())
    }

    fn disarm(&mut self) {
        if let Some(abandon) = &mut self.abandon {
            abandon.disarm();
        }
    }

    /// The whole answer, when it is there.
    pub(super) async fn whole(mut self) -> Result<Json<Value>, ApiError> {
        let stopping = self.state.stopping.clone();
        loop {
            let frame = tokio::select! {
                frame = self.watched.next() => frame?,
                () = stopping.cancelled() => {
                    self.disarm();
                    return Err(stopped(self.turn_id));
                }
            };
            let Some(frame) = frame else { return Err(stopped(self.turn_id)) };
            if let Frame::Ended { terminal, .. } = &*frame {
                self.disarm();
                return match terminal {
                    Terminal::Completed { finish_reason, completion } => {
                        Ok(Json(self.body(*finish_reason, completion)))
                    }
                    Terminal::Failed { error } => Err(failure(error)),
                    Terminal::Cancelled { .. } => Err(failure(&cancelled())),
                };
            }
        }
    }

    fn body(&self, finish_reason: FinishReason, completion: &Completion) -> Value {
        let parts = &completion.message.content;
        let text = content::text_of(parts);
        let calls: Vec<Value> = parts.iter().filter_map(tool_call).collect();
        let mut message = json!({ "role": "assistant", "content": text, "refusal": null });
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
            if text.is_empty() {
                message["content"] = Value::Null;
            }
        }
        if let Some(ContentPart::Reasoning { text }) = parts.first() {
            message["reasoning_content"] = json!(text);
        }
        json!({
            "id": self.id(),
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [{
                "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason,
            }],
            "usage": usage_view(&completion.usage),
            "session_id": self.session_id,
            "turn_id": self.turn_id,
        })
    }

    /// The answer as it comes.
    pub(super) fn stream(self) -> Response {
        sse::response(self.chunks())
    }

    fn chunks(mut self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        async_stream::stream! {
            let stopping = self.state.stopping.clone();
            let keep_alive = self.state.keep_alive;
            let mut attempt = 0;
            let mut said_anything = false;
            loop {
                let next = tokio::select! {
                    next = tokio::time::timeout(keep_alive, self.watched.next()) => next,
                    () = stopping.cancelled() => {
                        self.disarm();
                        yield Ok(error_chunk(&stopped(self.turn_id)));
                        return;
                    }
                };
                let frame = match next {
                    Err(_) => {
                        yield Ok(Bytes::from_static(b": keep-alive\n\n"));
                        continue;
                    }
                    Ok(Ok(Some(frame))) => frame,
                    Ok(Ok(None)) => return,
                    Ok(Err(error)) => {
                        yield Ok(error_chunk(&error));
                        return;
                    }
                };
                // Chunks can't be taken back: a new attempt after the first words ends it.
                if frame.place().0 > attempt && said_anything {
                    self.disarm();
                    yield Ok(error_chunk(&interrupted(self.turn_id)));
                    return;
                }
                attempt = frame.place().0;
                said_anything |= matches!(*frame, Frame::Delta { .. });
                if matches!(*frame, Frame::Ended { .. }) {
                    self.disarm();
                }
                yield Ok(self.chunk(&frame));
            }
        }
    }

    fn chunk(&self, frame: &Frame) -> Bytes {
        match frame {
            Frame::Started { .. } => {
                let delta = json!({ "role": "assistant", "content": "", "refusal": null });
                data(&self.chunk_of(&delta, None))
            }
            Frame::Delta { delta, .. } => data(&self.chunk_of(&delta_view(delta), None)),
            Frame::Ended {
                terminal: Terminal::Completed { finish_reason, completion }, ..
            } => self.last_chunks(*finish_reason, &completion.usage),
            Frame::Ended { terminal: Terminal::Failed { error }, .. } => {
                error_chunk(&failure(error))
            }
            Frame::Ended { terminal: Terminal::Cancelled { .. }, .. } => {
                error_chunk(&failure(&cancelled()))
            }
        }
    }

    fn last_chunks(&self, finish_reason: FinishReason, usage: &Usage) -> Bytes {
        let mut last = data(&self.chunk_of(&json!({}), Some(finish_reason))).to_vec();
        if self.include_usage {
            let mut chunk = self.envelope(&json!([]));
            chunk["usage"] = usage_view(usage);
            last.extend_from_slice(&data(&chunk));
        }
        last.extend_from_slice(b"data: [DONE]\n\n");
        Bytes::from(last)
    }

    fn chunk_of(&self, delta: &Value, finish_reason: Option<FinishReason>) -> Value {
        let choice = json!({
            "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason,
        });
        let mut chunk = self.envelope(&json!([choice]));
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn envelope(&self, choices: &Value) -> Value {
        json!({
            "id": self.id(),
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }
}

fn data(chunk: &Value) -> Bytes {
    Bytes::from(format!("data: {chunk}\n\n"))
}

/// The SDKs raise an error for a chunk with an `error`; nothing follows it.
fn error_chunk(error: &ApiError) -> Bytes {
    data(&error.openai(None))
}

fn delta_view(delta: &Delta) -> Value {
    let mut view = json!({});
    if !delta.text.is_empty() {
        view["content"] = json!(delta.text);
    }
    if !delta.reasoning.is_empty() {
        view["reasoning_content"] = json!(delta.reasoning);
    }
    if !delta.tool_calls.is_empty() {
        view["tool_calls"] = delta.tool_calls.iter().map(tool_call_delta).collect();
    }
    view
}

fn tool_call_delta(call: &ToolCallDelta) -> Value {
    let mut function = json!({ "arguments": call.arguments });
    if let Some(name) = &call.name {
        function["name"] = json!(name);
    }
    let mut view = json!({ "index": call.index, "function": function });
    if let Some(id) = &call.id {
        view["id"] = json!(id);
        view["type"] = json!("function");
    }
    view
}

fn tool_call(part: &ContentPart) -> Option<Value> {
    let ContentPart::ToolCall { id, name, arguments } = part else { return None };
    let function = json!({ "name": name, "arguments": arguments });
    Some(json!({ "id": id, "type": "function", "function": function }))
}

fn usage_view(usage: &Usage) -> Value {
    let mut view = json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens(),
        "prompt_tokens_details": { "cached_tokens": usage.cached_tokens },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
    });
    // Our extension: the provider gave no count.
    if usage.estimated {
        view["estimated"] = json!(true);
    }
    view
}

/// A failed turn as the HTTP error it would have been at the provider.
fn failure(error: &TurnError) -> ApiError {
    let status = match error.code.as_str() {
        "context_length_exceeded" | "provider_rejected" => StatusCode::BAD_REQUEST,
        "provider_rate_limited" => StatusCode::TOO_MANY_REQUESTS,
        "provider_timeout" => StatusCode::GATEWAY_TIMEOUT,
        "provider_unavailable" => StatusCode::SERVICE_UNAVAILABLE,
        "turn_cancelled" => StatusCode::CONFLICT,
        _ => StatusCode::BAD_GATEWAY,
    };
    ApiError::new(status, &error.code, error.message.clone())
}

fn cancelled() -> TurnError {
    TurnError { code: "turn_cancelled".to_owned(), message: "the turn was cancelled".to_owned() }
}

fn stopped(turn_id: TurnId) -> ApiError {
    let detail = format!("the server is stopping; GET /v1/turns/{turn_id} has the answer soon");
    ApiError { code: "stopping".to_owned(), ..ApiError::unavailable(detail) }
}

fn interrupted(turn_id: TurnId) -> ApiError {
    let detail = format!(
        "the answer was started anew by another worker; GET /v1/turns/{turn_id} has it soon"
    );
    ApiError::new(StatusCode::BAD_GATEWAY, "attempt_superseded", detail)
}
