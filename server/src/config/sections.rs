//! The sections of the configuration and their defaults.

use std::net::{Ipv4Addr, SocketAddr};

use api::OnDisconnect;
use domain::TenantId;
use serde::{Deserialize, Serialize};

use super::Secret;

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    /// Address and port to listen on.
    pub(crate) listen: SocketAddr,
    /// The largest request body.
    pub(crate) max_body_bytes: usize,
    /// Web pages that may call the API: origins, or `*` for all.
    pub(crate) cors_origins: Vec<String>,
    /// How long a request may take that doesn't stream.
    pub(crate) request_timeout_seconds: u64,
    /// Open connections; more wait.
    pub(crate) max_connections: usize,
    /// How long a client may take nothing of what is sent to it.
    pub(crate) stalled_client_seconds: u64,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            max_body_bytes: 8 * 1024 * 1024,
            cors_origins: Vec::new(),
            request_timeout_seconds: 30,
            max_connections: 10_000,
            stalled_client_seconds: 60,
        }
    }
}

/// `[openai]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OpenAi {
    /// What becomes of a stateless call's turn when its client leaves.
    pub(crate) on_disconnect: OnDisconnect,
}

impl Default for OpenAi {
    fn default() -> Self {
        Self { on_disconnect: OnDisconnect::Cancel }
    }
}

/// `[queue]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Queue {
    /// Turns of one tenant that may wait for a worker.
    pub(crate) max_waiting_per_tenant: u64,
    /// Turns of all tenants that may.
    pub(crate) max_waiting: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { max_waiting_per_tenant: 20_000, max_waiting: 200_000 }
    }
}

/// `[database]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Database {
    /// `postgres://…`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<Secret>,
    /// The most connections of this process.
    pub(crate) max_connections: u32,
    /// How long a statement may take.
    pub(crate) statement_timeout_ms: u64,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: None, max_connections: 16, statement_timeout_ms: 5000 }
    }
}

/// `[nats]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Nats {
    /// `nats://…`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<Secret>,
}

/// `[auth]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Auth {
    /// The environment variable that holds the key of HS256 tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hs256_secret_env: Option<String>,
    /// The key itself; after loading, it is here wherever it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hs256_secret: Option<Secret>,
    /// Where the keys of RS256 and ES256 tokens are published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jwks_url: Option<String>,
    /// The `iss` a token must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<String>,
    /// The `aud` a token must name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) audience: Option<String>,
    /// How far the issuer's clock may be off.
    pub(crate) leeway_seconds: u64,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            hs256_secret_env: None,
            hs256_secret: None,
            jwks_url: None,
            issuer: None,
            audience: None,
            leeway_seconds: 30,
        }
    }
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    /// The tenant whose admins may change providers, models and prices; if none is named, the
    /// admins of every tenant may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) operator_tenant: Option<TenantId>,
}

/// `[worker]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Worker {
    /// The first part of this process's name in the log; the host's name if none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// Answers at the same time.
    pub(crate) concurrency: usize,
    /// How long pieces of an answer are collected before they are sent on.
    pub(crate) delta_interval_ms: u64,
}

impl Default for Worker {
    fn default() -> Self {
        Self { id: None, concurrency: 256, delta_interval_ms: 20 }
    }
}

/// `[shutdown]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Shutdown {
    /// How long running work may go on after the signal to stop.
    pub(crate) grace_seconds: u64,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace_seconds: 30 }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// For people or for machines.
    pub(crate) format: LogFormat,
    /// What is logged: a level, or levels by target (`info,workers=debug`).
    pub(crate) filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::default(), filter: "info".to_owned() }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// Lines to read.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
