//! The configuration and the admins: both have their say.

use chrono::TimeDelta;
use domain::catalog::{Catalog, CatalogCommand, NewPrice, ProviderKind, ProviderSpec, Seed};
use domain::{ActorRole, ModelSpec, Status};
use proptest::prelude::*;

use crate::given::{
    by, carried_out, change_model, change_provider, large, local, new_model, new_price,
    new_provider, now, price, seeded, small,
};

fn file() -> Seed {
    let prices = vec![new_price("*", "0.5"), new_price("writing", "0.7")];
    Seed { providers: vec![local()], models: vec![small(), large()], prices }
}

/// The file's second model with another context.
fn edited() -> Seed {
    let mut file = file();
    file.models[1].context = 50_000;
    file
}

fn admin(catalog: &mut Catalog, command: &CatalogCommand) {
    carried_out(catalog, command, &by(ActorRole::Admin));
}

fn names(events: &[domain::catalog::CatalogEvent]) -> Vec<&'static str> {
    events.iter().map(domain::catalog::CatalogEvent::name).collect()
}

#[test]
fn the_first_start_takes_all_of_it_in_and_the_next_ones_nothing() {
    let mut catalog = Catalog::default();
    let events = seeded(&mut catalog, &file(), false);
    let expected = ["ProviderAdded", "ModelAdded", "ModelAdded", "PriceSet", "PriceSet"];
    assert_eq!(names(&events), expected);
    assert_eq!(catalog.models().default_model(), Some(&small()));
    for prune in [false, true] {
        assert_eq!(seeded(&mut catalog, &file(), prune), []);
    }
}

#[test]
fn what_admins_made_of_it_stays() {
    let mut catalog = Catalog::default();
    seeded(&mut catalog, &file(), false);
    admin(&mut catalog, &change_model("large", r#"{"status": "disabled", "max_output": 9}"#));
    admin(&mut catalog, &change_model("small", r#"{"default": true}"#));
    admin(&mut catalog, &change_provider("local", r#"{"max_retries": 0}"#));
    admin(&mut catalog, &CatalogCommand::SetPrice(new_price("*", "9")));
    let before = catalog.clone();
    assert_eq!(seeded(&mut catalog, &file(), true), []);
    assert_eq!(catalog, before);
}

#[test]
fn an_edit_of_the_file_takes_effect_and_leaves_the_rest_to_admins() {
    let mut catalog = Catalog::default();
    seeded(&mut catalog, &file(), false);
    let change = r#"{"status": "disabled", "context": 90000, "display_name": "Large"}"#;
    admin(&mut catalog, &change_model("large", change));
    assert_eq!(names(&seeded(&mut catalog, &edited(), false)), ["ModelChanged"]);
    let model = catalog.model("large").unwrap();
    assert_eq!(model.context, 50_000, "the file has changed it");
    assert_eq!(model.display_name.as_deref(), Some("Large"), "the file has not");
    assert_eq!(model.status, Status::Disabled);
    assert_eq!(seeded(&mut catalog, &edited(), false), []);
}

#[test]
fn where_both_together_cannot_be_the_file_has_its_way() {
    let mut catalog = Catalog::default();
    seeded(&mut catalog, &file(), false);
    admin(&mut catalog, &change_model("large", r#"{"max_output": 100000}"#));
    seeded(&mut catalog, &edited(), false);
    let model = catalog.model("large").unwrap();
    assert_eq!((model.context, model.max_output), (50_000, 8000));
}

#[test]
fn what_admins_disabled_stays_so_where_the_file_has_its_way() {
    let mut catalog = Catalog::default();
    seeded(&mut catalog, &file(), false);
    let change = r#"{"max_output": 100000, "status": "disabled"}"#;
    admin(&mut catalog, &change_model("large", change));
    seeded(&mut catalog, &edited(), false);
    let model = catalog.model("large").unwrap();
    assert_eq!((model.max_output, model.status), (8000, Status::Disabled));

    // The demo may be without a URL, a provider of the kind that it becomes may not.
    let of_kind =
        |kind| Seed { providers: vec![ProviderSpec { kind, ..local() }], ..Seed::default() };
    let mut catalog = Catalog::default();
    seeded(&mut catalog, &of_kind(ProviderKind::Demo), false);
    admin(&mut catalog, &change_provider("local", r#"{"base_url": null, "status": "disabled"}"#));
    seeded(&mut catalog, &of_kind(ProviderKind::OpenAi), false);
    let disabled = ProviderSpec { status: Status::Disabled, ..local() };
    assert_eq!(catalog.provider("local"), Some(&disabled));
}

/// The file with its provider at `url`, with the key of `variable`.
fn keyed(url: &str, variable: &str) -> Seed {
    let api_key_env = Some(variable.to_owned()).filter(|name| !name.is_empty());
    let provider = ProviderSpec { base_url: Some(url.to_owned()), api_key_env, ..local() };
    Seed { providers: vec![provider], ..file() }
}

fn pair<'a>(catalog: &'a Catalog, name: &str) -> (&'a str, Option<&'a str>) {
    let spec = catalog.provider(name).unwrap();
    (spec.base_url.as_deref().unwrap(), spec.api_key_env.as_deref())
}

#[test]
fn a_url_and_its_key_are_taken_from_the_file_together() {
    let (here, there) = ("http://here/v1", "http://there/v1");
    let moved = r#"{"base_url": "http://mine/v1", "api_key_env": "COLLOQUY_MINE_API_KEY"}"#;
    for (before, after) in [
        (keyed(here, ""), keyed(here, "KEY")),
        (keyed(here, "KEY"), keyed(here, "OTHER")),
        (keyed(here, "KEY"), keyed(there, "KEY")),
        (keyed(here, "KEY"), keyed(there, "")),
    ] {
        let mut catalog = Catalog::default();
        seeded(&mut catalog, &before, false);
        admin(&mut catalog, &change_provider("local", moved));
        seeded(&mut catalog, &before, false);
        assert_eq!(pair(&catalog, "local").0, "http://mine/v1", "the file has not changed");
        seeded(&mut catalog, &after, false);
        assert_eq!(catalog.provider("local"), Some(&after.providers[0]));
    }
    let mut catalog = Catalog::default();
    seeded(&mut catalog, &keyed(here, "KEY"), false);
    admin(&mut catalog, &change_provider("local", moved));
    let mut retries = keyed(here, "KEY");
    retries.providers[0].max_retries = 7;
    seeded(&mut catalog, &retries, false);
    assert_eq!(pair(&catalog, "local"), ("http://mine/v1", Some("COLLOQUY_MINE_API_KEY")));
    assert_eq!(catalog.provider("local").unwrap().max_retries, 7);
}

#[test]
fn a_key_that_the_file_comes_to_name_leaves_every_other_server() {
    let (mine, variable) = ("http://mine/v1", "COLLOQUY_ONE_API_KEY");
    let theirs = ProviderSpec {
        name: "theirs".to_owned(),
        base_url: Some(mine.to_owned()),
        api_key_env: Some(variable.to_owned()),
        ..local()
    };
    let mut catalog = Catalog::default();
    seeded(&mut catalog, &keyed("http://here/v1", ""), false);
    admin(&mut catalog, &CatalogCommand::AddProvider(new_provider(&theirs)));
    let taken = keyed("http://here/v1", variable);
    assert_eq!(seeded(&mut catalog, &taken, false).len(), 2);
    assert_eq!(pair(&catalog, "theirs"), (mine, None));
    assert_eq!(pair(&catalog, "local"), ("http://here/v1", Some(variable)));
    assert_eq!(seeded(&mut catalog, &taken, true), []);

    // Of two that the file has, one was given what is the other's, and that moves.
    let mut two = keyed("http://here/v1", variable);
    two.providers.push(ProviderSpec { name: "plain".to_owned(), ..local() });
    let mut catalog = Catalog::default();
    seeded(&mut catalog, &two, false);
    let same = format!(r#"{{"base_url": "http://here/v1", "api_key_env": "{variable}"}}"#);
    admin(&mut catalog, &change_provider("plain", &same));
    two.providers[0].base_url = Some("http://there/v1".to_owned());
    seeded(&mut catalog, &two, false);
    assert_eq!(catalog.provider("plain"), Some(&two.providers[1]));
    assert_eq!(pair(&catalog, "local"), ("http://there/v1", Some(variable)));
    assert_eq!(seeded(&mut catalog, &two, true), []);
}

#[test]
fn an_entry_of_the_admins_that_the_file_comes_to_name_is_the_file_s() {
    let mut catalog = Catalog::default();
    let without = Seed { models: vec![small()], ..file() };
    seeded(&mut catalog, &Seed { prices: Vec::new(), ..without }, false);
    let theirs = ModelSpec { max_output: 7, ..large() };
    admin(&mut catalog, &CatalogCommand::AddModel(new_model(&theirs)));
    seeded(&mut catalog, &file(), false);
    assert_eq!(catalog.model("large"), Some(&large()));
}

#[test]
fn what_the_file_no_longer_names_stays_unless_it_is_pruned() {
    let mut catalog = Catalog::default();
    seeded(&mut catalog, &file(), false);
    let theirs = ModelSpec { name: "theirs".to_owned(), ..small() };
    admin(&mut catalog, &CatalogCommand::AddModel(new_model(&theirs)));
    let fewer = Seed { models: vec![small()], prices: Vec::new(), ..file() };
    assert_eq!(seeded(&mut catalog, &fewer, false), []);
    assert_eq!(names(&seeded(&mut catalog, &fewer, true)), ["ModelChanged"]);
    assert_eq!(catalog.model("large").unwrap().status, Status::Disabled);
    assert!(catalog.model("theirs").unwrap().is_enabled(), "it never was the file's");
    assert_eq!(seeded(&mut catalog, &fewer, true), []);
    // Whoever enables it again is not overruled; and the file may name it again.
    let pruned = catalog.clone();
    admin(&mut catalog, &change_model("large", r#"{"status": "enabled"}"#));
    assert_eq!(seeded(&mut catalog, &fewer, true), []);
    catalog = pruned;
    seeded(&mut catalog, &file(), false);
    assert!(catalog.model("large").unwrap().is_enabled());
}

#[test]
fn the_demo_stands_in_until_there_is_something_else() {
    let nothing = Seed::default();
    let mut catalog = Catalog::default();
    assert_eq!(names(&seeded(&mut catalog, &nothing, false)), ["ProviderAdded", "ModelAdded"]);
    assert_eq!(catalog.models().default_model().unwrap().name, "demo");
    assert_eq!(seeded(&mut catalog, &nothing, true), []);
    seeded(&mut catalog, &file(), false);
    let offered: Vec<_> = catalog.models().enabled().map(|model| model.name.clone()).collect();
    assert_eq!(offered, ["small", "large"]);
    // Without the file's providers the catalog serves.
    assert_eq!(seeded(&mut catalog, &nothing, false), []);
    assert!(catalog.model("small").unwrap().is_enabled());
}

#[test]
fn prices_follow_the_file_where_it_changes() {
    let mut catalog = Catalog::default();
    seeded(&mut catalog, &file(), false);
    let next_year = now() + TimeDelta::days(365);
    let of = |input: &str, from| NewPrice { from, ..new_price("*", input) };
    let one = |price| Seed { prices: vec![price], ..file() };
    assert_eq!(names(&seeded(&mut catalog, &one(of("0.6", None)), false)), ["PriceSet"]);
    assert_eq!(seeded(&mut catalog, &one(of("0.6", None)), false), []);
    let two = Seed { prices: vec![of("1", Some(now())), of("2", Some(next_year))], ..file() };
    assert_eq!(seeded(&mut catalog, &two, false).len(), 2);
    assert_eq!(seeded(&mut catalog, &two, false), []);
    let at = |at| catalog.prices.at("chat", "small", at).unwrap().price;
    assert_eq!((at(now()), at(next_year)), (price("1", "1"), price("2", "1")));
}

#[test]
fn every_mistake_of_the_file_is_named() {
    let demo = ProviderSpec::new("local", ProviderKind::Demo);
    let seed = Seed {
        providers: vec![local(), demo, ProviderSpec::new("far", ProviderKind::OpenAi)],
        models: vec![
            ModelSpec { default: true, ..small() },
            ModelSpec { provider: "far".to_owned(), ..small() },
            ModelSpec { default: true, context: 0, ..large() },
        ],
        prices: vec![
            new_price("*", "1"),
            NewPrice { from: Some(now()), ..new_price("*", "2") },
            new_price("*", "-1"),
            NewPrice { model: "huge".to_owned(), ..new_price("*", "1") },
        ],
    };
    let problems: Vec<String> = seed.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "provider \"local\": there is another provider of this name",
            "provider \"far\": kind \"openai\" needs a base_url",
            "model \"small\" of provider \"far\": provider \"local\" already has a model of this name",
            "model \"large\" of provider \"local\": context must be at least 1",
            "model \"large\" of provider \"local\": another model is the default one already",
            "price of model \"small\" for service \"*\": there is another one; each of several needs a `from` of its own",
            "price of model \"small\" for service \"*\": input_per_1k must be from 0 to 1000000, with at most 9 decimal places",
            "price of model \"huge\" for service \"*\": the configuration has no model of this name",
        ]
    );
}

/// A file of some of a few models, each in one of a few states.
fn files() -> impl Strategy<Value = Seed> {
    let model = |name: &'static str| {
        prop::option::of((1..4_u32, any::<bool>(), 0..3_i64)).prop_map(move |chosen| {
            let (context, named, price) = chosen?;
            let display_name = named.then(|| name.to_uppercase());
            let spec = ModelSpec::new(name, "local", context * 100, 10);
            Some((ModelSpec { display_name, ..spec }, price))
        })
    };
    (model("a"), model("b"), model("c"), 0..3_u32).prop_map(|(a, b, c, max_retries)| {
        let chosen: Vec<_> = [a, b, c].into_iter().flatten().collect();
        let cost = |spec: &ModelSpec, input: i64| {
            NewPrice::new("*", &spec.name, price(&input.to_string(), "1"))
        };
        Seed {
            providers: vec![ProviderSpec { max_retries, ..local() }],
            prices: chosen.iter().map(|(spec, input)| cost(spec, *input)).collect(),
            models: chosen.into_iter().map(|(spec, _)| spec).collect(),
        }
    })
}

/// What an admin may do to a model that is there.
fn changes() -> impl Strategy<Value = CatalogCommand> {
    let json = prop::sample::select(vec![
        r#"{"status": "disabled"}"#,
        r#"{"status": "enabled", "default": true}"#,
        r#"{"context": 50}"#,
        r#"{"display_name": null, "sort": 5}"#,
        r#"{"price": {"input_per_1k": 2, "output_per_1k": 2}}"#,
    ]);
    let name = prop::sample::select(vec!["a", "b", "c"]);
    (name, json).prop_map(|(name, json)| change_model(name, json))
}

#[derive(Debug, Clone)]
enum Step {
    Start(Seed, bool),
    Change(CatalogCommand),
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was done before: a start with the same file changes nothing more, every change
    /// of an admin outlives it, and the models of the file have its values where nobody
    /// changed them since.
    #[test]
    fn seeding_again_changes_nothing(
        steps in prop::collection::vec(prop_oneof![
            2 => (files(), any::<bool>()).prop_map(|(seed, prune)| Step::Start(seed, prune)),
            3 => changes().prop_map(Step::Change),
        ], 1..12),
        last in files(),
    ) {
        let mut catalog = Catalog::default();
        for step in steps {
            match step {
                Step::Start(seed, prune) => {
                    seeded(&mut catalog, &seed, prune);
                    prop_assert_eq!(seeded(&mut catalog, &seed, prune), []);
                }
                Step::Change(command) => {
                    let context = by(ActorRole::Admin);
                    if let Ok(events) = domain::catalog::decide(&catalog, &command, &context) {
                        for event in &events {
                            catalog.apply(event);
                        }
                    }
                }
            }
            prop_assert!(catalog.models.values().filter(|entry| entry.spec.default).count() <= 1);
        }
        seeded(&mut catalog, &last, false);
        for file in &last.models {
            prop_assert_eq!(catalog.models[&file.name].seeded.as_ref(), Some(file));
        }
        let before = catalog.clone();
        for prune in [false, true] {
            seeded(&mut catalog, &last, prune);
            for file in &last.models {
                prop_assert_eq!(&catalog.models[&file.name], &before.models[&file.name]);
            }
        }
        prop_assert_eq!(catalog.prices, before.prices);
    }
}
