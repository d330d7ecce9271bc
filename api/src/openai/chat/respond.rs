//! A turn as a Chat Completions answer. A client can't go on with it at another node: a stopping
//! one sees its answers through, as long as the grace allows.

use axum::Json;
use axum::http::StatusCode;
use broker::{Frame, Terminal};
use domain::session::TurnError;
use domain::{Completion, ContentPart, FinishReason, SessionId, TurnId, Usage, content};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::on_disconnect::Abandon;
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
    pub(super) created: u64,
    pub(super) include_usage: bool,
}

impl Completing {
    pub(super) fn id(&self) -> String {
        format!("chatcmpl-{}", self.turn_id.0.simple())
    }

    pub(super) fn disarm(&mut self) {
        if let Some(abandon) = &mut self.abandon {
            abandon.disarm();
        }
    }

    /// The whole answer, when it is there.
    pub(super) async fn whole(mut self) -> Result<Json<Value>, ApiError> {
        let ending = self.state.ending.clone();
        loop {
            let frame = tokio::select! {
                frame = self.watched.next() => frame?,
                () = ending.cancelled() => {
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
}

fn tool_call(part: &ContentPart) -> Option<Value> {
    let ContentPart::ToolCall { id, name, arguments } = part else { return None };
    let function = json!({ "name": name, "arguments": arguments });
    Some(json!({ "id": id, "type": "function", "function": function }))
}

pub(super) fn usage_view(usage: &Usage) -> Value {
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
pub(super) fn failure(error: &TurnError) -> ApiError {
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

pub(super) fn cancelled() -> TurnError {
    TurnError { code: "turn_cancelled".to_owned(), message: "the turn was cancelled".to_owned() }
}

pub(super) fn stopped(turn_id: TurnId) -> ApiError {
    let detail = format!("the server is stopping; GET /v1/turns/{turn_id} has the answer soon");
    ApiError { code: "stopping".to_owned(), ..ApiError::unavailable(detail) }
}

pub(super) fn interrupted(turn_id: TurnId) -> ApiError {
    let detail = format!(
        "the answer was begun anew and can't go on in this stream; \
         GET /v1/turns/{turn_id} has it soon"
    );
    ApiError::new(StatusCode::BAD_GATEWAY, "attempt_superseded", detail)
}
