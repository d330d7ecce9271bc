//! The feed: one a process, for all its projections. It decodes each event once and hands on
//! runs without a hole.
//!
//! Events come from NATS while each follows the one before it and belongs to this log. At a
//! hole, and once a second in case the last message was lost, Postgres is read. When that
//! finds events which NATS did not bring, it is read more often, and after each append of this
//! process, until NATS brings something again. So NATS may be stopped or wiped at any moment:
//! things go on, only slower.

use std::time::Duration;

use broker::{Broker, EventFeed, EventMessage};
use eventstore::{EventStore, Position, RecordedEvent, StoreError, is_last_page};
use futures::FutureExt;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::event::{Batch, Event};
use crate::positions::Positions;
use crate::trouble::Trouble;

/// Batches that a slow projection may lag behind before it must read Postgres by itself.
const CAPACITY: usize = 256;
/// Events handed on at once.
const BATCH: usize = 256;
/// Events read from Postgres at once.
const PAGE: i64 = 1000;
/// The pause between two batches, in which the next one gathers. The first event after a
/// longer silence does not wait.
const GATHER: Duration = Duration::from_millis(3);
const POLL_WHEN_LIVE: Duration = Duration::from_secs(1);
const POLL_OTHERWISE: Duration = Duration::from_millis(100);

/// Reads the log and hands it on.
pub(crate) struct Feed {
    store: EventStore,
    broker: Broker,
    positions: Positions,
    batches: broadcast::Sender<Batch>,
    subscription: Option<EventFeed>,
    appended: watch::Receiver<Position>,
    epoch: String,
    /// The newest event handed on; none before the log's head is known.
    position: Option<Position>,
    /// Whether NATS brought the newest event, or one after it.
    live: bool,
    sent_at: Instant,
    poll_at: Instant,
    database: Trouble,
    subscribing: Trouble,
}

/// Where a message belongs.
enum Place {
    /// It was handed on already.
    Known,
    /// It is the next one.
    Next(RecordedEvent),
    /// Something is missing before it, or it came without its body.
    Hole,
    /// It is of another log.
    Foreign,
}

impl Feed {
    pub(crate) fn new(store: EventStore, broker: Broker, positions: Positions) -> Self {
        Self {
            batches: broadcast::Sender::new(CAPACITY),
            subscription: None,
            appended: store.appended(),
            epoch: String::new(),
            position: None,
            live: false,
            sent_at: Instant::now(),
            poll_at: Instant::now(),
            database: Trouble::new("read the log for the projections"),
            subscribing: Trouble::new("subscribe to the events"),
            store,
            broker,
            positions,
        }
    }

    /// What will be handed on from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Batch> {
        self.batches.subscribe()
    }

    /// Runs until cancelled. Starts at the log's head: what lies before it, each projection
    /// reads by itself.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            let step = async {
                tokio::select! {
                    message = next(&mut self.subscription) => Wake::Message(message),
                    () = sleep_until(self.poll_at) => Wake::Poll,
                    Ok(()) = self.appended.changed() => Wake::Appended,
                }
            };
            let Some(wake) = cancel.run_until_cancelled(step).await else {
                break;
            };
            match wake {
                Wake::Message(Some(message)) => self.receive(message).await,
                Wake::Message(None) => self.subscription = None,
                Wake::Appended if self.live => self.poll_at = self.poll_at.min(self.next_poll()),
                Wake::Appended | Wake::Poll => self.poll().await,
            }
        }
        self.positions.set_live(false);
    }

    /// Takes `first` and what else is there by now.
    async fn receive(&mut self, first: EventMessage) {
        sleep_until(self.sent_at + GATHER).await;
        let mut events = Vec::new();
        let mut hole = false;
        let mut message = Some(first);
        let position = self.position.unwrap_or_default();
        while let Some(current) = message.take() {
            match self.place(&current, position + length(&events)) {
                Place::Known if current.position == position => self.set_live(true),
                Place::Known => {}
                Place::Next(event) => events.push(event),
                Place::Hole => hole = true,
                Place::Foreign => self.epoch.clear(),
            }
            if !hole && events.len() < BATCH {
                message = self
                    .subscription
                    .as_mut()
                    .and_then(|subscription| subscription.next().now_or_never().flatten());
            }
        }
        if !events.is_empty() {
            self.set_live(true);
            self.hand_on(events);
            self.poll_at = self.next_poll();
        }
        if hole {
            self.poll().await;
        }
    }

    fn place(&self, message: &EventMessage, position: Position) -> Place {
        if message.epoch != self.epoch {
            Place::Foreign
        } else if message.position <= position {
            Place::Known
        } else if message.position > position + 1 || message.payload.is_empty() {
            Place::Hole
        } else {
            match serde_json::from_slice::<RecordedEvent>(&message.payload) {
                Ok(event) if event.position == message.position => Place::Next(event),
                _ => Place::Hole,
            }
        }
    }

    /// Reads what Postgres has beyond what was handed on.
    async fn poll(&mut self) {
        self.keep_subscribed().await;
        self.poll_at = match self.catch_up().await {
            Ok(()) => {
                self.database.over();
                self.next_poll()
            }
            Err(error) => {
                self.set_live(false);
                Instant::now() + self.database.failed(&error)
            }
        };
    }

    /// When to read Postgres, should NATS bring nothing until then: soon, if this process knows
    /// of more.
    fn next_poll(&self) -> Instant {
        let complete = self.position.is_some_and(|position| *self.appended.borrow() <= position);
        let pause = if self.live && complete { POLL_WHEN_LIVE } else { POLL_OTHERWISE };
        Instant::now() + pause
    }

    async fn catch_up(&mut self) -> Result<(), StoreError> {
        if self.epoch.is_empty() || self.database.is_on() {
            self.orient().await?;
        }
        sleep_until(self.sent_at + GATHER).await;
        self.appended.borrow_and_update();
        loop {
            let position = self.position.unwrap_or_default();
            let events = self.store.read_after(position, PAGE).await?;
            let whole = is_last_page(&events, PAGE);
            if !events.is_empty() {
                self.set_live(false);
                self.hand_on(events);
            }
            if whole {
                return Ok(());
            }
            // The projections are slower than the log can be read: not to outrun them.
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Learns which log this is and where it ends. Asked again after trouble: the database may
    /// have been restored to an earlier moment.
    async fn orient(&mut self) -> Result<(), StoreError> {
        let epoch = self.store.epoch().await?.to_string();
        let head = self.store.head().await?;
        self.epoch = epoch;
        if self.position.is_none_or(|position| head < position) {
            self.position = Some(head);
            self.positions.set_head(head);
            // An empty batch: what lies before, each projection reads by itself.
            let _ = self.batches.send(Batch::default());
        }
        Ok(())
    }

    async fn keep_subscribed(&mut self) {
        if self.subscription.is_some() {
            return;
        }
        match self.broker.subscribe_events().await {
            Ok(subscription) => {
                self.subscribing.over();
                self.subscription = Some(subscription);
            }
            // The next poll tries again.
            Err(error) => drop(self.subscribing.failed(&error)),
        }
    }

    fn hand_on(&mut self, events: Vec<RecordedEvent>) {
        let Some(last) = events.last() else { return };
        self.position = Some(last.position);
        self.positions.set_head(last.position);
        self.sent_at = Instant::now();
        // An error only says that nobody listens.
        let _ = self.batches.send(Event::decode_all(events));
    }

    fn set_live(&mut self, live: bool) {
        if self.live != live {
            tracing::debug!(live, "events come {}", if live { "from NATS" } else { "by polling" });
            self.live = live;
            self.positions.set_live(live);
        }
    }
}

enum Wake {
    Message(Option<EventMessage>),
    Appended,
    Poll,
}

async fn next(subscription: &mut Option<EventFeed>) -> Option<EventMessage> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}

fn length<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}
