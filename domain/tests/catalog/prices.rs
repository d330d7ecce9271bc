use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::catalog::{
    CatalogCommand, CatalogEvent, CatalogRejection, ModelPatch, NewModel, NewPrice,
};
use domain::prices::ANY_SERVICE;

use crate::given::{
    added, change_model, credits, folded, large, new_model, new_price, now, price, when,
};

fn set(price: NewPrice) -> CatalogCommand {
    CatalogCommand::SetPrice(price)
}

/// Service, price of the prompt and time of each price that was set.
fn said(events: &[CatalogEvent]) -> Vec<(String, String, DateTime<Utc>)> {
    let one = |event: &CatalogEvent| match event {
        CatalogEvent::PriceSet { entry, seeded: false, .. } => {
            Some((entry.service.clone(), entry.price.input_per_1k.to_string(), entry.from))
        }
        _ => None,
    };
    events.iter().filter_map(one).collect()
}

fn after(given: &[CatalogEvent], command: CatalogCommand) -> Vec<CatalogEvent> {
    when(given, command).inspect_result().unwrap()
}

#[test]
fn a_price_holds_from_now_on_or_from_when_it_says() {
    let one = || (ANY_SERVICE.to_owned(), "0.15".to_owned());
    let events = after(&added(), set(new_price(ANY_SERVICE, "0.15")));
    assert_eq!(said(&events), [(one().0, one().1, now())]);
    let later = now() + TimeDelta::days(3);
    let events = after(&added(), set(NewPrice { from: Some(later), ..new_price("*", "0.15") }));
    assert_eq!(said(&events), [(one().0, one().1, later)]);
}

#[test]
fn a_price_that_holds_already_is_not_set_again() {
    let given = [added(), after(&added(), set(new_price("*", "0.15")))].concat();
    assert_eq!(after(&given, set(new_price("*", "0.15"))), []);
    let same_time = NewPrice { from: Some(now()), ..new_price("*", "0.15") };
    assert_eq!(after(&given, set(same_time)), []);
    assert_eq!(after(&given, set(new_price("writing", "0.15"))).len(), 1, "of its own");
    assert_eq!(after(&given, set(new_price("*", "0.150000001"))).len(), 1);
    let earlier = NewPrice { from: Some(now() - TimeDelta::days(1)), ..new_price("*", "0.15") };
    assert_eq!(after(&given, set(earlier)).len(), 1);
}

#[test]
fn every_price_has_an_id_of_its_own() {
    let mut events = added();
    for input in ["1", "2", "1"] {
        events.extend(after(&events, set(new_price("*", input))));
    }
    let prices = folded(&events).prices;
    let mut ids: Vec<_> = prices.of_model("small").iter().map(|entry| entry.price_id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert_eq!(prices.at("chat", "small", now()).unwrap().price, price("1", "1"));
}

#[test]
fn a_model_brings_its_prices() {
    let prices = BTreeMap::from([("writing".to_owned(), price("2", "3"))]);
    let model = NewModel { price: Some(price("1", "2")), prices, ..new_model(&large()) };
    let events = after(&added(), CatalogCommand::AddModel(model));
    assert_eq!(events[0].name(), "ModelAdded");
    let (any, one, two) = (ANY_SERVICE.to_owned(), "1".to_owned(), "2".to_owned());
    let expected = [(any.clone(), one, now()), ("writing".to_owned(), two, now())];
    assert_eq!(said(&events), expected);
    let patch = r#"{"price": {"input_per_1k": "0.5", "output_per_1k": 1}}"#;
    let events = after(&added(), change_model("small", patch));
    assert_eq!(said(&events), [(any, "0.5".to_owned(), now())]);
}

/// Those that are stored are read more kindly: see the account's events.
#[test]
fn a_price_with_a_field_that_nobody_knows_is_refused() {
    let price = r#"{"input_per_1k": 1, "output_per_1k": 1, "cached_imput_per_1k": 0}"#;
    let patch = |json: String| serde_json::from_str::<ModelPatch>(&json).unwrap_err().to_string();
    let new = |fields: &str| {
        let json =
            format!(r#"{{"name": "m", "provider": "p", "context": 9, "max_output": 9, {fields}}}"#);
        serde_json::from_str::<NewModel>(&json).unwrap_err().to_string()
    };
    let (one, many) = (format!(r#""price": {price}"#), format!(r#""prices": {{"s": {price}}}"#));
    for error in [new(&one), new(&many), patch(format!("{{{one}}}")), patch(format!("{{{many}}}"))]
    {
        assert!(error.contains("unknown field `cached_imput_per_1k`"), "{error}");
    }
    assert!(patch(r#"{"price": null}"#.to_owned()).contains("null"));
}

#[test]
fn a_price_that_cannot_be_is_refused() {
    let refused = |price: NewPrice| when(&added(), set(price)).inspect_result().unwrap_err();
    for (input, field) in
        [("-1", "input_per_1k"), ("1000000.1", "input_per_1k"), ("0.0000000001", "input_per_1k")]
    {
        let error = refused(new_price("*", input));
        assert_eq!((error.code(), error.field()), ("invalid_price", Some(field)), "{input}");
    }
    let cached = NewPrice { cached_input_per_1k: Some(credits("-1")), ..new_price("*", "1") };
    assert_eq!(refused(cached).field(), Some("cached_input_per_1k"));
    assert_eq!(refused(new_price("a b", "1")).field(), Some("service"));
    assert_eq!(refused(new_price("", "1")).field(), Some("service"));
    let unknown = NewPrice { model: "huge".to_owned(), ..new_price("*", "1") };
    assert_eq!(refused(unknown), CatalogRejection::ModelNotFound("huge".to_owned()));
    let twice = r#"{"price": {"input_per_1k": 1, "output_per_1k": 1},
        "prices": {"*": {"input_per_1k": 2, "output_per_1k": 2}}}"#;
    let error = when(&added(), change_model("small", twice)).inspect_result().unwrap_err();
    assert_eq!((error.code(), error.field()), ("invalid_price", Some("price")));
    assert!(when(&added(), set(new_price("*", "1000000"))).inspect_result().is_ok());
    assert!(when(&added(), set(new_price("*", "0.000000001"))).inspect_result().is_ok());
}
