//! A server that plays one act a request, down to the packets, so that a test can show any
//! fault.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// What happens after the last packet.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// The body ends as it should.
    Proper,
    /// Nothing more comes, and the connection stays.
    Hang,
    /// The connection breaks.
    Cut,
}

/// One answer.
pub(crate) enum Act {
    /// Not even a status line.
    Silence,
    /// A status with a body of known length.
    Status { status: u16, headers: String, body: String },
    /// A streamed body that repeats a packet without an end.
    Endless { status: u16, begin: String, packet: Vec<u8> },
    /// A streamed body, packet by packet.
    Packets { packets: Vec<Vec<u8>>, pause: Duration, end: End },
}

impl Act {
    pub(crate) fn status(status: u16, body: &str) -> Self {
        Self::Status { status, headers: String::new(), body: body.to_owned() }
    }

    pub(crate) fn header(mut self, line: &str) -> Self {
        if let Self::Status { headers, .. } = &mut self {
            headers.push_str(line);
            headers.push_str("\r\n");
        }
        self
    }

    pub(crate) fn events(body: String) -> Self {
        Self::packets(vec![body.into_bytes()], Duration::ZERO)
    }

    pub(crate) fn packets(packets: Vec<Vec<u8>>, pause: Duration) -> Self {
        Self::Packets { packets, pause, end: End::Proper }
    }

    pub(crate) fn then_hang(self) -> Self {
        self.ending(End::Hang)
    }

    pub(crate) fn then_cut(self) -> Self {
        self.ending(End::Cut)
    }

    fn ending(mut self, wanted: End) -> Self {
        if let Self::Packets { end, .. } = &mut self {
            *end = wanted;
        }
        self
    }
}

#[derive(Default)]
struct Shared {
    acts: Mutex<std::collections::VecDeque<Act>>,
    requests: Mutex<Vec<String>>,
    connections: AtomicUsize,
    sent: AtomicUsize,
    broken_off: Notify,
}

/// The server; it ends with its value.
pub(crate) struct Server {
    pub(crate) base_url: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { acts: Mutex::new(acts.into()), ..Shared::default() });
        let mut tasks = JoinSet::new();
        let state = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                state.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(socket, Arc::clone(&state)));
            }
        });
        Self { base_url, shared, _tasks: tasks }
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Bytes that clients took of endless bodies.
    pub(crate) fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Waits for a client to leave in the middle of an answer.
    pub(crate) async fn broken_off(&self) {
        self.shared.broken_off.notified().await;
    }
}

async fn serve(mut socket: TcpStream, shared: Arc<Shared>) {
    socket.set_nodelay(true).unwrap();
    while let Some(request) = read_request(&mut socket).await {
        shared.requests.lock().unwrap().push(request);
        let Some(act) = shared.acts.lock().unwrap().pop_front() else {
            return;
        };
        match play(&mut socket, act, &shared.sent).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => return shared.broken_off.notify_one(),
        }
    }
}

async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
        });
        if body.len() >= length.unwrap_or(0) {
            return Some(text.into_owned());
        }
    }
}

/// Plays `act`; says whether the connection is good for another.
async fn play(socket: &mut TcpStream, act: Act, sent: &AtomicUsize) -> std::io::Result<bool> {
    match act {
        Act::Silence => left(socket).await,
        Act::Status { status, headers, body } => {
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
            socket.write_all(answer.as_bytes()).await?;
            Ok(true)
        }
        Act::Endless { status, begin, packet } => {
            socket.write_all(head(status).as_bytes()).await?;
            // A chunk without bytes would end the body.
            if !begin.is_empty() {
                socket.write_all(&chunk(begin.as_bytes())).await?;
            }
            let packet = chunk(&packet);
            loop {
                socket.write_all(&packet).await?;
                sent.fetch_add(packet.len(), Ordering::SeqCst);
            }
        }
        Act::Packets { packets, pause, end } => {
            socket.write_all(head(200).as_bytes()).await?;
            for packet in packets {
                socket.write_all(&chunk(&packet)).await?;
                tokio::time::sleep(pause).await;
            }
            match end {
                End::Proper => socket.write_all(b"0\r\n\r\n").await.map(|()| true),
                End::Hang => left(socket).await,
                End::Cut => Ok(false),
            }
        }
    }
}

fn head(status: u16) -> String {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: text/event-stream\r\n\
         transfer-encoding: chunked\r\n\r\n"
    )
}

fn chunk(packet: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", packet.len()).into_bytes();
    chunk.extend_from_slice(packet);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// Says nothing more; ends in an error when the client leaves.
async fn left(socket: &mut TcpStream) -> std::io::Result<bool> {
    socket.read_u8().await.map(|_| false)
}

/// A body of events.
pub(crate) fn sse(frames: &[&str]) -> String {
    let mut body = String::new();
    for frame in frames {
        body.extend(["data: ", frame, "\n\n"]);
    }
    body
}

/// A frame with text.
pub(crate) fn delta(text: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}"#)
}

/// A frame with a finish reason.
pub(crate) fn finish(reason: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#)
}

/// The last frame.
pub(crate) fn done() -> &'static str {
    "[DONE]"
}
