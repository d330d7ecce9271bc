//! The pause after a conflict.

use std::time::Duration;

use rand::Rng;

/// Waits a random moment, longer after more `conflicts`, so that those who collided don't
/// collide again.
pub(crate) async fn back_off(conflicts: u32) {
    let most = 2_u64 << conflicts.min(5);
    let pause = rand::rng().random_range(0..=most);
    tokio::time::sleep(Duration::from_millis(pause)).await;
}
