//! The configuration of the world: tiers of which one is tight, and models that are answered in
//! different ways.

use crate::provider::Provider;

use super::{BACKED, CONTINUED, PLAIN};

const CONFIG: &str = r#"
[log]
filter = "info,sqlx=error"

[quota]
default_tier = "roomy"
answer_step = 64
tenant_default_tiers = { limited = "tight" }

[tiers]
roomy = { tokens_total = 1000000000 }
tight = { tokens_total = 4000 }

[[prices]]
service = "*"
model = "scripted"
input_per_1k = "1"
output_per_1k = "2"
from = "2020-01-01T00:00:00Z"
"#;

/// Providers beside the scripted one of every cluster.
fn providers(second: &Provider) -> String {
    let url = second.base_url();
    format!(
        r#"
[[providers]]
name = "first"
kind = "openai"
base_url = "{url}"
max_retries = 0
first_token_timeout_ms = 5000
inter_token_timeout_ms = 3000
[[providers.models]]
name = "{BACKED}"
context = 8192
max_output = 4096
fallbacks = [{{ provider = "scripted", upstream_name = "{PLAIN}" }}]

[[providers]]
name = "continuing"
kind = "openai"
base_url = "{url}"
continuation = "last_message"
max_retries = 1
first_token_timeout_ms = 5000
inter_token_timeout_ms = 3000
models = [{{ name = "{CONTINUED}", context = 8192, max_output = 4096 }}]
"#
    )
}

/// The file's text, where `second` answers for the models that have not the plain one's provider.
pub(super) fn toml(second: &Provider) -> String {
    format!("{CONFIG}{}", providers(second))
}
