//! Watching turns: one NATS subscription a watched turn, fanned out to all its watchers in
//! this process, and joined with what NATS still holds.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use domain::{TenantId, TurnId};
use futures::StreamExt;
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connection::Broker;
use crate::error::BrokerError;
use crate::frame::Frame;
use crate::splice::{Cursor, Spliced, splice};
use crate::stored::decode;
use crate::subjects;

/// Frames a slow watcher may lag behind before it has to fetch them again.
const LAG: usize = 128;
/// How often a hole is looked for in the stored frames before it counts as lost.
const TRIES: u32 = 3;

type Key = (TenantId, TurnId);

/// All watched turns of this process.
#[derive(Clone)]
pub struct DeltaHub {
    broker: Broker,
    turns: Arc<Mutex<HashMap<Key, Weak<Shared>>>>,
}

/// One turn's subscription; ends when its last watcher is gone.
struct Shared {
    key: Key,
    frames: broadcast::Sender<Arc<Frame>>,
    turns: Arc<Mutex<HashMap<Key, Weak<Shared>>>>,
    _stop: DropGuard,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // A newer one may have taken the place already.
        if turns.get(&self.key).is_some_and(|shared| shared.strong_count() == 0) {
            turns.remove(&self.key);
        }
    }
}

/// Why a watch can't go on by itself.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Frames are gone for good; what the log says must stand in for them.
    #[error("a piece of the stream is lost")]
    Lost,
    /// Nothing came for a while: the turn may have ended unheard.
    #[error("nothing came for a while")]
    Quiet,
}

impl DeltaHub {
    /// A hub on `broker`.
    pub fn new(broker: Broker) -> Self {
        Self { broker, turns: Arc::default() }
    }

    /// Watches `turn` from `cursor` on. The subscription stands when this returns; with
    /// `stored`, what was published before is read too.
    pub async fn watch(
        &self,
        tenant: TenantId,
        turn: TurnId,
        cursor: Cursor,
        stored: bool,
    ) -> Result<TurnWatch, BrokerError> {
        let shared = self.shared((tenant, turn)).await?;
        let live = shared.frames.subscribe();
        let mut watch =
            TurnWatch { broker: self.broker.clone(), shared, live, cursor, ready: VecDeque::new() };
        if stored {
            watch.refill().await;
        }
        Ok(watch)
    }

    async fn shared(&self, key: Key) -> Result<Arc<Shared>, BrokerError> {
        if let Some(shared) = self.find(&key) {
            return Ok(shared);
        }
        let subject = subjects::delta(&key.0, key.1);
        let subscriber = self.broker.subscribe(subject, "watch a turn").await?;
        // Another watcher may have been faster; its subscription serves both.
        if let Some(shared) = self.find(&key) {
            return Ok(shared);
        }
        let (frames, _) = broadcast::channel(LAG);
        let stop = CancellationToken::new();
        tokio::spawn(pump(subscriber, frames.clone(), stop.clone()));
        let shared = Arc::new(Shared {
            key: key.clone(),
            frames,
            turns: Arc::clone(&self.turns),
            _stop: stop.drop_guard(),
        });
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.insert(key, Arc::downgrade(&shared));
        Ok(shared)
    }

    fn find(&self, key: &Key) -> Option<Arc<Shared>> {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.get(key).and_then(Weak::upgrade)
    }
}

async fn pump(
    mut subscriber: async_nats::Subscriber,
    frames: broadcast::Sender<Arc<Frame>>,
    stop: CancellationToken,
) {
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => return,
            message = subscriber.next() => message,
        };
        let Some(message) = message else { return };
        match decode(&message) {
            // No receiver is no error: the last watcher is just leaving.
            Ok(frame) => drop(frames.send(Arc::new(frame))),
            Err(error) => tracing::warn!(%error, "a frame was ignored"),
        }
    }
}

/// One watcher of one turn: frames in order, each once, without a hole.
pub struct TurnWatch {
    broker: Broker,
    shared: Arc<Shared>,
    live: broadcast::Receiver<Arc<Frame>>,
    cursor: Cursor,
    ready: VecDeque<Arc<Frame>>,
}

impl TurnWatch {
    /// What has been handed out so far.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The next frame.
    ///
    /// # Errors
    /// [`WatchError::Quiet`] after `patience` without one; the watch stays good.
    /// [`WatchError::Lost`] when a hole can't be filled.
    pub async fn next(&mut self, patience: Duration) -> Result<Arc<Frame>, WatchError> {
        let mut tries = 0;
        loop {
            while let Some(frame) = self.ready.pop_front() {
                if splice(&mut self.cursor, &frame) == Spliced::Next {
                    return Ok(frame);
                }
            }
            let received = tokio::time::timeout(patience, self.live.recv())
                .await
                .map_err(|_| WatchError::Quiet)?;
            match received {
                Ok(frame) => {
                    let mut cursor = self.cursor;
                    match splice(&mut cursor, &frame) {
                        Spliced::Next => {
                            self.cursor = cursor;
                            return Ok(frame);
                        }
                        Spliced::Old => continue,
                        Spliced::Gap => {}
                    }
                    tries += 1;
                    self.refill().await;
                    self.ready.push_back(frame);
                    if tries >= TRIES && !self.has_next() {
                        return Err(WatchError::Lost);
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => self.refill().await,
                // The pump ends only with the connection.
                Err(broadcast::error::RecvError::Closed) => return Err(WatchError::Lost),
            }
        }
    }

    /// Puts what NATS still holds before what comes live.
    async fn refill(&mut self) {
        let (tenant, turn) = &self.shared.key;
        match self.broker.stored_frames(tenant, *turn).await {
            Ok(frames) => self.ready = of_the_newest_attempt(frames).map(Arc::new).collect(),
            // The log stands in for what can't be had here.
            Err(error) => tracing::debug!(%error, %turn, "stored deltas could not be read"),
        }
    }

    /// Whether what is ready leads on from the cursor.
    fn has_next(&self) -> bool {
        self.ready.iter().any(|frame| splice(&mut self.cursor.clone(), frame) == Spliced::Next)
    }
}

/// What earlier attempts said is taken back: nobody needs to hear it first.
fn of_the_newest_attempt(frames: Vec<Frame>) -> impl Iterator<Item = Frame> {
    let attempt = |frame: &Frame| frame.place().0;
    let newest = frames.iter().map(attempt).max();
    frames.into_iter().filter(move |frame| Some(attempt(frame)) == newest)
}

impl Broker {
    /// Publishes one frame of a turn. It may be lost; its sequence tells.
    pub async fn publish_frame(&self, tenant: &TenantId, turn: TurnId, frame: &Frame) {
        let body = match serde_json::to_vec(frame) {
            Ok(body) => body,
            Err(error) => return tracing::error!(%error, "a frame could not be encoded"),
        };
        self.send(subjects::delta(tenant, turn), body.into()).await;
    }
}
