use std::path::Path;

use super::super::{Config, Purpose, read};
use super::*;

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    read::config(Path::new("colloquy.toml"), text, &pairs.collect(), Purpose::Tool)
        .map_err(|error| error.to_string())
}

#[test]
fn a_configured_tier_takes_the_place_of_the_built_in_one() {
    let text = "[quota]\ndefault_tier = \"team\"\ntenant_default_tiers = { acme = \"pro\" }\n\
        [tiers.team]\ncredit_balance = 2.5\n[tiers.free]\ntokens_total = 9\n";
    let variables =
        [("COLLOQUY_QUOTA__HOLD_SECONDS", "60"), ("COLLOQUY_TIERS__EXTRA__TOKENS_PER_DAY", "5000")];
    let policy = read(text, &variables).unwrap().quota_policy().unwrap();
    let (acme, other) = ("acme".parse().unwrap(), "other".parse().unwrap());
    assert_eq!(policy.tier_for(&acme, None), "pro");
    assert_eq!(policy.tier_for(&acme, Some("vip")), "vip");
    assert_eq!(policy.tier_for(&other, Some("unknown")), "team");
    assert_eq!(policy.tiers["team"].credit_balance.to_string(), "2.5");
    assert_eq!(policy.tiers["extra"].tokens_per_day, 5000);
    assert_eq!(policy.tiers["free"], Limits { tokens_total: 9, ..Limits::default() });
    assert_eq!(policy.tiers["pro"].requests_per_minute, 60);
    assert_eq!(policy.hold, TimeDelta::minutes(1));
}

#[test]
fn what_can_not_be_is_refused() {
    let text = "[quota]\ndefault_tier = \"pr0\"\nhold_seconds = 1\nanswer_step = 1\n\
        tenant_default_tiers = { \"a.b\" = \"free\", acme = \"nothing-like-it\" }\n\
        [tiers.\"a tier\"]\n[tiers.rich]\ncredit_balance = \"-1\"\n[tiers.fast]\nrequests_per_minute = 10001\n\
        [tiers.poor]\ntokens_per_dya = 1\n[tiers.odd]\ncredits_per_day = \"much\"\n";
    let unknown = read(text, &[]).unwrap_err();
    assert!(unknown.contains("\"tokens_per_dya\" in tiers.poor; did you mean \"tokens_per_day\"?"));
    assert!(unknown.contains("tiers.odd.credits_per_day"), "{unknown}");
    let text = text.replace("tokens_per_dya = 1", "").replace("much", "1");
    let error = read(&text, &[]).unwrap_err();
    for expected in [
        "colloquy.toml: quota.default_tier is \"pr0\", which is no tier; did you mean \"pro\"?",
        "colloquy.toml: quota.hold_seconds must be from 60 to 86400, not 1",
        "colloquy.toml: quota.answer_step must be from 16 to 65536, not 1",
        "colloquy.toml: quota.tenant_default_tiers: \"a.b\": tenant id must be",
        "quota.tenant_default_tiers.acme is \"nothing-like-it\", which is no tier; there are a tier,",
        "colloquy.toml: tiers: \"a tier\" must be 1 to 64 of",
        "colloquy.toml: tiers.rich.credit_balance must be from 0",
        "colloquy.toml: tiers.fast.requests_per_minute must be at most 10000",
    ] {
        assert!(error.contains(expected), "{expected}\n  not in\n{error}");
    }
    assert_eq!(error.lines().count(), 8, "{error}");
}
