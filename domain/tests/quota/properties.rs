//! What holds after any sequence of commands, sensible or not, whatever the clocks say.

use std::collections::BTreeMap;

use chrono::{Datelike, TimeDelta};
use domain::quota::{
    Account, Amount, LimitKind, Quantity, QuotaCommand, QuotaEvent, QuotaPolicy, decide,
};
use domain::{Credits, ReservationId};
use proptest::prelude::*;

use crate::given::{Story, nobody, release, settle, utc};
use crate::model::{Model, Span};
use crate::steps::{Life, are_lower, command, life, tiers};

/// All that happened, the state after it, and the slow way to the same.
struct Run {
    story: Story,
    model: Model,
    /// Nothing has happened yet that may exceed a limit: none was lowered, no money was taken
    /// away, and nobody used more than was held.
    within: bool,
    refused: BTreeMap<&'static str, usize>,
}

impl Run {
    fn of(life: &Life) -> Self {
        let mut run = Self::begin(life);
        for (number, (step, pause)) in (1..).zip(&life.steps) {
            run.story.context.now += TimeDelta::seconds(*pause);
            let command = command(step, number, &run.story.account, &run.story.events, life.tame);
            run.take(&command);
        }
        run
    }

    /// A minute before a month ends, where many windows are.
    fn begin(life: &Life) -> Self {
        let mut story = nobody("{}").at("2026-02-28T23:59:00Z");
        let policy = QuotaPolicy { tiers: tiers(life), ..(*story.context.policy).clone() };
        story.context.policy = policy.into();
        Self { story, model: Model::default(), within: true, refused: BTreeMap::new() }
    }

    fn take(&mut self, command: &QuotaCommand) {
        let before = self.story.account.clone();
        let events = match decide(&before, command, &self.story.context) {
            Ok(events) => events,
            Err(refusal) => {
                *self.refused.entry(refusal.code()).or_default() += 1;
                return;
            }
        };
        for event in &events {
            self.story.account.apply(event);
            let lower = are_lower(&self.model.limits(), &self.story.account.limits());
            self.within &= self.model.0.is_empty() || !lower && !exceeds(event);
            self.check_order(event);
            self.story.events.push(event.clone());
            self.model.0.push(event.clone());
            self.check_sums();
        }
        if !events.is_empty() {
            self.check_windows();
            self.check_limits();
            self.check_tellings(&events);
            self.check_size();
            self.check_repeat(command);
        }
    }

    /// The ledger's time does not go back, nor is it behind the command's.
    fn check_order(&self, event: &QuotaEvent) {
        assert!(event.at() >= self.story.context.now, "{event:?} is before its command");
        if let Some(last) = self.model.0.last() {
            assert!(event.at() >= last.at(), "{event:?} is before {last:?}");
        }
    }

    /// What holds after every single event, also in the middle of a command.
    fn check_sums(&self) {
        let account = &self.story.account;
        assert_eq!(account.balance, self.model.balance(), "the ledger's sum is the balance");
        if let Some(posting) = self.model.0.last().and_then(QuotaEvent::posting) {
            assert_eq!(posting.balance, account.balance, "every line says what it comes to");
        }
        let all = self.model.all_holds();
        let holds: BTreeMap<ReservationId, (Amount, bool)> =
            account.holds.iter().map(|(id, hold)| (*id, (hold.amount, !hold.expired))).collect();
        assert_eq!(holds, all, "the holds are those that have not ended");
        assert_eq!(account.held, self.model.held(), "what is held is the sum of what counts");
        assert!(!account.held.credits.is_negative());
    }

    /// Days, months and minutes are what going through all events makes of them.
    fn check_windows(&self) {
        let account = &self.story.account;
        let now = account.updated_at.unwrap();
        let today = now.date_naive();
        let day = self.model.used(Span::Day(today));
        let month = self.model.used(Span::Month(today));
        assert_eq!((account.day.used, account.month.used), (day, month));
        assert_eq!(account.day.start, Some(today));
        assert_eq!(account.month.start, today.with_day(1));
        assert_eq!(account.limits(), self.model.limits());
        let view = account.view(now);
        let requests = Quantity::Count(self.model.requests(now) as u64);
        assert_eq!(view.limits[0].used, requests, "requests of the last minute");
        let tokens: Vec<Quantity> = view.limits[1..3].iter().map(|limit| limit.used).collect();
        assert_eq!(tokens, [day.tokens, month.tokens].map(Quantity::Count));
    }

    /// Reserved and consumed never exceed a limit.
    fn check_limits(&self) {
        if !self.within {
            return;
        }
        let (account, limits) = (&self.story.account, self.model.limits());
        let now = account.updated_at.unwrap();
        let held = self.model.held();
        let fits = |limit: Credits, used: Credits, kind: LimitKind| {
            assert!(limit.is_zero() || used <= limit, "{kind}: {used} of {limit}");
        };
        let whole = |tokens: u64| Credits::whole(i64::try_from(tokens).unwrap());
        let day = self.model.used(Span::Day(now.date_naive())).plus(held);
        let month = self.model.used(Span::Month(now.date_naive())).plus(held);
        fits(whole(limits.tokens_per_day), whole(day.tokens), LimitKind::TokensPerDay);
        fits(whole(limits.tokens_per_month), whole(month.tokens), LimitKind::TokensPerMonth);
        fits(limits.credits_per_day, day.credits, LimitKind::CreditsPerDay);
        fits(limits.credits_per_month, month.credits, LimitKind::CreditsPerMonth);
        let requests = self.model.requests(now);
        let most = limits.requests_per_minute as usize;
        assert!(most == 0 || requests <= most, "{requests} requests of {most}");
        let free = self.model.balance().minus(held.into());
        assert!(limits.tokens_total == 0 || free.tokens >= 0, "{free:?} tokens are left");
        assert!(limits.credit_balance.is_zero() || !free.credits.is_negative(), "{free:?} left");
    }

    /// No level is told of twice, and none is forgotten by what uses.
    fn check_tellings(&self, events: &[QuotaEvent]) {
        for (told, times) in self.model.tellings() {
            assert_eq!(times, 1, "{told:?}");
        }
        let account = &self.story.account;
        let uses = |event: &QuotaEvent| matches!(event, QuotaEvent::QuotaConsumed { .. });
        if !events.iter().any(uses) {
            return;
        }
        for limit in account.view(account.updated_at.unwrap()).limits {
            let told = account.crossed.get(&limit.kind).map(|crossed| crossed.level);
            assert!(limit.level <= told, "{limit:?} was not told of");
        }
    }

    /// Only what has not ended takes room.
    fn check_size(&self) {
        let account = &self.story.account;
        let json = serde_json::to_string(account).unwrap();
        let bound = 2500 + 400 * account.holds.len();
        assert!(json.len() <= bound, "{} of {bound} bytes: {json}", json.len());
        assert_eq!(serde_json::from_str::<Account>(&json).unwrap(), *account);
    }

    /// The same command again has no second effect on holds, and charges nothing.
    fn check_repeat(&self, command: &QuotaCommand) {
        let is_safe = match command {
            QuotaCommand::ReserveQuota(reserve) => !reserve.extends,
            QuotaCommand::ConsumeQuota(consume) => consume.reservation_id.is_some(),
            QuotaCommand::RechargeQuota { .. }
            | QuotaCommand::PostAdjustment { .. }
            | QuotaCommand::ResetQuota { .. } => false,
            _ => true,
        };
        if is_safe {
            let again = decide(&self.story.account, command, &self.story.context);
            assert_eq!(again.unwrap_or_default(), [], "{command:?} again");
        }
    }
}

/// Whether `event` may bring what is used and held above a limit that stays.
fn exceeds(event: &QuotaEvent) -> bool {
    match event {
        QuotaEvent::QuotaConsumed { overdrawn, late, .. } => {
            *late || *overdrawn != Amount::default()
        }
        QuotaEvent::AdjustmentPosted { posting, .. } | QuotaEvent::QuotaReset { posting, .. } => {
            posting.change.tokens < 0 || posting.change.credits.is_negative()
        }
        _ => false,
    }
}

fn check_folds(run: &Run, split: prop::sample::Index) {
    let events = &run.story.events;
    let whole = Account::fold(events);
    assert_eq!(whole, run.story.account);
    let (first, second) = events.split_at(split.index(events.len() + 1));
    let snapshot = serde_json::to_string(&Account::fold(first)).unwrap();
    let mut account: Account = serde_json::from_str(&snapshot).unwrap();
    for event in second {
        account.apply(event);
    }
    assert_eq!(account, whole, "a snapshot on the way changes nothing");
    for event in events {
        let json = serde_json::to_string(event).unwrap();
        assert_eq!(&serde_json::from_str::<QuotaEvent>(&json).unwrap(), event);
    }
}

/// Once all turns have ended, nothing is held.
fn check_rest(mut run: Run) {
    let ids: Vec<u128> = run.story.account.holds.keys().map(|id| id.0.as_u128()).collect();
    for (index, id) in ids.into_iter().enumerate() {
        let end = if index % 2 == 0 { settle(id, 5, 5) } else { release(id) };
        run.take(&end);
    }
    assert_eq!(run.story.account.held, Amount::default());
    assert!(run.story.account.holds.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_an_account_stays_sound(
        life in life(false),
        split in any::<prop::sample::Index>(),
    ) {
        let run = Run::of(&life);
        check_folds(&run, split);
        check_rest(run);
    }

    /// No limit is ever exceeded by those who use what they held.
    #[test]
    fn reserved_and_consumed_never_exceed_a_limit(life in life(true)) {
        let run = Run::of(&life);
        prop_assert!(run.within, "nothing in a tame life exceeds a limit");
        check_rest(run);
    }

    /// A text is an amount or it is not; none brings the parser down.
    #[test]
    fn any_text_is_an_amount_or_none(text in "[-+]?[0-9]{0,30}[._]?[0-9]{0,30}(e-?[0-9]{1,3})?") {
        if let Ok(amount) = text.parse::<Credits>() {
            prop_assert_eq!(amount.to_string().parse::<Credits>().unwrap(), amount);
            let json = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(serde_json::from_str::<Credits>(&json).unwrap(), amount);
        }
    }

    /// However a prompt is cached, the hold is enough; and what is computed can be read again.
    #[test]
    fn a_hold_covers_what_it_is_for(
        prices in prop::array::uniform3(0_i64..10_000_000_000),
        prompt in any::<u32>(), answer in any::<u32>(), used in prop::array::uniform3(any::<u32>()),
    ) {
        let [input, cached, output] = prices.map(|nanos| {
            Credits::whole(nanos).per_thousand().per_thousand().per_thousand()
        });
        let price = domain::Price {
            input_per_1k: input,
            cached_input_per_1k: Some(cached),
            output_per_1k: output,
        };
        let usage = domain::Usage {
            prompt_tokens: used[0].min(prompt),
            completion_tokens: used[1].min(answer),
            cached_tokens: used[2],
            ..domain::Usage::default()
        };
        let (most, cost) = (price.most(prompt, answer), price.cost(&usage));
        prop_assert!(cost <= most, "{cost} of {most}");
        prop_assert_eq!(cost.to_string().parse::<Credits>().unwrap(), cost);
    }
}

/// The random lives do reach the interesting places.
#[test]
fn the_lives_get_somewhere() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut late, mut overdrawn, mut days) = (0, 0, 0);
    for index in 0..300 {
        let life = life(index % 2 == 0).new_tree(&mut runner).unwrap().current();
        let run = Run::of(&life);
        for (code, times) in run.refused {
            *seen.entry(code).or_default() += times;
        }
        days += usize::from(run.story.account.updated_at > Some(utc("2026-03-02T00:00:00Z")));
        for event in run.story.events {
            *seen.entry(event.name()).or_default() += 1;
            if let QuotaEvent::QuotaConsumed { late: is_late, overdrawn: beyond, .. } = &event {
                late += usize::from(*is_late);
                overdrawn += usize::from(*beyond != Amount::default());
            }
        }
    }
    for name in [
        "QuotaReserved",
        "QuotaConsumed",
        "ReservationReleased",
        "ReservationExpired",
        "ThresholdCrossed",
        "TierChanged",
        "LimitsOverridden",
        "QuotaReset",
        "AdjustmentPosted",
        "QuotaSuspended",
        "insufficient_quota",
        "rate_limit_exceeded",
        "account_suspended",
        "reservation_not_expired",
    ] {
        assert!(seen.get(name).is_some_and(|count| *count > 20), "{name}: {seen:?}");
    }
    assert!(late > 20 && overdrawn > 20 && days > 20, "{late} {overdrawn} {days}");
}
