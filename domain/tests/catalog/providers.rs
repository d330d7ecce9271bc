use domain::ActorRole;
use domain::catalog::{CatalogCommand, CatalogEvent, CatalogRejection, ProviderKind, ProviderSpec};

use crate::given::{
    added, change_provider, local, new_provider, now, provider_added, provider_changed, user, when,
    when_by,
};

fn add(spec: &ProviderSpec) -> CatalogCommand {
    CatalogCommand::AddProvider(new_provider(spec))
}

fn refusal(command: CatalogCommand) -> CatalogRejection {
    when(&added(), command).inspect_result().unwrap_err()
}

#[test]
fn a_provider_is_added_once() {
    when(&[], add(&local())).then_expect_events(vec![provider_added(local())]);
    when(&added(), add(&local()))
        .then_expect_error(CatalogRejection::ProviderExists("local".to_owned()));
}

#[test]
fn what_is_changed_is_changed_and_the_rest_stays() {
    let moved = ProviderSpec { base_url: Some("https://far.example/v1".to_owned()), ..local() };
    when(&added(), change_provider("local", r#"{"base_url": "https://far.example/v1"}"#))
        .then_expect_events(vec![provider_changed(moved)]);
    when(&added(), change_provider("local", r#"{"max_retries": 2}"#)).then_expect_events(vec![]);
    when(&added(), change_provider("other", "{}"))
        .then_expect_error(CatalogRejection::ProviderNotFound("other".to_owned()));
}

#[test]
fn only_admins_change_anything() {
    when_by(ActorRole::User, &[], add(&local())).then_expect_error(CatalogRejection::NotAllowed);
    let seed = CatalogCommand::SeedCatalog { seed: domain::catalog::Seed::demo(), prune: true };
    when(&[], seed).then_expect_error(CatalogRejection::NotAllowed);
}

#[test]
fn a_base_url_is_an_address_and_nothing_else() {
    let refused = [
        ("ftp://h/v1", "must begin with http:// or https://"),
        ("127.0.0.1:8090/v1", "must begin with http:// or https://"),
        ("http://", "is not a valid URL"),
        ("http:///v1", "is not a valid URL"),
        ("http://h:port/v1", "is not a valid URL"),
        ("http://h:0/v1", "is not a valid URL"),
        ("http://h h/v1", "is not a valid URL"),
        ("http://h\\@evil/v1", "must not hold a user name"),
        ("http://h\\evil/v1", "is not a valid URL"),
        ("https://user:hush@h/v1", "must not hold a user name or password"),
        ("https://h/v1/chat/completions/", "must end before /chat/completions"),
        ("https://h/v1/chat/completions?key=1", "must end before /chat/completions"),
    ];
    for (url, problem) in refused {
        let json = serde_json::json!({ "base_url": url }).to_string();
        let error = refusal(change_provider("local", &json));
        let (text, expected) =
            (error.to_string(), format!("provider \"local\": base_url {problem}"));
        assert!(text.starts_with(&expected), "{url}: {text}");
        assert!(!text.contains("hush"));
        assert_eq!((error.code(), error.field()), ("invalid_provider", Some("base_url")));
    }
    for url in
        ["http://h", "https://h.example:8443/", "http://[::1]:80/v1?version=2", "http://[::1]"]
    {
        let json = serde_json::json!({ "base_url": url }).to_string();
        assert!(when(&added(), change_provider("local", &json)).inspect_result().is_ok(), "{url}");
    }
}

#[test]
fn numbers_have_their_ranges() {
    for (json, expected) in [
        (r#"{"max_retries": 11}"#, "max_retries must be at most 10"),
        (r#"{"inter_token_timeout_ms": 0}"#, "inter_token_timeout_ms must be from 1 to 86400000"),
        (r#"{"total_timeout_ms": 86400001}"#, "total_timeout_ms must be from 1 to 86400000"),
        (r#"{"word_pace_ms": 60001}"#, "word_pace_ms must be at most 60000"),
        (r#"{"base_url": null}"#, "kind \"openai\" needs a base_url"),
    ] {
        let text = refusal(change_provider("local", json)).to_string();
        assert_eq!(text, format!("provider \"local\": {expected}"));
    }
    let unnamed = ProviderSpec::new(" ", ProviderKind::Demo);
    let text = refusal(add(&unnamed)).to_string();
    assert_eq!(text, "provider \" \": name must be 1 to 255 printable characters");
}

#[test]
fn an_admin_names_variables_of_api_keys_only() {
    let error = refusal(change_provider("local", r#"{"api_key_env": "DATABASE_URL"}"#));
    assert_eq!((error.code(), error.field()), ("invalid_provider", Some("api_key_env")));
    for other in ["LOCAL_API_KEY", "COLLOQUY_JWT_SECRET", "colloquy_local_api_key"] {
        let json = serde_json::json!({ "api_key_env": other }).to_string();
        assert_eq!(refusal(change_provider("local", &json)).field(), Some("api_key_env"));
    }
    let good = change_provider("local", r#"{"api_key_env": "COLLOQUY_LOCAL_API_KEY"}"#);
    assert!(when(&added(), good).inspect_result().is_ok());
}

/// A provider of the file whose key is for `https://far.example/v1`.
fn far(variable: &str) -> ProviderSpec {
    ProviderSpec {
        base_url: Some("https://far.example/v1".to_owned()),
        api_key_env: Some(variable.to_owned()),
        ..ProviderSpec::new("far", ProviderKind::OpenAi)
    }
}

#[test]
fn a_key_of_the_file_s_goes_to_the_file_s_server_only() {
    for variable in ["FAR_API_KEY", "HUSH", "COLLOQUY_FAR_API_KEY"] {
        let mut given = added();
        given.push(CatalogEvent::ProviderAdded {
            spec: far(variable),
            seeded: Some(far(variable)),
            by: user("system"),
            at: now(),
        });
        let evil = Some("https://evil.example/v1".to_owned());
        let named = serde_json::json!({ "api_key_env": variable }).to_string();
        for command in [
            change_provider("far", r#"{"base_url": "https://evil.example/v1"}"#),
            change_provider("far", r#"{"base_url": "https://far.example/v1/"}"#),
            change_provider("local", &named),
            add(&ProviderSpec { name: "mine".to_owned(), base_url: evil.clone(), ..far(variable) }),
        ] {
            let error = when(&given, command).inspect_result().unwrap_err();
            assert_eq!((error.code(), error.field()), ("invalid_provider", Some("api_key_env")));
            assert!(error.to_string().contains("another base_url"), "{error}");
        }
        // Without the key the provider may move; another one may use it for the same server.
        let moved = r#"{"base_url": "https://evil.example/v1", "api_key_env": null}"#;
        let second = ProviderSpec { name: "second".to_owned(), ..far(variable) };
        for command in [
            change_provider("far", moved),
            change_provider("far", r#"{"max_retries": 0}"#),
            add(&second),
        ] {
            assert!(when(&given, command).inspect_result().is_ok(), "{variable}");
        }
        // And come back.
        given.push(provider_changed(ProviderSpec {
            base_url: evil,
            api_key_env: None,
            ..far(variable)
        }));
        assert!(when(&given, change_provider("far", &named)).inspect_result().is_err());
        let back = serde_json::json!({
            "base_url": "https://far.example/v1", "api_key_env": variable,
        });
        let back = change_provider("far", &back.to_string());
        assert!(when(&given, back).inspect_result().is_ok());
    }
}

#[test]
fn no_admin_has_the_workers_ask_a_machine_s_metadata() {
    for host in [
        "169.254.169.254",
        "169.254.169.254.:80",
        "169.254.0.1:8080",
        "2852039166",
        "0xa9fea9fe",
        "169.254.43518",
        "0251.0376.0251.0376",
        "169.254.169.0xfe",
        "[fe80::1]",
        "[febf::1]:80",
        "[::ffff:169.254.169.254]",
        "[::a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[fd00:ec2::254]",
        "[fe80::1%25eth0]",
        "metadata.google.internal",
        "Metadata.Google.Internal.:80",
        "%6detadata.google.internal",
        "metadata。google。internal",
    ] {
        let url = format!("http://{host}/v1");
        let json = serde_json::json!({ "base_url": url }).to_string();
        let mine = ProviderSpec { name: "mine".to_owned(), base_url: Some(url), ..local() };
        for command in [change_provider("local", &json), add(&mine)] {
            let error = refusal(command);
            let got = (error.code(), error.field());
            assert_eq!(got, ("invalid_provider", Some("base_url")), "{host}");
        }
    }
    for host in [
        "127.0.0.1:8090",
        "10.0.0.7",
        "192.168.1.2:80",
        "172.16.0.1",
        "[::1]",
        "[fd00::1]",
        "localhost",
        "models.internal",
        "gpu-0x1.example",
    ] {
        let json = serde_json::json!({ "base_url": format!("http://{host}/v1") }).to_string();
        assert!(when(&added(), change_provider("local", &json)).inspect_result().is_ok(), "{host}");
    }
}

#[test]
fn a_variable_that_the_configuration_chose_is_for_its_server_only() {
    let given = [provider_added(ProviderSpec { api_key_env: Some("HUSH".to_owned()), ..local() })];
    let retries = change_provider("local", r#"{"max_retries": 0}"#);
    assert!(when(&given, retries).inspect_result().is_ok());
    let moved = change_provider("local", r#"{"base_url": "https://evil.example/v1"}"#);
    assert_eq!(when(&given, moved).inspect_result().unwrap_err().field(), Some("api_key_env"));
    let moved = r#"{"base_url": "https://far.example/v1", "api_key_env": null}"#;
    assert!(when(&given, change_provider("local", moved)).inspect_result().is_ok());
}

#[test]
fn fields_that_cannot_be_are_refused() {
    for json in [r#"{"kind": "demo"}"#, r#"{"base_ulr": "x"}"#, r#"{"max_retries": null}"#] {
        let patch = serde_json::from_str::<domain::catalog::ProviderPatch>(json);
        assert!(patch.is_err(), "{json}");
    }
}
