//! The configuration file of a test's cluster.

use crate::token;

/// The model that is used when none is named.
const MODEL: &str = "scripted";

/// What a test has that says nothing of quota.
const NO_LIMITS: &str = "[quota]\ndefault_tier = \"unlimited\"\n";

/// For the provider's first token and each further one.
const TIMEOUTS_MS: (u32, u32) = (5000, 3000);
/// The same where tests hold answers back.
const PATIENT_MS: (u32, u32) = (60_000, 60_000);

/// The file's text: the scripted provider, the tests' secret, and `more`.
pub(super) fn toml(provider: &str, patient: bool, more: &str) -> String {
    let (first, inter) = if patient { PATIENT_MS } else { TIMEOUTS_MS };
    let quota = if more.contains("[quota]") { "" } else { NO_LIMITS };
    format!(
        r#"{more}

{quota}

[auth]
hs256_secret = "{secret}"

[[providers]]
name = "scripted"
kind = "openai"
base_url = "{provider}"
max_retries = 1
first_token_timeout_ms = {first}
inter_token_timeout_ms = {inter}
models = [
    {{ name = "{MODEL}", context = 8192, max_output = 4096 }},
    {{ name = "other", context = 8192, max_output = 4096 }},
    {{ name = "bench-32", context = 8192, max_output = 4096 }},
]
"#,
        secret = token::SECRET
    )
}
