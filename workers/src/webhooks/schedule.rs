//! When a delivery that failed is tried again.

use std::time::Duration;

use rand::Rng as _;

/// The waits after the first try, the second and so on.
const WAITS: [u64; 11] = [1, 5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600, 36_000];
/// A delivery that is older is given up; so is an event that nobody could tell of before.
pub(super) const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// How long to wait after try `attempts` of a delivery that is `age` old: what the endpoint
/// asks for, if that is longer; none if it is given up. Up to a fifth more or less, so that
/// deliveries that failed together don't come back together.
pub(super) fn next(attempts: i32, age: Duration, asked: Option<Duration>) -> Option<Duration> {
    let index = usize::try_from(attempts).unwrap_or(1).saturating_sub(1);
    let wait = WAITS.get(index).or(WAITS.last()).copied().unwrap_or_default();
    let wait = Duration::from_secs(wait).mul_f64(rand::rng().random_range(0.8..=1.2));
    let wait = asked.map_or(wait, |asked| asked.max(wait));
    (age + wait <= PATIENCE).then_some(wait)
}
