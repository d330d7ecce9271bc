//! A TCP proxy that can lose a server's reply: the statement has been carried out, the
//! connection is cut, and the client can't know. And one behind which the server vanishes:
//! connections stay open and say nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A text in the request whose reply shall be lost.
type Marker = Arc<Mutex<Option<String>>>;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    marker: Marker,
    /// Connections made before this many silences are silent for good.
    silences: watch::Sender<u32>,
    /// Whether new ones are, too.
    silent: Arc<Mutex<bool>>,
    connections: Arc<AtomicU32>,
}

impl Proxy {
    /// A proxy before the server on `port` of this machine.
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let marker = Marker::default();
        let (silences, seen) = watch::channel(0);
        let (silent, connections) = (Arc::<Mutex<bool>>::default(), Arc::<AtomicU32>::default());
        let theirs = (Arc::clone(&marker), Arc::clone(&silent), Arc::clone(&connections));
        tokio::spawn(async move {
            let (marker, silent, connections) = theirs;
            while let Ok((client, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let (marker, silent) = (Arc::clone(&marker), *silent.lock().unwrap());
                let mut silences = seen.clone();
                silences.mark_unchanged();
                tokio::spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    if silent {
                        // Whoever connected may end it; nobody answers.
                        drop(client.readable().await);
                        return std::future::pending().await;
                    }
                    let mut ends = (client, server);
                    tokio::select! {
                        () = relay(&mut ends, marker) => {}
                        _ = silences.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, marker, silences, silent, connections }
    }

    /// From now on nothing gets through, and the connections that there are stay silent for good.
    pub(crate) fn fall_silent(&self) {
        *self.silent.lock().unwrap() = true;
        self.silences.send_modify(|count| *count += 1);
    }

    /// New connections get through again.
    pub(crate) fn let_new_ones_through(&self) {
        *self.silent.lock().unwrap() = false;
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Loses the reply to the next request with `text` in it, and the connection.
    pub(crate) fn lose_reply_to(&self, text: &str) {
        *self.marker.lock().unwrap() = Some(text.to_owned());
    }

    /// Whether the reply was lost.
    pub(crate) fn has_lost_it(&self) -> bool {
        self.marker.lock().unwrap().is_none()
    }
}

async fn relay((client, server): &mut (TcpStream, TcpStream), marker: Marker) {
    let (mut request, mut reply) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut lose = false;
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Ok(count @ 1..) = read else { return };
                lose |= is_marked(&request[..count], &marker);
                if server.write_all(&request[..count]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut reply) => {
                let Ok(count @ 1..) = read else { return };
                // The server answers only after the commit.
                if lose || client.write_all(&reply[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn is_marked(request: &[u8], marker: &Marker) -> bool {
    let mut marker = marker.lock().unwrap();
    let found = marker
        .as_ref()
        .is_some_and(|text| request.windows(text.len()).any(|window| window == text.as_bytes()));
    if found {
        *marker = None;
    }
    found
}
