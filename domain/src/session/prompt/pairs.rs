//! Tool calls and their results go to a model in pairs or not at all: providers refuse a call
//! without its result, and a session that holds one (the answer was cancelled in the middle of
//! a call, or the person spoke before the tool) would be refused for ever.

use std::collections::HashSet;
use std::sync::Arc;

use crate::content::{ContentPart, Message};

/// `branch` without calls that were not answered, results that answer nothing, and messages
/// that say nothing then.
pub(super) fn paired(branch: Vec<Arc<Message>>) -> Vec<Arc<Message>> {
    let parts = || branch.iter().flat_map(|message| &message.content);
    let called: HashSet<String> = parts().filter_map(call).map(str::to_owned).collect();
    let answered: HashSet<String> = parts().filter_map(result).map(str::to_owned).collect();
    let stays = |part: &ContentPart| {
        call(part).is_none_or(|id| answered.contains(id))
            && result(part).is_none_or(|id| called.contains(id))
    };
    let kept = branch.into_iter().filter_map(|message| {
        if message.content.iter().all(stays) {
            return Some(message);
        }
        let mut message = Arc::unwrap_or_clone(message);
        message.content.retain(stays);
        let says_something = !message.content.iter().all(ContentPart::is_blank);
        says_something.then(|| Arc::new(message))
    });
    kept.collect()
}

fn call(part: &ContentPart) -> Option<&str> {
    match part {
        ContentPart::ToolCall { id, .. } => Some(id),
        _ => None,
    }
}

fn result(part: &ContentPart) -> Option<&str> {
    match part {
        ContentPart::ToolResult { tool_call_id, .. } => Some(tool_call_id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::content::Role;
    use crate::ids::MessageId;

    fn message(role: Role, content: Vec<ContentPart>) -> Arc<Message> {
        let id = MessageId(Uuid::nil());
        let created_at = DateTime::UNIX_EPOCH;
        Arc::new(Message { id, parent_id: None, role, content, name: None, created_at })
    }

    fn calls(ids: &[&str]) -> Arc<Message> {
        let call = |id: &&str| ContentPart::ToolCall {
            id: (*id).to_owned(),
            name: "f".to_owned(),
            arguments: "{}".to_owned(),
        };
        message(Role::Assistant, ids.iter().map(call).collect())
    }

    fn answers(id: &str) -> Arc<Message> {
        let part = ContentPart::ToolResult { tool_call_id: id.to_owned(), content: json!(1) };
        message(Role::Tool, vec![part])
    }

    fn asks() -> Arc<Message> {
        message(Role::User, vec![ContentPart::text("hi")])
    }

    #[test]
    fn an_unanswered_call_is_left_out() {
        assert_eq!(paired(vec![asks(), calls(&["a"]), asks()]), [asks(), asks()]);
        let half = paired(vec![asks(), calls(&["a", "b"]), answers("b"), asks()]);
        assert_eq!(half, [asks(), calls(&["b"]), answers("b"), asks()]);
    }

    #[test]
    fn a_result_of_nothing_is_left_out() {
        assert_eq!(paired(vec![asks(), answers("a"), asks()]), [asks(), asks()]);
    }

    #[test]
    fn pairs_stay() {
        let whole = vec![asks(), calls(&["a", "b"]), answers("a"), answers("b")];
        assert_eq!(paired(whole.clone()), whole);
    }
}
