use std::sync::Arc;

use chrono::DateTime;
use domain::{Message, MessageId, Settings};

use super::*;

fn request(messages: &[(Role, &str)], max_tokens: Option<u32>) -> CompletionRequest {
    let messages = messages.iter().map(|(role, text)| {
        Arc::new(Message {
            id: MessageId(uuid::Uuid::nil()),
            parent_id: None,
            role: *role,
            content: vec![ContentPart::text(*text)],
            name: None,
            created_at: DateTime::UNIX_EPOCH,
        })
    });
    CompletionRequest {
        model: "demo".to_owned(),
        prompt: Prompt { system: None, messages: messages.collect(), dropped: 0 },
        settings: Settings { max_tokens, ..Settings::default() },
        prefix: None,
    }
}

async fn ask(request: &CompletionRequest) -> (String, Vec<Chunk>) {
    let demo = Demo::new("demo", Demo::PACE);
    let chunks: Vec<Chunk> =
        demo.complete(request).await.unwrap().map(Result::unwrap).collect().await;
    let text = chunks.iter().filter_map(|chunk| match chunk {
        Chunk::Text(text) => Some(text.as_str()),
        _ => None,
    });
    (text.collect(), chunks)
}

#[tokio::test(start_paused = true)]
async fn it_answers_what_was_said() {
    let talk = [(Role::User, "one"), (Role::Assistant, "two"), (Role::User, "how are\nyou?")];
    let request = request(&talk, None);
    let (text, chunks) = ask(&request).await;
    assert!(text.contains("You wrote: “how are you?” — message 3 of"), "{text}");
    assert!(text.contains("demo") && text.contains("[[providers]]"), "{text}");
    assert_eq!(ask(&request).await, (text, chunks.clone()));
    let [.., Chunk::Finish(FinishReason::Stop), Chunk::Usage(usage)] = chunks.as_slice() else {
        panic!("{chunks:?}");
    };
    assert!(usage.estimated && usage.prompt_tokens > 0 && usage.completion_tokens > 20);
}

#[tokio::test(start_paused = true)]
async fn it_keeps_its_pace() {
    let start = tokio::time::Instant::now();
    let (text, _) = ask(&request(&[(Role::User, "hi")], None)).await;
    let words = u32::try_from(text.split(' ').count()).unwrap();
    assert!(start.elapsed() >= Demo::PACE * words);
}

#[tokio::test(start_paused = true)]
async fn it_keeps_to_the_limit() {
    let (text, chunks) = ask(&request(&[(Role::User, "hi")], Some(10))).await;
    assert!((30..=40).contains(&text.len()), "{text}");
    assert!(chunks.contains(&Chunk::Finish(FinishReason::Length)));
}
