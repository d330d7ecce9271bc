use std::path::Path;

use super::super::{Config, read};
use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn read(purpose: Purpose, text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    read::config(Path::new("colloquy.toml"), text, &pairs.collect(), purpose)
        .map_err(|error| error.to_string())
}

#[test]
fn a_secret_comes_from_the_environment_and_does_not_show() {
    let text = "[[webhooks]]\nurl = \"https://hooks.example.org/hush\"\nsecret_env = \"S\"\n\
        [[webhooks]]\nurl = \"http://127.0.0.1:9/\"\nname = \"here\"\ntenant = \"acme\"\n\
        secret = \"hushhushhushhushhushhush\"\n";
    let config = read(Purpose::Serve, text, &[("S", SECRET)]).unwrap();
    let json = figment::value::Value::serialize(&config).unwrap();
    let shown = format!("{config:?} {json:?} {:?}", config.webhooks().unwrap()[0].secret);
    assert!(!shown.contains("hush") && !shown.contains("MfKQ"), "{shown}");
    let webhooks = config.webhooks().unwrap();
    assert_eq!(webhooks[0].name, "hooks.example.org");
    assert_eq!(webhooks[0].events, [WebhookEvent::QuotaThreshold]);
    assert_eq!(webhooks[1].name, "here");
    // Tools deliver nothing.
    assert!(read(Purpose::Tool, text, &[]).is_ok());
    let missing = read(Purpose::Serve, text, &[]).unwrap_err();
    assert!(missing.contains("webhooks[0].secret_env names S, which is not set"), "{missing}");
}

#[test]
fn what_can_not_be_is_refused() {
    let text = "[[webhooks]]\nurl = \"ftp://user:hush@x\"\nsecret_env = \"S\"\n\
        [[webhooks]]\nurl = \"https://x\"\nsecret = \"hush\"\n\
        [[webhooks]]\nurl = \"https://x\"\nsecret = \"hush\"\nsecret_env = \"S\"\n\
        [[webhooks]]\nurl = \"https://y\"\n\
        [[webhooks]]\nurl = \"https://z\"\nsecret_env = \"S\"\ntenant = \"a.b\"\n";
    let error = read(Purpose::Serve, text, &[("S", SECRET)]).unwrap_err();
    for expected in [
        "webhooks[0].url must be a URL with https:// or http://",
        "webhooks[1].secret can't be used: a webhook's secret must have at least 24 bytes",
        "webhooks[2].secret_env and secret exclude each other",
        "webhooks[2].url is that of an earlier webhook for the same tenant",
        "webhooks[3].secret_env must name the variable with the secret",
        "webhooks[4].tenant can't be used: tenant id must be",
    ] {
        assert!(error.contains(expected), "{expected}\n  not in\n{error}");
    }
    assert_eq!(error.lines().count(), 6, "{error}");
    assert!(!error.contains("hush"));
    let unknown = read(
        Purpose::Tool,
        "[[webhooks]]\nurl = \"https://x\"\nsecret_env = \"S\"\nevents = [\"quota.warning\"]",
        &[],
    );
    assert!(unknown.unwrap_err().contains("quota.threshold"));
}
