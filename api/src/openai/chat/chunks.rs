//! A turn as chunks, as it comes.
//!
//! `OpenAI`'s SDKs take only `data:` lines here: an `id:` or `retry:` line makes a later
//! comment look like an event to them, so signs of life are bare comments.

use std::convert::Infallible;

use axum::response::Response;
use broker::{Delta, Frame, Terminal, ToolCallDelta};
use bytes::Bytes;
use domain::{FinishReason, Usage};
use futures::Stream;
use serde_json::{Value, json};

use super::rejoin::{Diverged, Rejoin};
use super::respond::{Completing, cancelled, failure, interrupted, stopped, usage_view};
use crate::error::ApiError;
use crate::sse;

/// What a stream has said so far.
#[derive(Default)]
struct Said {
    /// That an assistant speaks.
    role: bool,
    answer: Rejoin,
}

impl Completing {
    /// The answer as it comes.
    pub(super) fn stream(self) -> Response {
        sse::response(self.chunks())
    }

    fn chunks(mut self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        async_stream::stream! {
            let ending = self.state.ending.clone();
            let keep_alive = self.state.keep_alive;
            let mut said = Said::default();
            loop {
                let next = tokio::select! {
                    next = tokio::time::timeout(keep_alive, self.watched.next()) => next,
                    () = ending.cancelled() => {
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
                if matches!(*frame, Frame::Ended { .. }) {
                    self.disarm();
                }
                match self.chunk(&frame, &mut said) {
                    Ok(Some(chunk)) => yield Ok(chunk),
                    Ok(None) => {}
                    // Chunks can't be taken back.
                    Err(Diverged) => {
                        self.disarm();
                        yield Ok(error_chunk(&interrupted(self.turn_id)));
                        return;
                    }
                }
            }
        }
    }

    /// The chunk that `frame` makes after what was `said`; none if it makes none.
    fn chunk(&self, frame: &Frame, said: &mut Said) -> Result<Option<Bytes>, Diverged> {
        Ok(match frame {
            Frame::Started { continued, .. } => {
                said.answer.restart(*continued > 0)?;
                let is_first = !std::mem::replace(&mut said.role, true);
                let delta = json!({ "role": "assistant", "content": "", "refusal": null });
                is_first.then(|| data(&self.chunk_of(&delta, None)))
            }
            Frame::Delta { delta, .. } => {
                let rest = said.answer.take(delta)?;
                rest.map(|delta| data(&self.chunk_of(&delta_view(&delta), None)))
            }
            Frame::Ended {
                terminal: Terminal::Completed { finish_reason, completion }, ..
            } => {
                said.answer.finish()?;
                Some(self.last_chunks(*finish_reason, &completion.usage))
            }
            Frame::Ended { terminal: Terminal::Failed { error }, .. } => {
                Some(error_chunk(&failure(error)))
            }
            Frame::Ended { terminal: Terminal::Cancelled { .. }, .. } => {
                Some(error_chunk(&failure(&cancelled())))
            }
        })
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
