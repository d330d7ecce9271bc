//! Who works with the world while it is harmed: users of several tenants, on both API nodes, who
//! behave as good clients do. A request without a definite answer is sent again under the same
//! key, to any node; a stream that breaks is taken up again after the last event, at any node.

mod completing;
mod sending;
mod user;
mod vanishing;
mod watching;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::{JoinError, JoinSet};

use super::record::{Accepted, Entries, Record};
use super::world::{PLAIN, World};
use user::User;

/// A provider that hangs is given up after 5 seconds, and so is the one in its stead.
const HANGS: Duration = Duration::from_secs(12);

/// How much is done, and how.
#[derive(Debug, Clone)]
pub struct Load {
    /// Users at the same time.
    pub users: usize,
    /// Tenants that they belong to.
    pub tenants: usize,
    /// Tokens of an answer: at least, and fewer than.
    pub tokens: (u32, u32),
    /// Milliseconds between two: at least, and fewer than.
    pub pause: (u32, u32),
    /// More words for the provider, of which each message gets one; `""` is none.
    pub directives: Vec<&'static str>,
    /// The bytes of the largest answer, if one is large.
    pub largest_answer: u64,
    /// Each does nothing but send and watch.
    pub plain: bool,
    /// Turns of each user at the least, however soon the load is to end.
    pub at_least: usize,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            users: 8,
            tenants: 3,
            tokens: (8, 40),
            pause: (5, 40),
            directives: vec![""],
            largest_answer: 0,
            plain: false,
            at_least: 2,
        }
    }
}

/// What the users of a load share.
struct Shared {
    load: Load,
    record: Arc<Record>,
    bases: Vec<String>,
    /// Before each text and key, so that no two rounds in a world have the same.
    round: String,
    over: AtomicBool,
    turns: AtomicUsize,
}

/// Users at work.
pub struct Working {
    shared: Arc<Shared>,
    users: JoinSet<()>,
    /// The number of the next user who comes for one thing only.
    next: usize,
}

/// The first user who comes for one thing only.
const GUESTS: usize = 1000;

impl Load {
    /// What the longest answer takes by itself.
    pub fn longest(&self) -> Duration {
        let answer = Duration::from_millis(u64::from(self.tokens.1) * u64::from(self.pause.1));
        let hangs = self.directives.iter().any(|directive| directive.starts_with("hang"));
        answer + if hangs { HANGS } else { Duration::ZERO }
    }

    /// Lets the users begin.
    pub fn start(self, world: &World, dice: &mut StdRng) -> Working {
        let shared = Arc::new(Shared {
            record: Arc::default(),
            bases: world.bases(),
            round: format!("r{}", world.rounds),
            over: AtomicBool::new(false),
            turns: AtomicUsize::new(0),
            load: self,
        });
        let mut users = JoinSet::new();
        for number in 0..shared.load.users {
            let dice = StdRng::seed_from_u64(dice.random());
            users.spawn(User::new(&shared, number, dice).work());
        }
        Working { shared, users, next: GUESTS }
    }
}

impl Working {
    /// What they were told so far.
    pub fn record(&self) -> &Arc<Record> {
        &self.shared.record
    }

    /// Waits until `count` more turns have been seen to their end; fails after `deadline`.
    pub async fn turns(&mut self, count: usize, deadline: Duration) {
        let wanted = self.shared.turns.load(Ordering::Relaxed) + count;
        let what = format!("I9: {count} more turns are seen to their end");
        crate::eventually(&what, deadline, async || {
            if let Some(ended) = self.users.try_join_next() {
                whole(ended);
            }
            self.shared.turns.load(Ordering::Relaxed) >= wanted
        })
        .await;
    }

    /// Sends a message, which must be accepted before `deadline`.
    pub async fn accepts(&mut self, dice: &mut StdRng, deadline: Duration) {
        let mut guest = self.guest(dice);
        let sent = tokio::time::timeout(deadline, guest.send()).await;
        assert!(sent.is_ok(), "I9: no message was accepted in {deadline:?}");
    }

    /// What messages may ask of the provider.
    pub fn directives(&self) -> Vec<&'static str> {
        self.shared.load.directives.clone()
    }

    /// Sends a message with `directive` to `model`; tells who did, and what was accepted.
    pub async fn ask_for(
        &mut self,
        model: &'static str,
        dice: &mut StdRng,
        directive: &str,
    ) -> (usize, Accepted) {
        let number = self.next;
        let mut guest = self.guest(dice);
        guest.model = model;
        let text = format!("{} [[{directive}]]", guest.key());
        (number, guest.send_text(text).await)
    }

    /// Sends a message with `directive`; tells who did, and what was accepted.
    pub async fn ask(&mut self, dice: &mut StdRng, directive: &str) -> (usize, Accepted) {
        self.ask_for(PLAIN, dice, directive).await
    }

    /// Tenant and name of a user.
    pub fn names(&self, number: usize) -> (String, String) {
        let guest = User::new(&self.shared, number, StdRng::seed_from_u64(0));
        (guest.tenant, guest.name)
    }

    /// Lets `count` more watch the turn that the user `owner` has sent.
    pub fn watch(&mut self, owner: usize, turn: &str, count: usize, dice: &mut StdRng) {
        for _ in 0..count {
            let dice = StdRng::seed_from_u64(dice.random());
            let mut user = User::new(&self.shared, owner, dice);
            let turn = turn.to_owned();
            self.users.spawn(async move {
                user.watch(&turn, false, None).await;
                user.has_seen();
            });
        }
    }

    /// Lets `count` clients begin a request and go away.
    pub fn vanish(&mut self, count: usize, dice: &mut StdRng) {
        for _ in 0..count {
            let guest = self.guest(dice);
            self.users.spawn(guest.vanish());
        }
    }

    fn guest(&mut self, dice: &mut StdRng) -> User {
        self.next += 1;
        User::new(&self.shared, self.next - 1, StdRng::seed_from_u64(dice.random()))
    }

    /// Lets all users finish what they have begun; tells what they were told.
    pub async fn finish(mut self) -> Entries {
        self.shared.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.users.join_next().await {
            whole(ended);
        }
        self.shared.record.take()
    }
}

/// Fails as the user did.
fn whole(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}
