use super::*;

fn reporter() -> Reporter {
    Reporter {
        provider: "local".to_owned(),
        origin: "http://127.0.0.1:1".to_owned(),
        api_key: Some(ApiKey::new("sk-secret")),
    }
}

fn http(status: u16, body: &str) -> ProviderError {
    let status = StatusCode::from_u16(status).unwrap();
    reporter().http(status, &HeaderMap::new(), body.as_bytes())
}

#[test]
fn statuses_and_bodies_have_their_class() {
    use ErrorClass::*;
    for (status, body, class) in [
        (401, r#"{"error":{"message":"no","code":"invalid_api_key"}}"#, Unauthorized),
        (403, "", Unauthorized),
        (402, "", RateLimited),
        (
            429,
            r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}"#,
            RateLimited,
        ),
        (400, r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#, ContextLength),
        (400, r#"{"object":"error","message":"maximum context length is 8"}"#, ContextLength),
        (400, r#"{"error":{"type":"exceed_context_size_error","code":400}}"#, ContextLength),
        (
            500,
            r#"{"error":{"message":"Requested tokens (9) exceed context window of 8"}}"#,
            ContextLength,
        ),
        (400, r#"{"error":{"message":"bad","type":"invalid_request_error"}}"#, InvalidRequest),
        (422, r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, InvalidRequest),
        (404, r#"{"error":"model 'x' not found"}"#, ModelNotFound),
        (400, r#"{"error":{"code":"model_not_found"}}"#, ModelNotFound),
        (408, "", Timeout),
        (500, "oops", Unavailable),
        (529, r#"{"error":{"type":"overloaded_error"}}"#, Unavailable),
        (302, "", Protocol),
    ] {
        assert_eq!(http(status, body).class, class, "{status} {body}");
    }
}

#[test]
fn errors_within_an_answer_have_their_class() {
    use ErrorClass::*;
    for (error, class) in [
        (r#"{"message":"m","code":"rate_limit_exceeded"}"#, RateLimited),
        (r#"{"message":"m","code":502}"#, Unavailable),
        (r#"{"message":"m","code":"429"}"#, RateLimited),
        (r#"{"message":"m","type":"invalid_request_error"}"#, InvalidRequest),
        (r#"{"message":"prompt is too long"}"#, ContextLength),
        (r#""out of memory""#, Unavailable),
        ("{}", Unavailable),
    ] {
        assert_eq!(reporter().in_answer(error).class, class, "{error}");
    }
}

#[test]
fn the_providers_words_are_kept() {
    assert_eq!(
        http(429, r#"{"error":{"message":"slow\n down","code":null}}"#).message,
        "local answered 429 Too Many Requests: slow down"
    );
    assert_eq!(
        http(422, r#"{"detail":"x"}"#).message,
        "local answered 422 Unprocessable Entity: x"
    );
    assert_eq!(
        http(404, "<html>nginx</html>").message,
        "local answered 404 Not Found (is base_url right?)"
    );
    assert_eq!(
        reporter().in_answer(r#""out of memory""#).message,
        "local failed while answering: out of memory"
    );
}

#[test]
fn the_key_never_shows_and_messages_are_bounded() {
    let long = format!("{} sk-secret {}", "x".repeat(450), "é".repeat(9000));
    let message = http(500, &long).message;
    assert!(message.chars().count() <= MAX_MESSAGE + 1);
    assert!(!message.contains("sk-s"), "{message}");
    assert!(message.contains("***"));
    assert!(!format!("{:?}", reporter()).contains("sk-secret"));
}
