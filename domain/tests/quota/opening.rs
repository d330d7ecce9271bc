//! How an account comes to be.

use chrono::TimeDelta;
use domain::quota::{QuotaEvent, QuotaRejection};
use domain::{AccountId, ActorRole};

use crate::given::{
    NOON, account, actor, ada, change_tier, consume, extend, limits, nobody, open, posting,
    recharge, release, reserve, settle, sum, suspend, utc,
};

const LIMITS: &str = r#"{"tokens_total": 1000, "credit_balance": "5"}"#;

#[test]
fn an_admin_opens_it() {
    nobody(LIMITS).when(open(None)).then_expect_events(vec![QuotaEvent::AccountOpened {
        tenant_id: ada().tenant_id,
        user_id: ada().user_id,
        tier: "free".to_owned(),
        limits: limits(LIMITS),
        posting: posting(sum(1000, "5"), sum(1000, "5")),
        at: utc(NOON),
    }]);
}

#[test]
fn the_first_use_opens_it() {
    for first in [reserve(1, 10, 20), consume(1, 10, 20)] {
        let story = nobody(LIMITS).by(ada());
        let events = story.events_of(first.clone());
        assert_eq!(events[0].name(), "AccountOpened");
        let story = story.does(first);
        assert!(story.account.is_open());
        assert_eq!(story.account.owner, Some((ada().tenant_id, ada().user_id)));
    }
}

#[test]
fn a_first_use_that_is_refused_opens_nothing() {
    let story = nobody(LIMITS);
    let refusal = story.refusal(reserve(1, 600, 500));
    assert_eq!(refusal.code(), "insufficient_quota");
    story.when(extend(1, 10)).then_expect_error(QuotaRejection::ReservationNotFound);
}

#[test]
fn the_tier_is_the_token_s_or_the_tenant_s_or_the_default() {
    let tier_of = |named: Option<&str>, tenant: &str| {
        let mut story = nobody(LIMITS);
        story.context.named_tier = named.map(str::to_owned);
        story.context.owner.0 = tenant.parse().unwrap();
        story.context.actor = actor(tenant, "ada", ActorRole::User);
        story.does(reserve(1, 1, 1)).account.tier
    };
    assert_eq!(tier_of(None, "acme"), "free");
    assert_eq!(tier_of(Some("pro"), "acme"), "pro");
    assert_eq!(tier_of(None, "bigcorp"), "pro");
    assert_eq!(tier_of(Some("open"), "bigcorp"), "open");
    // A token may name what is no tier here: that is no reason to refuse its user.
    assert_eq!(tier_of(Some("platinum"), "acme"), "free");
    assert_eq!(tier_of(Some("platinum"), "bigcorp"), "pro");
}

#[test]
fn an_admin_s_tier_wins_and_has_to_exist() {
    let mut story = nobody(LIMITS);
    story.context.named_tier = Some("open".to_owned());
    assert_eq!(story.clone().does(open(Some("pro"))).account.tier, "pro");
    let refusal = story.refusal(open(Some("platinum")));
    let names = "free, open, pro".to_owned();
    assert_eq!(refusal, QuotaRejection::UnknownTier("platinum".to_owned(), names));
    assert_eq!((refusal.code(), refusal.field()), ("unknown_tier", Some("tier")));
}

#[test]
fn it_opens_once() {
    account(LIMITS).when(open(None)).then_expect_error(QuotaRejection::AccountExists);
    account(LIMITS).when(open(Some("pro"))).then_expect_error(QuotaRejection::AccountExists);
    let events = account(LIMITS).names_of(reserve(1, 1, 1));
    assert_eq!(events, ["QuotaReserved"]);
}

#[test]
fn nothing_is_administered_before_it_is_open() {
    for command in [recharge(1, 1, "0"), suspend(), change_tier("pro")] {
        nobody(LIMITS).when(command).then_expect_error(QuotaRejection::AccountNotFound);
    }
}

/// Sessions are older than accounts: their turns must be able to end.
#[test]
fn a_turn_from_before_there_were_accounts_ends_and_costs_nothing() {
    for end in [settle(1, 10, 20), release(1)] {
        nobody(LIMITS).when(end.clone()).then_expect_events(vec![]);
        account(LIMITS).later(TimeDelta::minutes(1)).when(end).then_expect_events(vec![]);
    }
}

#[test]
fn its_id_follows_from_whose_it_is() {
    let id =
        |tenant: &str, user: &str| AccountId::of(&tenant.parse().unwrap(), &user.parse().unwrap());
    assert_eq!(id("acme", "ada"), id("acme", "ada"));
    assert_ne!(id("acme", "ada"), id("acme", "eve"));
    assert_ne!(id("acme", "ada"), id("other", "ada"));
    // A user's id may have a slash; a tenant's has none.
    assert_ne!(id("a", "b/c"), id("a-b", "c"));
}
