use figment::Figment;
use figment::providers::{Format as _, Toml};

use super::*;
use crate::provider::openai::MaxTokensField;

#[derive(Debug, serde::Deserialize)]
struct File {
    providers: Vec<ProviderConfig>,
}

fn parsed(toml: &str) -> Result<File, String> {
    Figment::from(Toml::string(toml)).extract().map_err(|error| error.to_string())
}

fn built(toml: &str) -> Result<Catalog, CatalogError> {
    let file = parsed(toml).unwrap();
    build(&file.providers, |name| (name == "LOCAL_KEY").then(|| "sk-1".to_owned()))
}

const LOCAL: &str = r#"
    [[providers]]
    name = "local"
    kind = "openai"
    base_url = "http://127.0.0.1:8090/v1"
    api_key_env = "LOCAL_KEY"
    models = [
        { name = "smollm2", context = 2048, max_output = 512 },
        { name = "big", upstream_name = "org/big-1", context = 9, max_output = 9, pool = "slow" },
    ]
"#;

#[test]
fn models_find_their_provider() {
    let catalog = built(LOCAL).unwrap();
    assert_eq!(catalog.models.default_model().unwrap().name, "smollm2");
    assert_eq!(catalog.models.pools(), ["default", "slow"]);
    assert_eq!(catalog.provider_for("big").unwrap().name(), "local");
    assert!(catalog.provider_for("org/big-1").is_none());
    assert_eq!(catalog.providers().count(), 1);
}

#[test]
fn without_providers_there_is_the_demo() {
    let catalog = build(&[], |_| None).unwrap();
    let model = catalog.models.default_model().unwrap();
    assert_eq!((model.name.as_str(), model.context, model.max_output), ("demo", 8192, 1024));
    assert_eq!(catalog.provider_for("demo").unwrap().name(), "demo");
}

#[test]
fn defaults_are_those_of_the_clients() {
    let file = parsed(LOCAL).unwrap();
    let config = &file.providers[0];
    assert_eq!(config.timeouts(), crate::provider::openai::Timeouts::default());
    assert_eq!((config.max_retries, config.max_tokens_field), (2, MaxTokensField::MaxTokens));
    assert!(parsed(&LOCAL.replace("base_url", "base_ulr")).is_err());
}

#[test]
fn errors_say_what_is_wrong() {
    let twice = LOCAL.replace("\"big\"", "\"smollm2\"");
    for (toml, expected) in [
        (
            twice.as_str(),
            "model \"smollm2\" of provider \"local\": provider \"local\" already has a model of this name",
        ),
        (
            &LOCAL.replace("LOCAL_KEY", "OTHER"),
            "provider \"local\": the environment variable OTHER, named by api_key_env, is not set or empty",
        ),
        (
            &LOCAL.replace("base_url = \"http://127.0.0.1:8090/v1\"", ""),
            "provider \"local\": kind \"openai\" needs a base_url",
        ),
        (
            &LOCAL.replace("http://127.0.0.1:8090", "127.0.0.1"),
            "provider \"local\": base_url is not a valid URL: relative URL without a base",
        ),
        (
            &LOCAL.replace("http:", "ftp:"),
            "provider \"local\": base_url must begin with http:// or https://",
        ),
        (
            &LOCAL.replace("/v1", "/v1/chat/completions"),
            "provider \"local\": base_url must end before /chat/completions",
        ),
        (
            &LOCAL.replace("2048", "0"),
            "model \"smollm2\" of provider \"local\": context must be at least 1",
        ),
        (
            &LOCAL.replace("512", "4096"),
            "model \"smollm2\" of provider \"local\": max_output (4096) is more than context (2048)",
        ),
        (
            &LOCAL.replace("\"slow\"", "\"a.b\""),
            "model \"big\" of provider \"local\": pool must be 1 to 64 of A-Z a-z 0-9 _ -",
        ),
        (
            &LOCAL.replace("kind", "inter_token_timeout_ms = 0\nkind"),
            "provider \"local\": inter_token_timeout_ms must be from 1 to 86400000",
        ),
        (
            "[[providers]]\nname = \"x\"\nkind = \"demo\"\nmodels = []",
            "provider \"x\": models must not be empty",
        ),
        (
            &format!("{LOCAL}\n{LOCAL}"),
            "provider \"local\": there is another provider of this name",
        ),
    ] {
        assert_eq!(built(toml).unwrap_err().to_string(), expected);
    }
}

#[tokio::test]
async fn a_model_that_is_gone_is_not_found() {
    let request = CompletionRequest {
        model: "gone".to_owned(),
        prompt: domain::session::Prompt { system: None, messages: Vec::new(), dropped: 0 },
        settings: domain::Settings::default(),
    };
    let error = built(LOCAL).unwrap().complete(&request).await.err().unwrap();
    assert_eq!(error.class, ErrorClass::ModelNotFound);
    assert_eq!(error.message, "the model \"gone\" is not configured");
}
