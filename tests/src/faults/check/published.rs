//! I9, of NATS: what it holds of the log is a slice of it, whole and in order, up to its end.

use std::time::Duration;

use async_nats::jetstream::{self, consumer};
use futures::StreamExt;

use crate::faults::world::World;

use super::Log;

const EVENTS: &str = "EVENTS";
const JOBS: &str = "JOBS";
/// For one message.
const MESSAGE: Duration = Duration::from_secs(10);

/// JetStream, beside all proxies.
pub(super) async fn jetstream(world: &World) -> Option<jetstream::Context> {
    let url = world.cluster.nats_url();
    let (_, rest) = url.split_once("://")?;
    let (name, rest) = rest.split_once(':')?;
    let (password, address) = rest.split_once('@')?;
    let options = async_nats::ConnectOptions::with_user_and_password(name.into(), password.into());
    let client = options.connect(address).await.ok()?;
    Some(jetstream::new(client))
}

/// When the stream of events was made; none if there is none.
pub async fn created(world: &World) -> Option<i128> {
    let stream = jetstream(world).await?.get_stream(EVENTS).await.ok()?;
    Some(stream.cached_info().created.unix_timestamp_nanos())
}

/// The log's position of the last event in NATS, and how many jobs it has.
pub(super) async fn state(context: &jetstream::Context) -> Option<(i64, u64)> {
    let mut events = context.get_stream(EVENTS).await.ok()?;
    let last = events.info().await.ok()?.state.last_sequence;
    let message = events.get_raw_message(last).await.ok()?;
    let position = message.headers.get("Colloquy-Position")?.as_str().parse().ok()?;
    let mut jobs = context.get_stream(JOBS).await.ok()?;
    Some((position, jobs.info().await.ok()?.state.messages))
}

/// Every event in NATS follows the one before, and is the log's at its position.
pub(super) async fn is_a_slice_of_the_log(world: &World, log: &Log) {
    let context = jetstream(world).await.expect("NATS takes connections");
    let mut stream = context.get_stream(EVENTS).await.unwrap();
    let last = stream.info().await.unwrap().state.last_sequence;
    let config = consumer::pull::OrderedConfig::default();
    let mut messages = stream.create_consumer(config).await.unwrap().messages().await.unwrap();
    let mut before: Option<i64> = None;
    loop {
        let message = tokio::time::timeout(MESSAGE, messages.next()).await;
        let message = message.expect("I9: NATS gives what it holds").unwrap().unwrap();
        let sequence = message.info().unwrap().stream_sequence;
        let headers = message.headers.clone().unwrap_or_default();
        let number = |name: &str| headers.get(name)?.as_str().parse::<i64>().ok();
        let position = number("Colloquy-Position").expect("I9: an event has its position");
        if let Some(before) = before {
            assert_eq!(position, before + 1, "I9: NATS has a hole before position {position}");
        }
        before = Some(position);
        let expected = log.at(position).unwrap_or_else(|| panic!("I9: no position {position}"));
        // Large ones go without their body.
        if let Ok(body) = serde_json::from_slice::<serde_json::Value>(&message.payload) {
            let id = body["event_id"].as_str();
            assert_eq!(id, Some(expected.id.as_str()), "I9: another event at {position}: {body}");
        }
        if sequence == last {
            break;
        }
    }
    assert_eq!(before, i64::try_from(log.events.len()).ok(), "I9: NATS lags");
}
