//! `colloquy projections`

use eventstore::EventStore;
use indicatif::{ProgressBar, ProgressStyle};
use projections::ReadModel;

use crate::app;
use crate::cli::Projections;
use crate::config::Config;
use crate::error::ServerError;
use crate::output::{say, table};

pub(crate) async fn run(config: &Config, command: &Projections) -> Result<(), ServerError> {
    let pool = app::tool_pool(config).await?;
    app::check_schema(&pool).await?;
    match command {
        Projections::List => list(&pool).await,
        Projections::Rebuild { name } if name == "all" => {
            for model in ReadModel::ALL {
                rebuild(&EventStore::new(pool.clone()), model).await?;
            }
            Ok(())
        }
        Projections::Rebuild { name } => rebuild(&EventStore::new(pool), name.parse()?).await,
    }
}

async fn list(pool: &eventstore::Database) -> Result<(), ServerError> {
    let rows: Vec<Vec<String>> = projections::list(pool)
        .await?
        .into_iter()
        .map(|one| {
            let numbers = [one.position, one.head, one.lag, one.parked];
            [one.name].into_iter().chain(numbers.map(|number| number.to_string())).collect()
        })
        .collect();
    table(&["NAME", "POSITION", "HEAD", "LAG", "PARKED EVENTS"], &rows);
    for stream in projections::parked_streams(pool, 20).await? {
        say(&format!(
            "parked in {}: {}/{} from position {} ({}): {}",
            stream.projection,
            stream.aggregate_type,
            stream.aggregate_id,
            stream.position,
            stream.event_type,
            stream.error
        ));
    }
    Ok(())
}

async fn rebuild(store: &EventStore, model: ReadModel) -> Result<(), ServerError> {
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} events, {per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    bar.set_message(model.name());
    let rebuilt = projections::rebuild(store, model, |done, total| {
        bar.set_length(u64::try_from(total).unwrap_or(0));
        bar.set_position(u64::try_from(done).unwrap_or(0));
    })
    .await;
    bar.finish_and_clear();
    let rebuilt = rebuilt?;
    say(&format!(
        "{model} is rebuilt up to position {}; {} events are parked",
        rebuilt.position, rebuilt.parked
    ));
    Ok(())
}
