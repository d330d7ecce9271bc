//! The configuration file of a test's cluster.

use crate::token;

/// The model that is used when none is named.
const MODEL: &str = "scripted";

/// The file's text: the scripted provider, the tests' secret, and `more`.
pub(super) fn toml(provider: &str, more: &str) -> String {
    format!(
        r#"{more}

[auth]
hs256_secret = "{secret}"

[[providers]]
name = "scripted"
kind = "openai"
base_url = "{provider}"
max_retries = 1
first_token_timeout_ms = 5000
inter_token_timeout_ms = 3000
models = [
    {{ name = "{MODEL}", context = 8192, max_output = 4096 }},
    {{ name = "other", context = 8192, max_output = 4096 }},
    {{ name = "bench-32", context = 8192, max_output = 4096 }},
]
"#,
        secret = token::SECRET
    )
}
