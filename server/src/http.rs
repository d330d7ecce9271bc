//! The HTTP server: takes connections, bounds them in number and time, and ends them in order.
//!
//! `axum::serve` sets no timers, so a client that sends half a header would be kept for ever,
//! and it takes connections without end.

mod patient;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::patient::Patient;
use crate::lifecycle::Lifecycle;

/// After an error that comes again at once, such as having no file descriptors left.
const PAUSE: Duration = Duration::from_millis(250);
/// The log says at most this often that there are too many connections.
const REMINDER: Duration = Duration::from_secs(10);
/// Between pings on an HTTP/2 connection where nothing is heard.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// A ping must be answered in this time.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// For streams to say that they are cut off, when work is abandoned.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Bytes on their way to one client.
const SEND_BUFFER: u32 = 256 * 1024;
/// Connections that wait to be taken; the kernel has a limit of its own.
const BACKLOG: u32 = 1024;

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Open connections; more wait in the kernel's queue.
    pub(crate) connections: usize,
    /// From the connection to the end of its first request's header.
    pub(crate) first_header: Duration,
    /// From an answer to the end of the next request's header. Longer than proxies keep idle
    /// connections (mostly 60 s), so that it is they who close and no request meets a closed one.
    pub(crate) next_header: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub(crate) stalled: Duration,
}

impl Limits {
    /// The usual times.
    pub(crate) fn new(connections: usize, stalled: Duration) -> Self {
        let (first_header, next_header) = (Duration::from_secs(10), Duration::from_secs(75));
        Self { connections, first_header, next_header, stalled }
    }
}

/// Listens on `address`. What the kernel keeps for a client that doesn't read is bounded: by
/// itself it would grow to megabytes a connection.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Connections have what their listener has.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `router` until the process is to stop and every connection has ended: each finishes
/// the request that it is at. Whatever is still open a moment after work is abandoned is cut off.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    lifecycle: Lifecycle,
) -> &'static str {
    let mut door = Door::new(listener, limits);
    let builder = builder(limits);
    let connections = GracefulShutdown::new();
    while let Some((stream, permit)) = lifecycle.stopping.run_until_cancelled(door.next()).await {
        let has_begun = Arc::new(AtomicBool::new(false));
        let service = TowerToHyperService::new(router.clone());
        let begun = Arc::clone(&has_begun);
        let service = service_fn(move |request| {
            begun.store(true, Ordering::Relaxed);
            service.call(request)
        });
        let stream = TokioIo::new(Patient::new(stream, limits.stalled));
        let connection = builder.serve_connection(stream, service).into_owned();
        let connection = finish(connections.watch(connection), has_begun, limits.first_header);
        let abandon = lifecycle.abandon.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = connection => {}
                () = cut_off(&abandon) => {}
            }
            drop(permit);
        });
    }
    drop(door);
    let ended = async {
        connections.shutdown().await;
        lifecycle.farewells.close();
        lifecycle.farewells.wait().await;
    };
    tokio::select! {
        () = ended => {}
        () = cut_off(&lifecycle.abandon) => {}
    }
    "HTTP"
}

/// When no connection may go on.
async fn cut_off(abandon: &CancellationToken) {
    abandon.cancelled().await;
    sleep(LAST_WORDS).await;
}

fn builder(limits: Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.next_header);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Sees `connection` to its end, which comes early if no request has begun in time. Hyper's own
/// timer starts only once the first bytes have told HTTP/1 from HTTP/2.
async fn finish<E: std::fmt::Display>(
    connection: impl Future<Output = Result<(), E>>,
    has_begun: Arc<AtomicBool>,
    first_header: Duration,
) {
    let mut connection = std::pin::pin!(connection);
    let ended = match timeout(first_header, connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) if has_begun.load(Ordering::Relaxed) => connection.await,
        Err(_) => {
            tracing::debug!("a connection sent no request in time");
            return;
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Lets in one connection after the other, as long as there is room.
struct Door {
    listener: TcpListener,
    room: Arc<Semaphore>,
    stalled: Duration,
    /// When the log may say again that there is none.
    next_reminder: Instant,
}

impl Door {
    fn new(listener: TcpListener, limits: Limits) -> Self {
        let room = Arc::new(Semaphore::new(limits.connections));
        Self { listener, room, stalled: limits.stalled, next_reminder: Instant::now() }
    }

    async fn next(&mut self) -> (TcpStream, Option<OwnedSemaphorePermit>) {
        if self.room.available_permits() == 0 && Instant::now() >= self.next_reminder {
            tracing::warn!("http.max_connections is reached; new connections wait");
            self.next_reminder = Instant::now() + REMINDER;
        }
        // The semaphore is never closed.
        let permit = Arc::clone(&self.room).acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    no_delay(&stream);
                    notice_loss(&stream, self.stalled);
                    return (stream, permit);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be taken");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Otherwise every small write of a stream would wait for the client's delayed
/// acknowledgement, about 40 ms.
fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
}

/// Lets the kernel break the connection when nothing of what it has sent is taken for `stalled`:
/// a client that vanished would else keep it for a quarter of an hour.
#[cfg(target_os = "linux")]
fn notice_loss(stream: &TcpStream, stalled: Duration) {
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(stalled)) {
        tracing::debug!(%error, "TCP_USER_TIMEOUT could not be set");
    }
}

#[cfg(not(target_os = "linux"))]
fn notice_loss(_: &TcpStream, _: Duration) {}

/// An error of the connection that was to be taken; the next one may be good.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests;
