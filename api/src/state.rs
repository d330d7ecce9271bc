//! What the handlers share.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use broker::{Broker, DeltaHub};
use commands::CommandBus;
use domain::TenantId;
use eventstore::{Database, EventStore};
use projections::Positions;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authenticator;
use crate::on_disconnect::OnDisconnect;
use crate::waiting_turns::WaitingTurns;

/// The state of one dependency.
#[derive(Debug, Clone)]
pub struct ProbeResult {
    /// What was looked at.
    pub name: String,
    /// What is wrong; none if nothing is.
    pub problem: Option<String>,
}

/// Looks at dependencies that this crate doesn't know, for `/health`.
#[async_trait]
pub trait Probe: Send + Sync {
    /// The state of each.
    async fn probe(&self) -> Vec<ProbeResult>;
}

/// What the handlers share. Clones are cheap.
#[derive(Clone)]
pub struct ApiState(Arc<Shared>);

/// The parts of an [`ApiState`].
pub struct Shared {
    /// Carries commands out.
    pub bus: CommandBus,
    /// The log.
    pub store: EventStore,
    /// NATS.
    pub broker: Broker,
    /// How far the read models have come.
    pub positions: Positions,
    /// Watched turns.
    pub hub: DeltaHub,
    /// Who is calling.
    pub authenticator: Authenticator,
    /// Turns that wait for a worker.
    pub waiting: WaitingTurns,
    /// What becomes of a stateless call's turn when its client leaves.
    pub on_disconnect: OnDisconnect,
    /// Further dependencies.
    pub probe: Arc<dyn Probe>,
    /// The tenant whose admins may change what all tenants share; any tenant's, if none.
    pub operator_tenant: Option<TenantId>,
    /// The largest request body.
    pub max_body_bytes: usize,
    /// How long a request may take, apart from waiting for an answer.
    pub request_timeout: Duration,
    /// How long a read waits for a position.
    pub position_patience: Duration,
    /// Between signs of life on a quiet stream.
    pub keep_alive: Duration,
    /// Set when the process is about to stop: readiness is off, and streams end that can go on at
    /// another node.
    pub stopping: CancellationToken,
    /// Set when the process ends at once: the other streams end, too.
    pub ending: CancellationToken,
    /// Cancellations of turns whose clients left: the process waits for them.
    pub farewells: TaskTracker,
    /// This build's version.
    pub version: &'static str,
}

impl ApiState {
    /// The shared state.
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// The database's connections.
    pub(crate) fn pool(&self) -> &Database {
        self.0.store.pool()
    }

    pub(crate) fn max_body_bytes(&self) -> usize {
        self.0.max_body_bytes
    }
}

impl std::ops::Deref for ApiState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
