//! A TCP proxy before NATS or Postgres, with which a node is cut off while others aren't.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    /// All are closed, and new ones at once.
    Cut,
    /// All stay open and nothing gets through, as behind a cable that was pulled.
    Silent,
}

/// A proxy that runs until the process ends.
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    /// A proxy before the server on `port` of this machine.
    pub fn before(port: u16) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, seen) = watch::channel(Mode::Pass);
        std::thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(serve(listener, port, seen));
            })
            .unwrap();
        Self { address, mode }
    }

    /// The port to connect to in place of the server's.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Lets everything through (again).
    pub fn pass(&self) {
        self.mode.send_replace(Mode::Pass);
    }

    /// Closes all connections and refuses new ones.
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Keeps all connections open but lets nothing through.
    pub fn silence(&self) {
        self.mode.send_replace(Mode::Silent);
    }
}

async fn serve(listener: std::net::TcpListener, port: u16, mode: watch::Receiver<Mode>) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(relay(client, port, mode.clone()));
    }
}

async fn relay(mut client: TcpStream, port: u16, mut mode: watch::Receiver<Mode>) {
    let mut server = None;
    loop {
        let now = *mode.borrow_and_update();
        match now {
            Mode::Cut => return,
            Mode::Silent => {
                if mode.changed().await.is_err() {
                    return;
                }
            }
            Mode::Pass => {
                let server = match &mut server {
                    Some(server) => server,
                    none => match TcpStream::connect(("127.0.0.1", port)).await {
                        Ok(stream) => none.insert(stream),
                        Err(_) => return,
                    },
                };
                // What was read but not written when the mode changes is lost with the rest of
                // the connection: both ends then see a broken one, never a silent gap.
                tokio::select! {
                    _ = copy_bidirectional(&mut client, server) => return,
                    changed = mode.changed() => if changed.is_err() { return },
                }
                if *mode.borrow() == Mode::Silent {
                    drop(mode.changed().await);
                    return;
                }
            }
        }
    }
}
