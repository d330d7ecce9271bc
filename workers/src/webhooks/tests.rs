use std::time::Duration;

use super::schedule::{PATIENCE, next};
use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn it_signs_as_the_specification_does() {
    let secret = SigningSecret::parse(SECRET).unwrap();
    let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    assert_eq!(
        secret.sign(id, 1_614_265_330, r#"{"test": 2432232314}"#),
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    );
}

#[test]
fn bad_secrets_are_refused_and_good_ones_do_not_show() {
    let error = |text: &str| SigningSecret::parse(text).unwrap_err();
    assert_eq!(error("whsec_not base64"), InvalidSigningSecret::Encoding);
    assert_eq!(error("whsec_c2hvcnQ="), InvalidSigningSecret::TooShort);
    assert_eq!(error("short"), InvalidSigningSecret::TooShort);
    assert!(SigningSecret::parse(&"plain".repeat(8)).is_ok());
    let shown = format!("{:?}", webhook(None));
    assert!(!shown.contains("MfKQ"), "{shown}");
}

#[test]
fn waits_grow_until_a_day_is_over() {
    let (mut age, mut waits) = (Duration::ZERO, Vec::new());
    while let Some(wait) = next(i32::try_from(waits.len()).unwrap() + 1, age, None) {
        age += wait;
        waits.push(wait);
    }
    assert!(waits[0] <= Duration::from_millis(1200) && waits[1] <= Duration::from_secs(6));
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
    assert!(age > PATIENCE / 2 && age <= PATIENCE, "{age:?}");
    assert!((8..=12).contains(&waits.len()), "{}", waits.len());
}

#[test]
fn an_endpoint_may_ask_for_a_longer_wait() {
    let minute = Duration::from_secs(60);
    assert_eq!(next(1, Duration::ZERO, Some(minute)), Some(minute));
    assert!(next(4, Duration::ZERO, Some(minute)) > Some(minute), "not for a shorter one");
    assert_eq!(next(1, PATIENCE, None), None);
}

fn webhook(tenant: Option<&str>) -> Webhook {
    Webhook {
        name: "hooks.example.org".to_owned(),
        url: "https://hooks.example.org/colloquy".parse().unwrap(),
        secret: SigningSecret::parse(SECRET).unwrap(),
        tenant: tenant.map(|tenant| tenant.parse().unwrap()),
        events: WebhookEvent::ALL.to_vec(),
    }
}

#[test]
fn one_url_for_two_tenants_is_two_endpoints() {
    let keys = [None, Some("acme"), Some("other")].map(|tenant| webhook(tenant).key());
    assert_eq!(keys[0].len(), 32);
    assert!(keys[0] != keys[1] && keys[1] != keys[2]);
    assert_eq!(webhook(Some("acme")).key(), keys[1]);
}
