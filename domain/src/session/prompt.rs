//! What a model is shown for a turn: the system prompt, and as much of the branch's newest
//! history as its context holds.
//!
//! The window slides by whole turns (a user message with all that answers it), so a model
//! never sees an answer without its question or a tool's result without its call. Instructions
//! (the system prompt, system messages at the head of the branch) and the newest turn are never
//! cut: if even they don't fit, the provider says so, for it alone counts exactly. A message
//! that was left without an answer is a turn of its own, so one that was too long doesn't stand
//! in the way of those after it.

mod pairs;

use std::collections::HashSet;
use std::sync::Arc;

use crate::content::{ContentPart, Message, Role};
use crate::ids::MessageId;
use crate::models::ModelSpec;
use crate::session::state::{Session, Turn};
use crate::settings::Settings;
use crate::tokens;

/// A prompt, ready for a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The system prompt.
    pub system: Option<String>,
    /// The history's window, oldest first; the last one is to be answered.
    pub messages: Vec<Arc<Message>>,
    /// Messages of the branch that no longer fitted.
    pub dropped: usize,
}

impl Prompt {
    /// About how many tokens it has, rather too many than too few; `settings` may bring tools.
    pub fn estimated_tokens(&self, settings: &Settings) -> u32 {
        size_of(&self.messages)
            .saturating_add(self.system.as_deref().map_or(0, tokens::cautious))
            .saturating_add(size_of_tools(settings))
    }
}

/// The prompt for `turn`, within what `model` holds.
pub fn prompt_for(session: &Session, turn: &Turn, model: &ModelSpec) -> Prompt {
    prompt(turn.message_id, &turn.settings, model, |id| session.messages.get(&id).cloned())
}

/// The prompt for an answer to the message called `newest`; `find` knows the messages.
pub(crate) fn prompt(
    newest: MessageId,
    settings: &Settings,
    model: &ModelSpec,
    find: impl Fn(MessageId) -> Option<Arc<Message>>,
) -> Prompt {
    let branch = branch(newest, find);
    let system = settings.system_prompt.clone();
    let instructions = branch.iter().take_while(|message| message.role == Role::System).count();
    let (instructions, history) = branch.split_at(instructions);
    let room = room_for_history(settings, model);
    let start = window_start(history, room.saturating_sub(size_of(instructions)));
    Prompt { system, dropped: start, messages: [instructions, &history[start..]].concat() }
}

fn size_of(messages: &[Arc<Message>]) -> u32 {
    messages.iter().map(|message| tokens::in_prompt(message)).fold(0, u32::saturating_add)
}

/// The path from the root to the message to answer, without what says nothing and without
/// tool calls that nobody answered.
fn branch(
    newest: MessageId,
    find: impl Fn(MessageId) -> Option<Arc<Message>>,
) -> Vec<Arc<Message>> {
    let mut path = Vec::new();
    // A parent is always older than its child; anything else would be a loop.
    let mut seen = HashSet::new();
    let mut next = Some(newest);
    while let Some(message) = next.filter(|id| seen.insert(*id)).and_then(&find) {
        next = message.parent_id;
        if !message.content.iter().all(ContentPart::is_blank) {
            path.push(message);
        }
    }
    path.reverse();
    pairs::paired(path)
}

/// The answer's share of the context is kept free: what was asked for, or else the model's
/// longest answer, but no more than half.
fn room_for_history(settings: &Settings, model: &ModelSpec) -> u32 {
    let answer = settings.max_tokens.unwrap_or(model.max_output).min(model.context / 2);
    model
        .context
        .saturating_sub(answer)
        .saturating_sub(settings.system_prompt.as_deref().map_or(0, tokens::cautious))
        .saturating_sub(size_of_tools(settings))
}

fn size_of_tools(settings: &Settings) -> u32 {
    let tools = settings.provider_options.get("tools").map(ToString::to_string);
    tools.as_deref().map_or(0, tokens::cautious)
}

/// The first message of the oldest turn that still fits.
fn window_start(history: &[Arc<Message>], room: u32) -> usize {
    let mut used = 0_u32;
    let mut start = None;
    for (index, message) in history.iter().enumerate().rev() {
        used = used.saturating_add(tokens::in_prompt(message));
        if start.is_some() && used > room {
            break;
        }
        if opens_turn(history, index) {
            start = Some(index);
        }
    }
    start.unwrap_or(0)
}

/// A turn begins with each message that asks, and at the very first one. Instructions on the
/// way belong to what is asked after them.
fn opens_turn(history: &[Arc<Message>], index: usize) -> bool {
    index == 0 || asks(&history[index]) && history[index - 1].role != Role::System
}

/// A message that brings a tool's result goes on with the turn that called the tool.
fn asks(message: &Message) -> bool {
    let brings_result = |part: &ContentPart| matches!(part, ContentPart::ToolResult { .. });
    matches!(message.role, Role::User | Role::System) && !message.content.iter().any(brings_result)
}

#[cfg(test)]
mod tests;
