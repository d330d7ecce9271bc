//! I9: commands to streams that cross each other never wait for each other in a circle.

use sqlx::PgPool;

/// Postgres has had to end no session to break a deadlock.
pub(super) async fn were_none(pool: &PgPool) {
    let query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let count: i64 = sqlx::query_scalar(query).fetch_one(pool).await.unwrap();
    assert_eq!(count, 0, "I9: deadlocks");
}
