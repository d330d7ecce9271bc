use std::sync::Mutex;

use domain::Settings;
use domain::session::Prompt;
use tokio::time::Instant;

use super::*;

type Script = Result<Vec<Result<Chunk, ProviderError>>, ProviderError>;

/// Plays one script a call.
struct Scripted(Mutex<Vec<Script>>);

#[async_trait]
impl Provider for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn complete(&self, _: &CompletionRequest) -> Result<ChunkStream, ProviderError> {
        let script = self.0.lock().unwrap().remove(0);
        script.map(|items| stream::iter(items).boxed())
    }

    async fn check(&self) -> Result<(), ProviderError> {
        Ok(())
    }
}

async fn play(scripts: Vec<Script>) -> (Result<Vec<bool>, ErrorClass>, usize) {
    let count = scripts.len();
    let scripted = Arc::new(Scripted(Mutex::new(scripts)));
    let retry = Retry::new(Arc::clone(&scripted) as _, RetryPolicy::default());
    let request = CompletionRequest {
        model: String::new(),
        prompt: Prompt { system: None, messages: Vec::new(), dropped: 0 },
        settings: Settings::default(),
        prefix: None,
    };
    let played = match retry.complete(&request).await {
        Ok(answer) => Ok(answer.map(|item| item.is_ok()).collect().await),
        Err(error) => Err(error.class),
    };
    let calls = count - scripted.0.lock().unwrap().len();
    (played, calls)
}

fn error(class: ErrorClass) -> ProviderError {
    ProviderError::new(class, "no")
}

fn text() -> Chunk {
    Chunk::Text("a".to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_fails_before_the_first_chunk_is_tried_again() {
    let scripts = vec![
        Err(error(ErrorClass::Network)),
        Ok(vec![Err(error(ErrorClass::Timeout))]),
        Ok(vec![Ok(text()), Ok(text())]),
    ];
    assert_eq!(play(scripts).await, (Ok(vec![true, true]), 3));
}

#[tokio::test(start_paused = true)]
async fn what_fails_later_is_not() {
    let scripts = vec![Ok(vec![Ok(text()), Err(error(ErrorClass::Network))]), Ok(vec![Ok(text())])];
    assert_eq!(play(scripts).await, (Ok(vec![true, false]), 1));
}

#[tokio::test(start_paused = true)]
async fn it_gives_up() {
    let scripts = (0..5).map(|_| Err(error(ErrorClass::Unavailable))).collect();
    assert_eq!(play(scripts).await, (Err(ErrorClass::Unavailable), 3));
    let scripts = vec![Err(error(ErrorClass::InvalidRequest)), Ok(vec![Ok(text())])];
    assert_eq!(play(scripts).await, (Err(ErrorClass::InvalidRequest), 1));
    assert_eq!(play(vec![Ok(Vec::new())]).await, (Err(ErrorClass::Protocol), 1));
}

#[tokio::test(start_paused = true)]
async fn the_provider_says_how_long_to_wait_within_bounds() {
    for (asked, least, most) in
        [(None, 250, 500), (Some(3), 3000, 3000), (Some(90), 20_000, 20_000)]
    {
        let failure = ProviderError {
            retry_after: asked.map(Duration::from_secs),
            ..error(ErrorClass::RateLimited)
        };
        let start = Instant::now();
        assert_eq!(play(vec![Err(failure), Ok(vec![Ok(text())])]).await.1, 2);
        let waited = start.elapsed().as_millis();
        assert!((least..=most + 2).contains(&waited), "{asked:?}: {waited} ms");
    }
}
