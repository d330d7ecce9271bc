use domain::catalog::{
    Catalog, CatalogEvent, CatalogRejection, Continuation, ProviderKind, ProviderSpec, Seed,
};
use domain::{Fallback, ModelSpec};
use serde_json::{Value, json};

use crate::given::{
    added, by, carried_out, change_model, change_provider, folded, local, model_added,
    model_changed, new_model, provider_added, provider_changed, seeded, small, when,
};

fn far() -> ProviderSpec {
    ProviderSpec { name: "far".to_owned(), ..local() }
}

fn fallback(provider: &str, upstream_name: Option<&str>) -> Fallback {
    let upstream_name = upstream_name.map(str::to_owned);
    Fallback { provider: provider.to_owned(), upstream_name }
}

/// The model, with the other provider behind its own.
fn safe() -> ModelSpec {
    let fallbacks = vec![fallback("far", Some("org/small"))];
    ModelSpec { fallbacks, ..small() }
}

fn both() -> Vec<CatalogEvent> {
    [added(), vec![provider_added(far())]].concat()
}

#[test]
fn fallbacks_are_added_changed_and_taken_away() {
    let given = [provider_added(local()), provider_added(far())];
    let add = domain::catalog::CatalogCommand::AddModel(new_model(&safe()));
    when(&given, add).then_expect_events(vec![model_added(safe())]);
    let json = r#"{"fallbacks": [{"provider": "far", "upstream_name": "org/small"}]}"#;
    when(&both(), change_model("small", json)).then_expect_events(vec![model_changed(safe())]);
    let given = [both(), vec![model_changed(safe())]].concat();
    when(&given, change_model("small", json)).then_expect_events(vec![]);
    when(&given, change_model("small", r#"{"fallbacks": []}"#))
        .then_expect_events(vec![model_changed(small())]);
}

#[test]
fn a_list_that_cannot_be_is_refused() {
    let many: Vec<Value> =
        (0..9).map(|n| json!({ "provider": "far", "upstream_name": n.to_string() })).collect();
    for (list, expected) in [
        (json!(many), "fallbacks must be at most 8"),
        (
            json!([{ "provider": "far", "upstream_name": "" }]),
            "fallbacks has an upstream_name that is none: it must be 1 to 255 printable characters",
        ),
        (
            json!([{ "provider": "local" }]),
            "fallbacks names provider \"local\" twice for the same upstream_name",
        ),
        (
            json!([{ "provider": "far" }, { "provider": "far", "upstream_name": "small" }]),
            "fallbacks names provider \"far\" twice for the same upstream_name",
        ),
    ] {
        let json = json!({ "fallbacks": list }).to_string();
        let error = when(&both(), change_model("small", &json)).inspect_result().unwrap_err();
        let expected = format!("model \"small\" of provider \"local\": {expected}");
        assert_eq!((error.to_string(), error.field()), (expected, Some("fallbacks")));
    }
    let nobody = change_model("small", r#"{"fallbacks": [{"provider": "nobody"}]}"#);
    when(&both(), nobody)
        .then_expect_error(CatalogRejection::ProviderNotFound("nobody".to_owned()));
    // The same server may have a second model for it.
    let second = r#"{"fallbacks": [{"provider": "local", "upstream_name": "smaller"}]}"#;
    assert!(when(&both(), change_model("small", second)).inspect_result().is_ok());
}

#[test]
fn what_people_write_is_read_strictly_and_the_log_kindly() {
    let odd = r#"{"provider": "far", "upstream": "x"}"#;
    assert!(serde_json::from_str::<Fallback>(odd).is_ok());
    let patch = format!(r#"{{"fallbacks": [{odd}]}}"#);
    let error = serde_json::from_str::<domain::catalog::ModelPatch>(&patch).unwrap_err();
    assert!(error.to_string().contains("unknown field `upstream`"), "{error}");
    assert!(serde_json::from_str::<domain::catalog::ModelPatch>(r#"{"fallbacks": null}"#).is_err());
}

#[test]
fn routes_are_in_order_and_inherit_the_upstream_name() {
    let spec = ModelSpec {
        upstream_name: Some("org/small".to_owned()),
        fallbacks: vec![fallback("far", None), fallback("local", Some("smaller"))],
        ..small()
    };
    let routes: Vec<_> = spec.routes().collect();
    assert_eq!(routes, [("local", "org/small"), ("far", "org/small"), ("local", "smaller")]);
}

#[test]
fn the_file_and_the_admins_change_the_list_as_one_value() {
    let file = |spec: ModelSpec| Seed {
        providers: vec![local(), far()],
        models: vec![spec],
        ..Seed::default()
    };
    let list = |catalog: &Catalog| catalog.model("small").unwrap().fallbacks.clone();
    let mut catalog = Catalog::default();
    seeded(&mut catalog, &file(safe()), false);
    assert_eq!(list(&catalog), safe().fallbacks);
    let admin = by(domain::ActorRole::Admin);
    carried_out(&mut catalog, &change_model("small", r#"{"fallbacks": []}"#), &admin);
    assert_eq!(seeded(&mut catalog, &file(safe()), false), []);
    let other = ModelSpec { max_output: 7, ..safe() };
    seeded(&mut catalog, &file(other.clone()), false);
    assert_eq!(list(&catalog), [], "the file has not changed it");
    let edited = ModelSpec { fallbacks: vec![fallback("far", None)], ..other };
    seeded(&mut catalog, &file(edited.clone()), false);
    assert_eq!(list(&catalog), edited.fallbacks);
    let alone = Seed { providers: vec![local()], models: vec![safe()], ..Seed::default() };
    let problems: Vec<_> = alone.problems().iter().map(ToString::to_string).collect();
    let expected = "model \"small\" of provider \"local\": fallbacks names provider \"far\", \
        which is not in the configuration";
    assert_eq!(problems, [expected]);
}

#[test]
fn continuation_is_for_servers_that_can() {
    let flag = ProviderSpec { continuation: Continuation::PrefixFlag, ..local() };
    when(&added(), change_provider("local", r#"{"continuation": "prefix_flag"}"#))
        .then_expect_events(vec![provider_changed(flag.clone())]);
    let given = [added(), vec![provider_changed(flag)]].concat();
    when(&given, change_provider("local", r#"{"continuation": "none"}"#))
        .then_expect_events(vec![provider_changed(local())]);
    let demo = [provider_added(ProviderSpec::new("demo", ProviderKind::Demo))];
    let error = when(&demo, change_provider("demo", r#"{"continuation": "last_message"}"#));
    let error = error.inspect_result().unwrap_err();
    assert_eq!(error.to_string(), "provider \"demo\": continuation is not for kind \"demo\"");
}

/// What came later than the first version is in the log only where it is used.
#[test]
fn the_log_has_the_later_fields_where_they_are_used() {
    let json = |event: &CatalogEvent| serde_json::to_value(event).unwrap();
    let echo = ProviderSpec { continuation: Continuation::PrefixFlagEcho, ..local() };
    let events = [provider_added(echo), model_added(safe())];
    assert_eq!(json(&events[0])["ProviderAdded"]["spec"]["continuation"], "prefix_flag_echo");
    let expected = json!([{ "provider": "far", "upstream_name": "org/small" }]);
    assert_eq!(json(&events[1])["ModelAdded"]["spec"]["fallbacks"], expected);
    for event in &events {
        let read: CatalogEvent = serde_json::from_value(json(event)).unwrap();
        assert_eq!(&read, event);
    }
    let plain = [provider_added(local()), model_added(small())];
    for event in &plain {
        let text = json(event).to_string();
        assert!(!text.contains("continuation") && !text.contains("fallbacks"), "{text}");
    }
    assert_eq!(folded(&plain).model("small"), Some(&small()));
}
