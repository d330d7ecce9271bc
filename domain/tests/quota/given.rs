//! The words that the rules' tests are written in.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::test::{AggregateResultValidator, TestFramework};
use domain::prices::ANY_SERVICE;
use domain::quota::{
    Account, AccountView, Amount, ConsumeQuota, LimitKind, LimitView, Limits, Posting,
    QuotaCommand, QuotaContext, QuotaEvent, QuotaPolicy, QuotaRejection, ReserveQuota, ResetScope,
    Sum, decide,
};
use domain::{
    Actor, ActorRole, Credits, Price, PriceBook, PriceEntry, ReservationId, TurnId, Usage,
};
use uuid::Uuid;

pub(crate) type Then = AggregateResultValidator<Account>;

/// When accounts of stories open.
pub(crate) const NOON: &str = "2026-01-15T12:00:00Z";

/// An account's past, and who is about to ask it for something, when.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    pub(crate) account: Account,
    pub(crate) events: Vec<QuotaEvent>,
    pub(crate) context: QuotaContext,
}

/// An account that opened at [`NOON`] with these limits (JSON).
pub(crate) fn account(limits: &str) -> Story {
    nobody(limits).does(open(None))
}

/// An account that nobody has used yet; the free tier has these limits (JSON).
pub(crate) fn nobody(limits: &str) -> Story {
    Story { account: Account::default(), events: Vec::new(), context: context(limits) }
}

impl Story {
    /// Goes on at this time.
    pub(crate) fn at(mut self, time: &str) -> Self {
        self.context.now = utc(time);
        self
    }

    /// Goes on so much later.
    pub(crate) fn later(mut self, by: TimeDelta) -> Self {
        self.context.now += by;
        self
    }

    /// Goes on with another caller.
    pub(crate) fn by(mut self, actor: Actor) -> Self {
        self.context.actor = actor;
        self
    }

    /// This happens.
    #[expect(clippy::needless_pass_by_value, reason = "a story reads better without borrows")]
    pub(crate) fn does(mut self, command: QuotaCommand) -> Self {
        let events = decide(&self.account, &command, &self.context)
            .unwrap_or_else(|refused| panic!("{}: {refused}", command.name()));
        for event in events {
            self.account.apply(&event);
            self.events.push(event);
        }
        self
    }

    /// All of these happen.
    pub(crate) fn all(self, commands: impl IntoIterator<Item = QuotaCommand>) -> Self {
        commands.into_iter().fold(self, Self::does)
    }

    pub(crate) fn when(&self, command: QuotaCommand) -> Then {
        TestFramework::<Account>::with(self.context.clone())
            .given(self.events.clone())
            .when(command)
    }

    /// What `command` makes happen.
    pub(crate) fn events_of(&self, command: QuotaCommand) -> Vec<QuotaEvent> {
        self.when(command).inspect_result().unwrap()
    }

    /// What `command` makes happen, by name.
    pub(crate) fn names_of(&self, command: QuotaCommand) -> Vec<&'static str> {
        self.events_of(command).iter().map(QuotaEvent::name).collect()
    }

    /// Why `command` is refused.
    pub(crate) fn refusal(&self, command: QuotaCommand) -> QuotaRejection {
        self.when(command).inspect_result().unwrap_err()
    }

    pub(crate) fn view(&self) -> AccountView {
        self.account.view(self.context.now)
    }

    pub(crate) fn limit(&self, kind: LimitKind) -> LimitView {
        self.view().limits.into_iter().find(|limit| limit.kind == kind).unwrap()
    }
}

// ------------------------------------------------------------------ who, when, what

pub(crate) fn utc(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

pub(crate) fn credits(amount: &str) -> Credits {
    amount.parse().unwrap()
}

pub(crate) fn actor(tenant: &str, user: &str, role: ActorRole) -> Actor {
    Actor { tenant_id: tenant.parse().unwrap(), user_id: user.parse().unwrap(), role }
}

/// The account's owner.
pub(crate) fn ada() -> Actor {
    actor("acme", "ada", ActorRole::User)
}

/// An admin of the owner's tenant: the one who acts in stories unless another is named.
pub(crate) fn root() -> Actor {
    actor("acme", "root", ActorRole::Admin)
}

pub(crate) fn context(limits: &str) -> QuotaContext {
    QuotaContext {
        now: utc(NOON),
        actor: root(),
        owner: (ada().tenant_id, ada().user_id),
        named_tier: None,
        policy: Arc::new(policy(limits)),
        prices: Arc::new(prices()),
    }
}

pub(crate) fn limits(json: &str) -> Limits {
    serde_json::from_str(json).unwrap()
}

/// The free tier has the limits that are asked for; "pro" has a bit of everything.
pub(crate) fn policy(free: &str) -> QuotaPolicy {
    let pro = r#"{"requests_per_minute": 20, "tokens_per_day": 10000, "tokens_total": 50000,
                  "credit_balance": "50"}"#;
    QuotaPolicy {
        tiers: [("free", free), ("open", "{}"), ("pro", pro)]
            .map(|(name, json)| (name.to_owned(), limits(json)))
            .into(),
        default_tier: "free".to_owned(),
        tenant_default_tiers: BTreeMap::from([("bigcorp".parse().unwrap(), "pro".to_owned())]),
        hold: TimeDelta::minutes(10),
        answer_step: 500,
    }
}

/// "small" costs a credit for a thousand tokens of the prompt (half of it if cached) and two
/// for a thousand of the answer; others are free.
pub(crate) fn price() -> Price {
    Price {
        input_per_1k: credits("1"),
        cached_input_per_1k: Some(credits("0.5")),
        output_per_1k: credits("2"),
    }
}

pub(crate) fn priced(price: Price, from: &str) -> PriceEntry {
    let (service, model) = (ANY_SERVICE.to_owned(), "small".to_owned());
    PriceEntry { price_id: Uuid::nil(), service, model, price, from: utc(from) }
}

pub(crate) fn prices() -> PriceBook {
    let mut book = PriceBook::default();
    book.set(priced(price(), "2020-01-01T00:00:00Z"), utc("2020-01-01T00:00:00Z"));
    book
}

pub(crate) fn hold_id(number: u128) -> ReservationId {
    ReservationId(Uuid::from_u128(number))
}

pub(crate) fn entry(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub(crate) fn usage(prompt_tokens: u32, completion_tokens: u32) -> Usage {
    Usage { prompt_tokens, completion_tokens, ..Usage::default() }
}

pub(crate) fn amount(tokens: u64, money: &str) -> Amount {
    Amount { tokens, credits: credits(money) }
}

pub(crate) fn sum(tokens: i64, money: &str) -> Sum {
    Sum { tokens, credits: credits(money) }
}

pub(crate) fn posting(change: Sum, balance: Sum) -> Posting {
    Posting { change, balance }
}

/// A price change by the tokens of `usage`, as a text: for tests of free models.
pub(crate) fn free(command: QuotaCommand) -> QuotaCommand {
    let model = "gratis".to_owned();
    match command {
        QuotaCommand::ReserveQuota(reserve) => {
            QuotaCommand::ReserveQuota(ReserveQuota { model, ..reserve })
        }
        QuotaCommand::ConsumeQuota(consume) => {
            QuotaCommand::ConsumeQuota(ConsumeQuota { model, ..consume })
        }
        command => command,
    }
}

// ------------------------------------------------------------------ commands

pub(crate) fn open(tier: Option<&str>) -> QuotaCommand {
    QuotaCommand::OpenAccount { tier: tier.map(str::to_owned) }
}

/// A hold for turn `number`.
pub(crate) fn reserve(number: u128, prompt_tokens: u32, answer_tokens: u32) -> QuotaCommand {
    QuotaCommand::ReserveQuota(ReserveQuota {
        reservation_id: hold_id(number),
        service: "chat".to_owned(),
        model: "small".to_owned(),
        prompt_tokens,
        answer_tokens,
        extends: false,
    })
}

/// More for the hold of turn `number`.
pub(crate) fn extend(number: u128, answer_tokens: u32) -> QuotaCommand {
    match reserve(number, 0, answer_tokens) {
        QuotaCommand::ReserveQuota(reserve) => {
            QuotaCommand::ReserveQuota(ReserveQuota { extends: true, ..reserve })
        }
        command => command,
    }
}

fn consume_as(number: u128, of_turn: bool, usage: Usage) -> QuotaCommand {
    QuotaCommand::ConsumeQuota(ConsumeQuota {
        entry_id: entry(number),
        reservation_id: of_turn.then_some(hold_id(number)),
        turn_id: of_turn.then_some(TurnId(entry(number))),
        service: "chat".to_owned(),
        model: "small".to_owned(),
        usage,
    })
}

/// What turn `number` used.
pub(crate) fn settle(number: u128, prompt: u32, completion: u32) -> QuotaCommand {
    consume_as(number, true, usage(prompt, completion))
}

/// What was used without a hold.
pub(crate) fn consume(number: u128, prompt: u32, completion: u32) -> QuotaCommand {
    consume_as(number, false, usage(prompt, completion))
}

/// The same with every count of `usage`.
pub(crate) fn consume_all(number: u128, usage: Usage) -> QuotaCommand {
    consume_as(number, false, usage)
}

pub(crate) fn release(number: u128) -> QuotaCommand {
    let reservation_id = hold_id(number);
    QuotaCommand::ReleaseReservation { reservation_id, reason: "failed".to_owned() }
}

pub(crate) fn expire(number: u128) -> QuotaCommand {
    QuotaCommand::ExpireReservation { reservation_id: hold_id(number) }
}

fn why() -> String {
    "as agreed".to_owned()
}

pub(crate) fn recharge(number: u128, tokens: u64, money: &str) -> QuotaCommand {
    let (entry_id, credits) = (entry(number), credits(money));
    QuotaCommand::RechargeQuota { entry_id, tokens, credits, reason: why() }
}

pub(crate) fn suspend() -> QuotaCommand {
    QuotaCommand::SuspendQuota { reason: why() }
}

pub(crate) fn activate() -> QuotaCommand {
    QuotaCommand::ActivateQuota { reason: why() }
}

pub(crate) fn reset(scope: ResetScope) -> QuotaCommand {
    QuotaCommand::ResetQuota { scope, reason: why() }
}

pub(crate) fn change_tier(tier: &str) -> QuotaCommand {
    QuotaCommand::ChangeTier { tier: tier.to_owned(), reason: why() }
}

pub(crate) fn override_limits(json: &str) -> QuotaCommand {
    let limits = serde_json::from_str(json).unwrap();
    QuotaCommand::OverrideLimits { limits, reason: why() }
}

pub(crate) fn adjust(number: u128, tokens: i64, money: &str) -> QuotaCommand {
    let (entry_id, change) = (entry(number), sum(tokens, money));
    QuotaCommand::PostAdjustment { entry_id, change, reprices: None, reason: why() }
}
