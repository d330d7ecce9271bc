use axum::body::{Body, Bytes};
use axum::routing::get;
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use super::*;

const SHORT: Duration = Duration::from_millis(200);
/// For what must happen.
const SOON: Duration = Duration::from_secs(10);

struct Server {
    address: std::net::SocketAddr,
    lifecycle: Lifecycle,
    ended: JoinHandle<&'static str>,
    /// Of those to `/flood`: one is sent for each that ends.
    floods: Receiver<()>,
}

/// Tells when it is gone.
struct Flood(Sender<()>);

impl Drop for Flood {
    fn drop(&mut self) {
        self.0.try_send(()).unwrap();
    }
}

impl Flood {
    /// A body without an end.
    fn body(self) -> Body {
        let piece = move |()| {
            let _ = &self;
            Ok::<_, io::Error>(Bytes::from_static(&[b'.'; 8 * 1024]))
        };
        Body::from_stream(futures::stream::repeat(()).map(piece))
    }
}

impl Server {
    /// `/` answers at once, `/slow` after a second, `/never` not at all, and `/flood` without end.
    async fn start(limits: Limits) -> Self {
        let slow = async || {
            sleep(Duration::from_secs(1)).await;
            "slow"
        };
        let (flood, floods) = channel(8);
        let router = Router::new()
            .route("/flood", get(async move || Flood(flood.clone()).body()))
            .route("/", get(async || "fast"))
            .route("/slow", get(slow))
            .route("/never", get(async || std::future::pending::<&str>().await));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let lifecycle = Lifecycle::default();
        let ended = tokio::spawn(serve(listener, router, limits, lifecycle.clone()));
        Self { address, lifecycle, ended, floods }
    }

    /// A connection that has sent `text`.
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn ended(self) {
        assert_eq!(timeout(SOON, self.ended).await.unwrap().unwrap(), "HTTP");
    }
}

fn limits() -> Limits {
    Limits::new(8, SOON)
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")
}

/// What comes until the connection is closed.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end, too.
    let _ = timeout(SOON, stream.read_to_end(&mut text)).await.expect("an end");
    String::from_utf8_lossy(&text).into_owned()
}

/// The next bytes, which must come.
async fn some(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 1024];
    let length = timeout(SOON, stream.read(&mut bytes)).await.unwrap().unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn whoever_sends_no_whole_header_is_cut_off() {
    let server = Server::start(Limits { first_header: SHORT, ..limits() }).await;
    // Nothing; what might become HTTP/2; half a header; HTTP/2 without a request.
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for text in ["", "PRI", "GET / HTTP/1.1\r\nhost: te", preface] {
        let mut stream = server.send(text).await;
        assert!(!rest(&mut stream).await.contains("200"), "{text:?}");
    }
}

#[tokio::test]
async fn a_slow_answer_is_not_cut_off_and_an_idle_connection_is() {
    let limits = Limits { first_header: SHORT, next_header: SHORT, ..limits() };
    let server = Server::start(limits).await;
    let mut stream = server.send(&request("/slow")).await;
    assert!(some(&mut stream).await.ends_with("slow"));
    assert_eq!(rest(&mut stream).await, "");
    let mut stream = server.send(&request("/")).await;
    assert!(some(&mut stream).await.ends_with("fast"));
    stream.write_all(b"GET / HTTP/1.1\r\nho").await.unwrap();
    assert!(!rest(&mut stream).await.contains("200"));
}

#[tokio::test]
async fn a_request_in_flight_gets_its_answer_at_the_end() {
    let server = Server::start(limits()).await;
    let mut idle = server.send(&request("/")).await;
    assert!(some(&mut idle).await.ends_with("fast"));
    let mut busy = server.send(&request("/slow")).await;
    sleep(SHORT).await;
    server.lifecycle.stopping.cancel();
    assert_eq!(rest(&mut idle).await, "", "closed");
    let answer = rest(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("slow"), "{answer}");
    TcpStream::connect(server.address).await.unwrap_err();
    server.ended().await;
}

#[tokio::test]
async fn what_does_not_end_is_abandoned() {
    let server = Server::start(limits()).await;
    let mut stream = server.send(&request("/never")).await;
    sleep(SHORT).await;
    server.lifecycle.stopping.cancel();
    timeout(SHORT, stream.read_u8()).await.expect_err("it is still open");
    server.lifecycle.abandon.cancel();
    assert_eq!(rest(&mut stream).await, "");
    server.ended().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_wait() {
    let server = Server::start(Limits { connections: 2, ..limits() }).await;
    let mut first = server.send(&request("/")).await;
    let mut second = server.send(&request("/")).await;
    for stream in [&mut first, &mut second] {
        assert!(some(stream).await.ends_with("fast"));
    }
    let mut third = server.send(&request("/")).await;
    timeout(SHORT, third.read_u8()).await.expect_err("it waits");
    first.write_all(request("/").as_bytes()).await.unwrap();
    assert!(some(&mut first).await.ends_with("fast"), "who is in stays");
    drop(first);
    assert!(some(&mut third).await.ends_with("fast"));
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_hung_up_on() {
    let mut server = Server::start(Limits { stalled: SHORT, ..limits() }).await;
    let mut eager = server.send(&request("/flood")).await;
    let mut piece = vec![0; 64 * 1024];
    eager.read_exact(&mut piece).await.unwrap();
    let begun = Instant::now();
    let mut stalled = server.send(&request("/flood")).await;
    let ended = server.floods.recv();
    let eager = async {
        loop {
            eager.read_exact(&mut piece).await.unwrap();
        }
    };
    tokio::select! {
        ended = timeout(SOON, ended) => assert!(ended.expect("it is hung up on").is_some()),
        () = eager => {}
    }
    assert!(begun.elapsed() >= SHORT);
    let broken = stalled.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(broken.kind(), io::ErrorKind::ConnectionReset);
    assert!(server.floods.try_recv().is_err(), "who reads is served");
}
