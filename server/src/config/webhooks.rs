//! `[[webhooks]]`: who is told of what.

use std::collections::BTreeSet;

use domain::TenantId;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use workers::webhooks::{SigningSecret, WebhookEvent};

use super::validate::Problem;
use super::{Environment, Purpose, Secret};

/// Each has connections of its own and looks at the log.
const MOST: usize = 32;

/// `[[webhooks]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    /// Where requests go.
    pub(crate) url: Secret,
    /// What it is called in the log; the URL's host if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// The environment variable that holds what requests are signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret_env: Option<String>,
    /// The secret itself; after loading, it is here wherever it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Secret>,
    /// Whose events; all tenants' if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    /// Which events.
    #[serde(default = "all_events")]
    pub(crate) events: Vec<WebhookEvent>,
}

fn all_events() -> Vec<WebhookEvent> {
    WebhookEvent::ALL.to_vec()
}

impl Webhook {
    /// What delivers is made of this; else the key at fault and what is wrong with it.
    pub(super) fn build(&self) -> Result<workers::webhooks::Webhook, (&'static str, String)> {
        let url = Url::parse(self.url.expose())
            .ok()
            .filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
            .ok_or_else(|| ("url", "must be a URL with https:// or http://".to_owned()))?;
        let missing = || ("secret_env", "must name the variable with the secret".to_owned());
        let secret = self.secret.as_ref().ok_or_else(missing)?;
        let secret = SigningSecret::parse(secret.expose())
            .map_err(|error| (self.secret_key(), format!("can't be used: {error}")))?;
        let tenant = self.tenant.as_deref().map(str::parse::<TenantId>).transpose();
        let tenant = tenant.map_err(|error| ("tenant", format!("can't be used: {error}")))?;
        let host = url.host_str().unwrap_or_default();
        let name = self.name.clone().unwrap_or_else(|| host.to_owned());
        let mut events = self.events.clone();
        events.dedup();
        Ok(workers::webhooks::Webhook { name, url, secret, tenant, events })
    }

    /// The key that the secret came from.
    fn secret_key(&self) -> &'static str {
        if self.secret_env.is_some() { "secret_env" } else { "secret" }
    }

    /// Fills in the secret from the environment, or says why that can't be.
    fn resolve(&mut self, environment: &Environment) -> Result<(), String> {
        let Some(name) = self.secret_env.as_deref() else { return Ok(()) };
        if self.secret.is_some() {
            return Err("and secret exclude each other; set one of them".to_owned());
        }
        let found = environment.get(name).map(Secret::from);
        self.secret = Some(
            found.ok_or_else(|| format!("names {name}, which is not set in the environment"))?,
        );
        Ok(())
    }
}

/// Resolves the secrets, and finds what is wrong.
pub(super) fn check(
    webhooks: &mut [Webhook],
    environment: &Environment,
    purpose: Purpose,
    problems: &mut Vec<Problem>,
) {
    if webhooks.len() > MOST {
        let text = format!("webhooks must be at most {MOST}");
        problems.push(Problem { path: vec!["webhooks".to_owned()], text });
    }
    let mut known = BTreeSet::new();
    for (index, webhook) in webhooks.iter_mut().enumerate() {
        let mut find = |key: &str, what: &str| {
            let path = vec!["webhooks".to_owned(), index.to_string(), key.to_owned()];
            problems.push(Problem { path, text: format!("webhooks[{index}].{key} {what}") });
        };
        if let Err(what) = webhook.resolve(environment) {
            // Tools deliver nothing.
            if purpose == Purpose::Serve || webhook.secret.is_some() {
                find("secret_env", &what);
            }
        } else if let Err((key, what)) = webhook.build() {
            find(key, &what);
        }
        if !known.insert((webhook.url.expose().to_owned(), webhook.tenant.clone())) {
            find("url", "is that of an earlier webhook for the same tenant");
        }
    }
}

#[cfg(test)]
mod tests;
