//! A TCP proxy before NATS or Postgres, with which one node is cut off, slowed down or lied to
//! while others aren't.

mod frames;
mod pump;
mod traffic;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

pub use traffic::Traffic;

use pump::{Direction, Pump};
use traffic::Counters;

/// All proxies of a process share a thread, which outlives every test's own runtime.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("proxies")
        .enable_all()
        .build()
        .unwrap()
});

/// What the server behind a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Bytes, as far as the proxy is concerned.
    Postgres,
    /// Frames that can be told apart.
    Nats,
}

/// What the proxy does with connections, old and new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Rules {
    /// All are closed, and new ones at once.
    cut: bool,
    /// Nothing gets through to the server.
    deaf: bool,
    /// Nothing gets through to the client.
    mute: bool,
    /// Each piece is late by this, each way.
    delay: Duration,
    /// Of so many answers one is lost, and its connection with it; none if 0.
    lost: u32,
    /// Of so many messages one comes twice, or after its successor; none if 0. Of NATS only.
    doubled: u32,
}

/// A proxy; its connections end when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    ports: Ports,
    counters: Arc<Counters>,
}

/// From which the server is connected to.
type Ports = Arc<Mutex<HashSet<u16>>>;

impl Proxy {
    /// A proxy before the server on `port` of this machine.
    pub fn before(port: u16, protocol: Protocol) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (rules, seen) = watch::channel(Rules::default());
        let (ports, counters) = (Ports::default(), Arc::<Counters>::default());
        let link = Link {
            port,
            protocol,
            rules: seen,
            ports: Arc::clone(&ports),
            counters: Arc::clone(&counters),
        };
        RUNTIME.spawn(serve(listener, link));
        Self { address, rules, ports, counters }
    }

    /// The port to connect to in place of the server's.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whether one of its connections comes to the server from `port`.
    pub fn comes_from(&self, port: u16) -> bool {
        self.ports.lock().unwrap().contains(&port)
    }

    /// What has happened on its connections so far.
    pub fn traffic(&self) -> Traffic {
        self.counters.read()
    }

    /// Lets everything through (again). What was held back arrives now.
    pub fn pass(&self) {
        self.rules.send_replace(Rules::default());
    }

    /// Closes all connections and refuses new ones.
    pub fn cut(&self) {
        self.set(|rules| rules.cut = true);
    }

    /// Keeps all connections open but lets nothing through, as behind a cable that was pulled.
    pub fn silence(&self) {
        self.set(|rules| (rules.deaf, rules.mute) = (true, true));
    }

    /// The server hears nothing any more, but is heard.
    pub fn silence_to_server(&self) {
        self.set(|rules| rules.deaf = true);
    }

    /// The client hears nothing any more, but is heard.
    pub fn silence_to_client(&self) {
        self.set(|rules| rules.mute = true);
    }

    /// Makes everything late by `time`, each way.
    pub fn delay(&self, time: Duration) {
        self.set(|rules| rules.delay = time);
    }

    /// Of so many answers of the server, loses one: what was asked for is done, but the client
    /// sees its connection break instead of hearing so.
    pub fn lose_answers(&self, one_in: u32) {
        self.set(|rules| rules.lost = one_in);
    }

    /// Of so many messages of NATS, sends one twice or after the next.
    pub fn double_messages(&self, one_in: u32) {
        self.set(|rules| rules.doubled = one_in);
    }

    fn set(&self, change: impl FnOnce(&mut Rules)) {
        self.rules.send_modify(change);
    }
}

/// What the connections of a proxy share.
#[derive(Clone)]
struct Link {
    /// The server's.
    port: u16,
    protocol: Protocol,
    rules: watch::Receiver<Rules>,
    ports: Ports,
    counters: Arc<Counters>,
}

async fn serve(listener: std::net::TcpListener, mut link: Link) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                tokio::spawn(relay(client, link.clone()));
            },
            changed = link.rules.changed() => if changed.is_err() { return },
        }
    }
}

async fn relay(client: TcpStream, mut link: Link) {
    // One that is cut off doesn't even find the server; one in silence waits for it.
    let silent = |rules: &Rules| rules.deaf || rules.mute;
    if silent(&link.rules.borrow()) {
        link.counters.held_back();
    }
    let reachable = link.rules.wait_for(|rules| rules.cut || !silent(rules)).await;
    if reachable.is_ok_and(|rules| rules.cut) {
        link.counters.refused();
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", link.port)).await else { return };
    // Both ends send small pieces and wait for each other.
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let own = server.local_addr().map_or(0, |address| address.port());
    link.ports.lock().unwrap().insert(own);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = Pump::new(Direction::ToServer, &link);
    let down = Pump::new(Direction::ToClient, &link);
    tokio::select! {
        () = up.run(from_client, to_server) => {}
        () = down.run(from_server, to_client) => {}
    }
    link.ports.lock().unwrap().remove(&own);
}

#[cfg(test)]
mod tests;
