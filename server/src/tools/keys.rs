//! `colloquy keys`

use api::auth::{ApiKeys, KeyRequest};
use domain::{ActorRole, SystemClock, SystemIds};

use crate::app;
use crate::cli::{KeyRole, Keys};
use crate::config::Config;
use crate::error::ServerError;
use crate::output::{complain, say, table};

pub(crate) async fn run(config: &Config, command: Keys) -> Result<(), ServerError> {
    let keys = ApiKeys::new(app::tool_pool(config).await?);
    match command {
        Keys::Create { tenant, user, role, tier, name } => {
            let role = match role {
                KeyRole::User => ActorRole::User,
                KeyRole::Admin => ActorRole::Admin,
            };
            if let Some(unknown) = tier.as_ref().filter(|tier| !config.tiers.0.contains_key(*tier))
            {
                complain(&format!(
                    "the configuration has no tier {unknown:?}: the default is used"
                ));
            }
            let request = KeyRequest { tenant_id: tenant, user_id: user, role, tier, name };
            let key = keys.create(&request, &SystemClock, &SystemIds).await?;
            complain(&format!("key {} is shown only this once:", key.id));
            say(&key.secret);
        }
        Keys::List { tenant } => {
            let rows: Vec<Vec<String>> = keys
                .list(tenant.as_ref())
                .await?
                .into_iter()
                .map(|key| {
                    let state = key.revoked_at.map_or_else(
                        || "active".to_owned(),
                        |at| format!("revoked {}", at.format("%F %T")),
                    );
                    let created = key.created_at.format("%F %T").to_string();
                    let id = key.id.to_string();
                    vec![
                        id,
                        key.prefix,
                        key.name,
                        key.tenant_id,
                        key.user_id,
                        key.role,
                        key.tier.unwrap_or_default(),
                        created,
                        state,
                    ]
                })
                .collect();
            let head =
                ["ID", "PREFIX", "NAME", "TENANT", "USER", "ROLE", "TIER", "CREATED", "STATE"];
            table(&head, &rows);
        }
        Keys::Revoke { id } => {
            if !keys.revoke(id, None, &SystemClock).await? {
                return Err(ServerError::NoKey(id));
            }
            say(&format!("key {id} is revoked"));
        }
    }
    Ok(())
}
