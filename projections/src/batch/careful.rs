//! Finding the event that the database refuses: halves are tried in savepoints, until it stands
//! alone and is parked. Rare, hence slow and simple.

use sqlx::error::DatabaseError;
use sqlx::{Connection, PgConnection};

use crate::batch::Target;
use crate::event::Event;
use crate::parked::{Parked, ParkedStreams};
use crate::projection::Projection;

impl<P: Projection> Target<P> {
    /// As [`Target::fold`], but an event that the database refuses is parked too.
    pub(crate) async fn fold_carefully(
        &self,
        connection: &mut PgConnection,
        events: &[&Event],
        streams: &ParkedStreams,
    ) -> Result<Vec<Parked>, sqlx::Error> {
        let mut streams = streams.clone();
        let mut parked = Vec::new();
        let mut waiting = vec![events];
        while let Some(part) = waiting.pop() {
            let more = match self.attempt(connection, part, &streams, None).await {
                Err(error) if is_refusal(&error) && part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    waiting.extend([second, first]);
                    continue;
                }
                Err(error) if is_refusal(&error) && !is_timeout(&error) => {
                    self.attempt(connection, part, &streams, Some(&reason(&error))).await?
                }
                tried => tried?,
            };
            streams.extend(more.iter().map(|event| event.stream.clone()));
            parked.extend(more);
        }
        Ok(parked)
    }

    async fn attempt(
        &self,
        connection: &mut PgConnection,
        events: &[&Event],
        streams: &ParkedStreams,
        refused: Option<&str>,
    ) -> Result<Vec<Parked>, sqlx::Error> {
        let mut savepoint = connection.begin().await?;
        match self.fold_or_park(&mut savepoint, events, streams, refused).await {
            Ok(parked) => {
                savepoint.commit().await?;
                Ok(parked)
            }
            Err(error) => {
                savepoint.rollback().await?;
                Err(error)
            }
        }
    }
}

/// Whether the database refuses the data itself (22, 23: wrong data, broken constraints; 54:
/// beyond a limit) or can't cope with so much of it in the time it has (57014).
pub(crate) fn is_refusal(error: &sqlx::Error) -> bool {
    let code = code(error);
    ["22", "23", "54"].iter().any(|class| code.starts_with(class)) || is_timeout(error)
}

fn is_timeout(error: &sqlx::Error) -> bool {
    code(error) == "57014"
}

fn code(error: &sqlx::Error) -> String {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.map(std::borrow::Cow::into_owned).unwrap_or_default()
}

/// The database's message may quote the data, so its code has to do.
fn reason(error: &sqlx::Error) -> String {
    format!("the database refuses what it makes (SQLSTATE {})", code(error))
}
