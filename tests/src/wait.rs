//! Waiting for a condition, never for a time.

use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until `done` says so; fails the test after `deadline`.
pub async fn eventually(what: &str, deadline: Duration, mut done: impl AsyncFnMut() -> bool) {
    found(what, deadline, async || done().await.then_some(())).await;
}

/// Waits until `look` finds something; fails the test after `deadline`.
pub async fn found<T>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let search = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let found = tokio::time::timeout(deadline, search).await;
    found.unwrap_or_else(|_| panic!("after {deadline:?} still waiting: {what}"))
}
