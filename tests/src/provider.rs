//! A provider that does as it is told: an `OpenAI`-compatible server whose answers are fast or
//! slow, whole, cut or wrong, as each request's last message says, and which keeps its own
//! account of what it was asked and what it gave.
//!
//! It runs on a thread of its own, so it serves all tests of a binary, whichever runtime they
//! have; and it is cheap, for the bench measures with it on the same cores.

mod account;
mod behaviour;
mod connection;
mod render;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub use account::{Call, Ended, Usage};
pub use behaviour::{Behaviour, Fault};

use account::Account;

/// Models of this kind always give the same answer of as many tokens: `bench-32`.
const BENCH: &str = "bench-";

/// The handle to a running provider, which ends with its last one.
#[derive(Clone)]
pub struct Provider {
    address: SocketAddr,
    account: Arc<Account>,
    _alive: Arc<watch::Sender<()>>,
}

impl Provider {
    /// Starts a provider on a free port.
    pub fn start() -> Self {
        let account = Arc::new(Account::default());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let theirs = Arc::clone(&account);
        let (alive, ended) = watch::channel(());
        std::thread::Builder::new()
            .name("provider".to_owned())
            .spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(serve(listener, theirs, ended));
            })
            .unwrap();
        Self { address, account, _alive: Arc::new(alive) }
    }

    /// What stands before `/chat/completions`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests for an answer so far, from everybody.
    pub fn count(&self) -> u64 {
        self.account.calls.load(Ordering::Relaxed)
    }

    /// Connections that are open, idle ones too.
    pub fn connections(&self) -> u64 {
        self.account.connections.load(Ordering::Relaxed)
    }

    /// The calls whose last message has `marker` in it, oldest first. Calls of bench models
    /// are only counted.
    pub fn calls(&self, marker: &str) -> Vec<Call> {
        self.account.find(marker)
    }

    /// Lets the answers to messages that have `marker` in them go on, now and later.
    pub fn open(&self, marker: &str) {
        self.account.open_gate(marker);
    }

    /// The text that a bench model answers with.
    pub fn bench_text(tokens: usize) -> String {
        render::bench_text(tokens)
    }
}

async fn serve(
    listener: std::net::TcpListener,
    account: Arc<Account>,
    mut ended: watch::Receiver<()>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                tokio::spawn(serve_one(stream, Arc::clone(&account)));
            },
            changed = ended.changed() => if changed.is_err() { return },
        }
    }
}

async fn serve_one(stream: TcpStream, account: Arc<Account>) {
    stream.set_nodelay(true).unwrap();
    account.connections.fetch_add(1, Ordering::Relaxed);
    connection::serve(stream, &account).await;
    account.connections.fetch_sub(1, Ordering::Relaxed);
}
