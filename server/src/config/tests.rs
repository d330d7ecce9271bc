use super::*;

const EXAMPLE: &str = include_str!("../../../colloquy.example.toml");

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    read_for(Purpose::Tool, text, variables)
}

fn read_for(purpose: Purpose, text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    read::config(Path::new("colloquy.toml"), text, &pairs.collect(), purpose)
        .map_err(|error| error.to_string())
}

/// The example with its commented keys taken in.
fn uncommented() -> String {
    let is_key = |line: &str| {
        line.starts_with("[[") || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
    };
    let uncomment = |line: &'static str| match line.strip_prefix("# ") {
        Some(rest) if is_key(rest) => rest,
        _ => line,
    };
    EXAMPLE.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_shows_the_defaults() {
    assert_eq!(read(EXAMPLE, &[]), Ok(Config::default()));
    assert_eq!(read("", &[]), Ok(Config::default()));
}

#[test]
fn the_example_shows_every_key() {
    let text = uncommented()
        .replace("\nhs256_secret = ", "\n# hs256_secret = ")
        .replace("\nsecret = ", "\n# secret = ");
    let secret = ("COLLOQUY_JWT_SECRET", "0123456789abcdef0123456789abcdef");
    let webhook = ("COLLOQUY_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let config = read(&text, &[secret, webhook]).unwrap();
    assert_eq!(config.auth.hs256_secret, Some(Secret::from(secret.1)));
    assert_eq!(config.webhooks().unwrap()[0].name, "hooks");
    assert_eq!(config.providers.len(), 2);
    assert_eq!(providers::seed(&config.providers[1..], &[]), Seed::demo());
    assert_eq!((config.prices.len(), config.seed().prices.len()), (1, 3));
    let text = text + "\nhs256_secret =\nsecret ="; // those that exclude others
    let shown = |key: &str| text.lines().any(|line| line.starts_with(&format!("{key} =")));
    let json = figment::value::Value::serialize(&config).unwrap();
    let mut keys = Vec::new();
    collect_keys(&json, &mut keys);
    assert!(keys.len() > 30, "{keys:?}");
    for key in keys {
        assert!(shown(&key), "{key} is missing in the example");
    }
}

fn collect_keys(value: &figment::value::Value, keys: &mut Vec<String>) {
    if let Some(dict) = value.as_dict() {
        for (key, value) in dict {
            let is_section = value.as_dict().is_some()
                || value.as_array().is_some_and(|list| list.iter().any(|v| v.as_dict().is_some()));
            if is_section {
                collect_keys(value, keys);
            } else {
                keys.push(key.clone());
            }
        }
    }
    for element in value.as_array().unwrap_or_default() {
        collect_keys(element, keys);
    }
}

#[test]
fn the_environment_wins() {
    let text = "[http]\nlisten = \"127.0.0.1:1\"\nmax_body_bytes = 2048\n[database]\nurl = \"postgres://file\"";
    let config = read(
        text,
        &[
            ("COLLOQUY_HTTP__LISTEN", "0.0.0.0:9"),
            ("COLLOQUY_HTTP__CORS_ORIGINS", r#"["*"]"#),
            ("COLLOQUY_WORKER__CONCURRENCY", "7"),
            ("COLLOQUY_WORKER__ID", "0042"),
            ("COLLOQUY_LOG__FORMAT", "json"),
            ("COLLOQUY_LOG__FILTER", ""),
            ("DATABASE_URL", "postgres://plain"),
            ("NATS_URL", "nats://plain"),
            ("COLLOQUY_NATS__URL", "nats://ours"),
            ("COLLOQUY_PORT", "tcp://10.0.0.1:80"),
            ("UNRELATED__KEY", "x"),
        ],
    )
    .unwrap();
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:9");
    assert_eq!(config.http.max_body_bytes, 2048);
    assert_eq!(config.http.cors_origins, ["*"]);
    assert_eq!((config.worker.concurrency, config.worker.id.as_deref()), (7, Some("0042")));
    assert_eq!((config.log.format, config.log.filter.as_str()), (LogFormat::Json, "info"));
    assert_eq!(config.database.url, Some(Secret::from("postgres://plain")));
    assert_eq!(config.nats.url, Some(Secret::from("nats://ours")));
}

#[test]
fn providers_may_come_from_the_environment() {
    let list = r#"[{name="x",kind="demo",models=[{name="m",context=9,max_output=3}]}]"#;
    let config = read("", &[("COLLOQUY_PROVIDERS", list)]).unwrap();
    assert_eq!(config.providers[0].models[0].name, "m");
}

const PROVIDER: &str = r#"
    [[providers]]
    name = "local"
    kind = "openai"
    base_url = "http://127.0.0.1:8090/v1"
    models = [{ name = "m", context = 2048, max_output = 512 }]
"#;

#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    for (text, expected) in [
        (
            PROVIDER.replace("base_url", "base_ulr"),
            "colloquy.toml: unknown key \"base_ulr\" in providers[0]; did you mean \"base_url\"?",
        ),
        (
            PROVIDER.replace("max_output", "max_ouput"),
            "colloquy.toml: unknown key \"max_ouput\" in providers[0].models[0]; did you mean \"max_output\"?\n\
             colloquy.toml: \"max_output\" is missing in providers[0].models[0]",
        ),
        (
            PROVIDER.replace(
                "max_output = 512",
                "max_output = 512, price = { input_per_1k = 1, output_per_1k = 1, output_per_k = 1 }",
            ),
            "colloquy.toml: unknown key \"output_per_k\" in providers[0].models[0].price; did you mean \"output_per_1k\"?",
        ),
        (
            PROVIDER.replace("512", "512, fallbacks = [{ provider = \"local\", upstream = \"n\" }]"),
            "colloquy.toml: unknown key \"upstream\" in providers[0].models[0].fallbacks[0]; did you mean \"upstream_name\"?",
        ),
        (
            "[htp]\nlisten = 1".to_owned(),
            "colloquy.toml: unknown key \"htp\"; did you mean \"http\"?",
        ),
        (
            "nats = 3\nshutdown = { grace_seconds = -1 }".to_owned(),
            "colloquy.toml: nats must be a section, not 3\n\
             colloquy.toml: shutdown.grace_seconds must be a whole number, not -1",
        ),
        (
            "[nats]\nzzzzzz = 1".to_owned(),
            "colloquy.toml: unknown key \"zzzzzz\" in nats; known are \"url\"",
        ),
    ] {
        assert_eq!(read(&text, &[]), Err(expected.to_owned()));
    }
    assert_eq!(
        read("", &[("COLLOQUY_HTTP__LISTN", "x")]),
        Err("COLLOQUY_HTTP__LISTN: unknown key \"listn\" in http; did you mean \"listen\"?"
            .to_owned())
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "[http]\nlisten = \"here\"\nmax_body = 1\n[log]\nformat = \"xml\"\n[auth]\nhs256_secret = 12345\n";
    let error = read(text, &[("COLLOQUY_WORKER__CONCURRENCY", "many")]).unwrap_err();
    let mut lines: Vec<&str> = error.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "COLLOQUY_WORKER__CONCURRENCY: worker.concurrency must be a whole number, not \"many\"",
            "colloquy.toml: auth.hs256_secret must be a string",
            "colloquy.toml: http.listen: invalid socket address syntax",
            "colloquy.toml: log.format must be \"text\" or \"json\", not \"xml\"",
            "colloquy.toml: unknown key \"max_body\" in http; did you mean \"max_body_bytes\"?",
        ]
    );
}

#[test]
fn values_are_checked_too() {
    let text = "[http]\nmax_body_bytes = 1\ncors_origins = [\"https://a.example/\"]\n\
        [database]\nurl = \"mysql://user:hush@x\"\n[log]\nfilter = \"a=b=c\"\n\
        [auth]\nhs256_secret_env = \"NOT_SET\"\n";
    let broken = PROVIDER.replace("512", "4096");
    let error =
        read(&(text.to_owned() + &broken), &[("COLLOQUY_WORKER__CONCURRENCY", "0")]).unwrap_err();
    for expected in [
        "colloquy.toml: http.max_body_bytes must be from 1024 to 1073741824, not 1",
        "colloquy.toml: http.cors_origins holds \"https://a.example/\", which is neither",
        "colloquy.toml: database.url must begin with postgres:// or postgresql://",
        "colloquy.toml: log.filter is not a log filter",
        "colloquy.toml: auth.hs256_secret_env names NOT_SET, which is not set in the environment",
        "colloquy.toml: model \"m\" of provider \"local\": max_output (4096) is more than context (2048)",
        "COLLOQUY_WORKER__CONCURRENCY: worker.concurrency must be from 1 to 100000, not 0",
    ] {
        assert!(error.contains(expected), "{expected}\n  not in\n{error}");
    }
    assert_eq!(error.lines().count(), 7, "{error}");
    assert!(!error.contains("hush"));
}

#[test]
fn what_serving_would_refuse_is_found_at_once() {
    let second = PROVIDER.replace("\"local\"", "\"far\"\napi_key_env = \"FAR_KEY\"");
    let third = PROVIDER.replace("\"local\"", "\"away\"\napi_key_env = \"AWAY_KEY\"");
    let text = "[auth]\nhs256_secret = \"hush\"\njwks_url = \"id.example.org\"\n\
        [worker]\nid = \"a\\nb\"\n"
        .to_owned()
        + &[PROVIDER, &second, &third].concat();
    let variables = [("AWAY_KEY", "k"), ("COLLOQUY_FOO", "1"), ("COLLOQUY_LOG__FILTER", "x=y=z")];
    let error = read_for(Purpose::Serve, &text, &variables).unwrap_err();
    for expected in [
        "colloquy.toml: auth.hs256_secret can't be used: the JWT secret must have at least 32 bytes",
        "colloquy.toml: auth.jwks_url must be a URL with https:// or http://",
        "colloquy.toml: worker.id must be 1 to 200 printable characters",
        "COLLOQUY_LOG__FILTER: log.filter is not a log filter",
        "colloquy.toml: provider \"far\" can't be asked: the environment variable FAR_KEY, named by api_key_env, is not",
        "colloquy.toml: model \"m\" of provider \"far\": provider \"local\" already has a model of this name",
        "colloquy.toml: model \"m\" of provider \"away\": provider \"local\" already has a model of this name",
    ] {
        assert!(error.contains(expected), "{expected}\n  not in\n{error}");
    }
    assert_eq!(error.lines().count(), 7, "{error}");
    assert!(!error.contains("hush"));
    let error = read("[auth]\nhs256_secret_env = \"S\"", &[("S", "short")]).unwrap_err();
    assert!(error.starts_with("colloquy.toml: auth.hs256_secret_env names S: "), "{error}");
    // Tools need no provider's key.
    assert!(read(&second, &[]).is_ok());
}

#[test]
fn secrets_do_not_show() {
    let secret = "hush".repeat(8);
    let text =
        format!("[auth]\nhs256_secret = \"{secret}\"\n[database]\nurl = \"postgres://u:hush@h/d\"");
    let config = read(&text, &[("NATS_URL", "nats://u:hush@h")]).unwrap();
    let json = figment::value::Value::serialize(&config).unwrap();
    assert!(!format!("{config:?} {json:?}").contains("hush"));
    assert_eq!(config.auth.hs256_secret.unwrap().expose(), secret);
    let broken = "[auth]\nhs256_secret = \"hush\nx";
    let error = read(broken, &[]).unwrap_err();
    assert!(error.starts_with("colloquy.toml: TOML parse error at line 2"), "{error}");
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment::default();
    let missing = folder.path().join("missing.toml");
    let load = |path| Config::load_from(path, folder.path(), &environment, Purpose::Tool);
    let error = load(Some(missing.as_path())).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { path, .. } if path == missing));
    assert_eq!(load(None).unwrap(), Config::default());
    std::fs::write(folder.path().join(DEFAULT_FILE), "[worker]\nid = \"w\"").unwrap();
    let config = load(None).unwrap();
    assert_eq!(config.worker.id.as_deref(), Some("w"));
}

#[test]
fn what_is_wrong_with_providers_and_prices_is_told_by_their_own_rules() {
    let text = PROVIDER.replace("http:", "ftp:")
        + &PROVIDER.replace("\"local\"", "\"far\"").replace("\"m\"", "\"n\"")
        + "[[providers]]\nname = \"none\"\nkind = \"demo\"\nmodels = []\n\
           [[prices]]\nmodel = \"m\"\ninput_per_1k = -1\noutput_per_1k = 0.1\n\
           [[prices]]\nmodel = \"x\"\ninput_per_1k = 1\noutput_per_1k = 1\n\
           [admin]\noperator_tenant = \"_deployment\"";
    let error = read(&text, &[]).unwrap_err();
    for expected in [
        "colloquy.toml: provider \"local\": base_url must begin with http:// or https://",
        "colloquy.toml: provider \"none\": models must not be empty",
        "colloquy.toml: price of model \"m\" for service \"*\": input_per_1k must be from 0",
        "colloquy.toml: price of model \"x\" for service \"*\": the configuration has no model",
        "colloquy.toml: admin.operator_tenant is a reserved name",
    ] {
        assert!(error.contains(expected), "{expected}\n  not in\n{error}");
    }
    assert_eq!(error.lines().count(), 5, "{error}");
}

#[test]
fn fallbacks_name_providers_of_the_file() {
    let far = PROVIDER.replace("\"local\"", "\"far\"").replace("\"m\"", "\"n\"");
    let list = |list: &str| PROVIDER.replace("512", &format!("512, fallbacks = {list}"));
    let seed = read(&(list(r#"[{ provider = "far" }]"#) + &far), &[]).unwrap().seed();
    assert_eq!(seed.models[0].routes().collect::<Vec<_>>(), [("local", "m"), ("far", "m")]);
    let continuation = far.replace("kind", "continuation = \"last\"\nkind");
    for (text, expected) in [
        (
            list(r#"[{ provider = "fra" }]"#) + &far,
            "colloquy.toml: model \"m\" of provider \"local\": fallbacks names provider \"fra\", \
             which is not in the configuration",
        ),
        (
            list(r#"[{ provider = "local" }]"#),
            "colloquy.toml: model \"m\" of provider \"local\": fallbacks names provider \"local\" \
             twice for the same upstream_name",
        ),
        (
            continuation,
            "colloquy.toml: providers[0].continuation must be \"none\" or \"last_message\" or \
             \"prefix_flag\" or \"prefix_flag_echo\" or \"final_message_flags\", not \"last\"",
        ),
    ] {
        assert_eq!(read(&text, &[]), Err(expected.to_owned()));
    }
}

#[test]
fn models_stand_as_in_the_file_and_prices_are_exact() {
    let text = PROVIDER.replace(
        "models = [{ name = \"m\", context = 2048, max_output = 512 }]",
        "models = [{ name = \"m\", context = 2048, max_output = 512, price = { input_per_1k = 0.1, \
         output_per_1k = \"0.2\" } }, { name = \"n\", context = 9, max_output = 9, sort = -5 }, \
         { name = \"o\", context = 9, max_output = 9, default = true }]",
    );
    let seed = read(&text, &[]).unwrap().seed();
    let places: Vec<_> = seed.models.iter().map(|model| (model.sort, model.default)).collect();
    assert_eq!(places, [(0, false), (-5, false), (20, true)]);
    let price = seed.prices[0].price();
    assert_eq!(price.input_per_1k.to_string(), "0.1");
    assert_eq!(price.output_per_1k.to_string(), "0.2");
    assert!(
        read("", &[("COLLOQUY_PRICES", "[{model=\"m\",input_per_1k=1,output_per_1k=1}]")]).is_ok()
    );
}
