//! All connections of Postgres, taken by somebody else.

use std::io;
use std::time::{Duration, Instant};

use sqlx::Executor;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::faults::World;

/// Ends every session but those of the suite, and those that are not one yet.
const END_OTHERS: &str = "
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND usesysid IS NOT NULL
      AND application_name <> 'suite'";
/// The protocol that is spoken, 3.0.
const PROTOCOL: i32 = 3 << 16;
/// What an answer begins with that asks who we are; any other is a refusal.
const WHO_IS_IT: u8 = b'R';
/// What Postgres says when all are taken.
const TOO_MANY: &[u8] = b"53300";
/// For all to be taken.
const FILL: Duration = Duration::from_secs(60);
/// While there are none.
const PAUSE: Duration = Duration::from_millis(5);

impl World {
    /// Takes all connections that Postgres has to give, those of the nodes too, and keeps them
    /// for `time`.
    pub async fn exhaust_connections(&self, time: Duration) {
        self.note("take all connections");
        let options: PgConnectOptions = self.cluster.database_url().parse().unwrap();
        let mut killer = self.connect().await.unwrap();
        let mut held = Vec::new();
        let (began, mut exhausted) = (Instant::now(), None::<Instant>);
        while exhausted.is_none_or(|since| since.elapsed() < time) {
            if let Some(connection) = take(&options).await.unwrap() {
                held.push(connection);
                continue;
            }
            if exhausted.is_none() {
                self.note(&format!("{} are all", held.len()));
            }
            exhausted.get_or_insert_with(Instant::now);
            drop(killer.execute(END_OTHERS).await);
            tokio::time::sleep(PAUSE).await;
            assert!(began.elapsed() < FILL + time, "the fault: there are always more connections");
        }
    }
}

/// A connection whose other end waits to be told who it is, and is counted as one meanwhile; none
/// if all are taken.
async fn take(options: &PgConnectOptions) -> io::Result<Option<TcpStream>> {
    let mut stream = TcpStream::connect((options.get_host(), options.get_port())).await?;
    let database = options.get_database().unwrap_or(options.get_username());
    let mut startup = PROTOCOL.to_be_bytes().to_vec();
    for text in ["user", options.get_username(), "database", database, ""] {
        startup.extend(text.as_bytes());
        startup.push(0);
    }
    let length = i32::try_from(startup.len() + 4).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&startup).await?;
    let mut kind = [0];
    stream.read_exact(&mut kind).await?;
    if kind == [WHO_IS_IT] {
        return Ok(Some(stream));
    }
    let mut refusal = Vec::new();
    stream.read_to_end(&mut refusal).await?;
    let told = refusal.windows(TOO_MANY.len()).any(|window| window == TOO_MANY);
    assert!(told, "the fault: refused for another reason: {}", String::from_utf8_lossy(&refusal));
    Ok(None)
}
