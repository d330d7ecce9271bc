//! I9: who watches a turn whose worker is lost hears soon that another one has it.

use std::time::Duration;

use crate::faults::record::Entries;
use crate::faults::world::World;

/// What watchers waited for, from each loss of a worker to the `turn.restarted` of the attempt
/// after; none waited longer than the loss allows. (Who came later was told of that attempt alone.)
pub(super) async fn were_soon(world: &World, told: &Entries) -> Vec<Duration> {
    let mut waited = Vec::new();
    for loss in &world.losses {
        for seen in &told.watched {
            let of_loss = loss.turns.iter().find(|(turn, _)| *turn == seen.turn);
            let Some((_, lost)) = of_loss else { continue };
            let next = seen.restarts.iter().find(|(_, attempt)| *attempt == lost + 1);
            let Some((at, _)) = next else { continue };
            let time = at.saturating_duration_since(loss.at);
            if time >= loss.within {
                let story = story(world, &seen.turn, loss.at.elapsed()).await;
                panic!("I9: a takeover was seen after {time:?}: {seen:?}\n{story}");
            }
            waited.push(time);
        }
    }
    waited
}

/// What happened to a turn, in seconds after its worker was lost, which was so long `ago`.
async fn story(world: &World, turn: &str, ago: Duration) -> String {
    let query = "
        SELECT concat_ws(' ', round(extract(epoch FROM recorded_at - clock_timestamp())
                                    + $2::numeric, 2),
                         event_type, payload->event_type->>'worker_id')
        FROM events WHERE payload->event_type->>'turn_id' = $1 ORDER BY position";
    let seconds = ago.as_secs_f64();
    let events = sqlx::query_scalar::<_, String>(query).bind(turn).bind(seconds);
    let events = events.fetch_all(&world.pool).await.unwrap();
    format!("{}\n{}", events.join(", "), world.diary.read())
}
