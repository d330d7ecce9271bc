//! What the tests share: one cluster for those that break nothing, and names of their own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tests::{Client, Cluster};
use tokio::sync::OnceCell;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_colloquy");
/// For what takes a moment at most.
pub(crate) const SOON: Duration = Duration::from_secs(20);

static SHARED: OnceCell<Cluster> = OnceCell::const_new();
static TENANTS: AtomicU32 = AtomicU32::new(1);

/// Two API nodes, three workers: for every test that does no harm to any of them.
pub(crate) async fn shared() -> &'static Cluster {
    let start = async || {
        Cluster::builder(BINARY)
            .node("a", "api,projector,relay")
            .node("b", "api,projector,relay")
            .node("worker-1", "worker")
            .node("worker-2", "worker")
            .node("worker-3", "worker")
            .start()
            .await
    };
    SHARED.get_or_init(start).await
}

/// A tenant that no other test has.
pub(crate) fn new_tenant() -> String {
    format!("tenant-{}", TENANTS.fetch_add(1, Ordering::Relaxed))
}

/// A user of a new tenant on the shared cluster's nodes `a` and `b`.
pub(crate) async fn user() -> (Client, Client) {
    let (cluster, tenant) = (shared().await, new_tenant());
    (cluster.client("a", &tenant, "ann"), cluster.client("b", &tenant, "ann"))
}
