//! A TCP proxy that can lose a server's reply: the statement has been carried out, the
//! connection is cut, and the client can't know.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A text in the request whose reply shall be lost.
type Marker = Arc<Mutex<Option<String>>>;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    marker: Marker,
}

impl Proxy {
    /// A proxy before the server on `port` of this machine.
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let marker = Marker::default();
        let theirs = Arc::clone(&marker);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::spawn(relay(client, server, Arc::clone(&theirs)));
            }
        });
        Self { address, marker }
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

async fn relay(mut client: TcpStream, mut server: TcpStream, marker: Marker) {
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
