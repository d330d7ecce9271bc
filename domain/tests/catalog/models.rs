use domain::catalog::{CatalogCommand, CatalogRejection, NewModel};
use domain::{ModelSpec, Status};

use crate::given::{
    added, change_model, change_provider, disabled, folded, large, local, model_added,
    model_changed, new_model, provider_added, small, when,
};

fn add(spec: &ModelSpec) -> CatalogCommand {
    CatalogCommand::AddModel(new_model(spec))
}

fn refusal(command: CatalogCommand) -> CatalogRejection {
    when(&added(), command).inspect_result().unwrap_err()
}

fn both() -> Vec<domain::catalog::CatalogEvent> {
    [added(), vec![model_added(large())]].concat()
}

#[test]
fn a_model_is_added_once_and_to_a_provider() {
    when(&added(), add(&large())).then_expect_events(vec![model_added(large())]);
    let error = refusal(add(&small()));
    assert_eq!(error.code(), "model_exists");
    assert_eq!(
        error.to_string(),
        "model \"small\" of provider \"local\": provider \"local\" already has a model of this name"
    );
    let lost = ModelSpec { provider: "nobody".to_owned(), ..large() };
    when(&added(), add(&lost))
        .then_expect_error(CatalogRejection::ProviderNotFound("nobody".to_owned()));
}

#[test]
fn without_a_place_it_is_the_last() {
    let last = NewModel { sort: None, pool: None, ..new_model(&small()) };
    let add =
        |name: &str| CatalogCommand::AddModel(NewModel { name: name.to_owned(), ..last.clone() });
    let first = ModelSpec { name: "a".to_owned(), ..small() };
    when(&[provider_added(local())], add("a")).then_expect_events(vec![model_added(first)]);
    let third = ModelSpec { name: "c".to_owned(), sort: 20, ..small() };
    when(&both(), add("c")).then_expect_events(vec![model_added(third)]);
}

#[test]
fn what_is_changed_is_changed_and_the_rest_stays() {
    let named = ModelSpec { display_name: Some("Small".to_owned()), ..small() };
    when(&added(), change_model("small", r#"{"display_name": "Small"}"#))
        .then_expect_events(vec![model_changed(named.clone())]);
    let given = [added(), vec![model_changed(named)]].concat();
    when(&given, change_model("small", r#"{"display_name": null}"#))
        .then_expect_events(vec![model_changed(small())]);
    when(&given, change_model("small", r#"{"context": 8000}"#)).then_expect_events(vec![]);
    when(&given, change_model("other", "{}"))
        .then_expect_error(CatalogRejection::ModelNotFound("other".to_owned()));
    when(&given, change_model("small", r#"{"provider": "other"}"#))
        .then_expect_error(CatalogRejection::ProviderNotFound("other".to_owned()));
}

#[test]
fn a_model_that_cannot_be_is_refused() {
    for (json, expected) in [
        (r#"{"context": 0}"#, "context must be at least 1"),
        (r#"{"max_output": 0}"#, "max_output must be at least 1"),
        (r#"{"max_output": 9000}"#, "max_output (9000) is more than context (8000)"),
        (r#"{"pool": "a.b"}"#, "pool must be 1 to 64 of A-Z a-z 0-9 _ -"),
        (r#"{"display_name": ""}"#, "display_name must be 1 to 255 printable characters"),
        (r#"{"upstream_name": "a\n"}"#, "upstream_name must be 1 to 255 printable characters"),
    ] {
        let error = refusal(change_model("small", json));
        let expected = format!("model \"small\" of provider \"local\": {expected}");
        assert_eq!((error.code(), error.to_string()), ("invalid_model", expected));
    }
}

#[test]
fn there_is_one_default_at_most() {
    let marked = |spec| ModelSpec { default: true, ..spec };
    let given = [both(), vec![model_changed(marked(small()))]].concat();
    when(&given, change_model("large", r#"{"default": true}"#))
        .then_expect_events(vec![model_changed(marked(large()))]);
    let catalog = folded(&[given, vec![model_changed(marked(large()))]].concat());
    assert_eq!(catalog.models().default_model().unwrap().name, "large");
    assert!(!catalog.model("small").unwrap().default);
}

#[test]
fn what_is_offered_depends_on_the_provider_too() {
    let catalog = folded(&[both(), vec![model_changed(disabled(large()))]].concat());
    let offered = |catalog: &domain::catalog::Catalog| {
        catalog.models().enabled().map(|model| model.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(offered(&catalog), ["small"]);
    let events = when(&both(), change_provider("local", r#"{"status": "disabled"}"#))
        .inspect_result()
        .unwrap();
    let catalog = folded(&[both(), events].concat());
    assert_eq!(offered(&catalog), Vec::<String>::new());
    assert_eq!(catalog.models().get("small").unwrap().status, Status::Disabled);
    assert_eq!(catalog.model("small").unwrap().status, Status::Enabled, "itself it is not");
    let events = when(&both(), change_model("small", r#"{"pool": "fast"}"#)).inspect_result();
    let catalog = folded(&[both(), events.unwrap()].concat());
    assert_eq!(catalog.pools.iter().collect::<Vec<_>>(), ["default", "fast"], "turns may wait");
}

#[test]
fn models_stand_in_order() {
    let model = |name: &str, sort| ModelSpec { name: name.to_owned(), sort, ..small() };
    let models = [model("c", 0), model("b", 10), model("a", 10), model("d", -1)];
    let catalog =
        folded(&[vec![provider_added(local())], models.map(model_added).to_vec()].concat());
    let names: Vec<String> = catalog.models().iter().map(|model| model.name.clone()).collect();
    assert_eq!(names, ["d", "c", "a", "b"]);
}
