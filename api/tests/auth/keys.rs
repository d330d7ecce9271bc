//! API keys in a real database.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::auth::{ApiKeyError, ApiKeys, AuthConfig, Authenticator, KeyRequest};
use domain::{ActorRole, SystemIds, TenantId, UserId};
use local::{Postgres, PostgresOptions};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::support::{NOW, Stopped, identity, no_keys, outcome};

struct Database {
    pool: PgPool,
    server: Postgres,
    _folder: local::TemporaryFolder,
}

impl Database {
    async fn start() -> Self {
        let folder = local::TemporaryFolder::new().unwrap();
        let server = Postgres::start(PostgresOptions::temporary(folder.path())).await.unwrap();
        let pool = PgPool::connect(&server.url(local::DATABASE)).await.unwrap();
        sqlx::migrate!("../migrations").run(&pool).await.unwrap();
        Self { pool, server, _folder: folder }
    }
}

/// One process: its own cache over the shared database.
fn process(pool: &PgPool) -> Authenticator {
    let keys = ApiKeys::new(pool.clone());
    Authenticator::new(AuthConfig::default(), keys, Arc::new(Stopped)).unwrap()
}

fn request(tenant: &str, role: ActorRole) -> KeyRequest {
    KeyRequest {
        tenant_id: TenantId::from_str(tenant).unwrap(),
        user_id: UserId::from_str("ada").unwrap(),
        role,
        tier: None,
        name: "for the tests".to_owned(),
    }
}

/// One server for all of it: starting one takes seconds.
#[tokio::test]
async fn keys_have_a_life() {
    let mut database = Database::start().await;
    lifecycle(&database.pool).await;
    a_key_may_name_a_tier(&database.pool).await;
    tenants_are_apart(&database.pool).await;
    bad_requests(&database.pool).await;
    a_revoked_key_is_refused_everywhere(&database.pool).await;
    a_busy_key_costs_no_query(&database.pool).await;
    an_outage_is_not_a_refusal(&mut database).await;
}

async fn lifecycle(pool: &PgPool) {
    let process = process(pool);
    let keys = process.keys();
    let new = keys.create(&request("acme", ActorRole::Admin), &Stopped, &SystemIds).await.unwrap();
    assert!(new.secret.starts_with(&new.prefix));
    assert!(!format!("{new:?}").contains(&new.secret));

    let actor = outcome(&process, &new.secret).await.unwrap();
    assert_eq!(actor.tenant_id.as_str(), "acme");
    assert_eq!(actor.user_id.as_str(), "ada");
    assert_eq!(actor.role, ActorRole::Admin);

    let stored: String = sqlx::query_scalar("SELECT k::text FROM api_keys k WHERE id = $1")
        .bind(new.id)
        .fetch_one(pool)
        .await
        .unwrap();
    assert!(!stored.contains(&new.secret), "the secret is stored nowhere");

    let [listed] = &keys.list(None).await.unwrap()[..] else { panic!("one key") };
    assert_eq!((listed.id, listed.name.as_str()), (new.id, "for the tests"));
    assert_eq!(listed.created_at.timestamp(), NOW);
    assert_eq!(listed.revoked_at, None);

    assert!(keys.revoke(new.id, None, &Stopped).await.unwrap());
    let revoked = outcome(&process, &new.secret).await.unwrap_err();
    assert_eq!(revoked, "revoked_key: the API key was revoked");
    assert!(keys.list(None).await.unwrap()[0].revoked_at.is_some());
    assert!(keys.revoke(new.id, None, &Stopped).await.unwrap(), "again is no error");
    assert!(!keys.revoke(Uuid::nil(), None, &Stopped).await.unwrap());

    let unknown = "clq_0123456789012345678901234567890123456789012";
    for bad in [unknown, "clq_", &new.secret[..40], "clq_' OR 1=1 --"] {
        assert!(outcome(&process, bad).await.unwrap_err().starts_with("unknown_key"), "{bad}");
    }
}

async fn a_key_may_name_a_tier(pool: &PgPool) {
    let process = process(pool);
    let keys = process.keys();
    for (role, tier, named) in [
        (ActorRole::User, Some("premium"), "premium"),
        (ActorRole::User, None, "user"),
        (ActorRole::Admin, None, "admin"),
        (ActorRole::Admin, Some("basic"), "basic"),
    ] {
        let tier = tier.map(str::to_owned);
        let request = KeyRequest { tier: tier.clone(), ..request("tiers", role) };
        let new = keys.create(&request, &Stopped, &SystemIds).await.unwrap();
        let identity = identity(&process, &new.secret).await.unwrap();
        assert_eq!((identity.actor.role, identity.named_tier.as_deref()), (role, Some(named)));
        let listed = keys.list(None).await.unwrap();
        assert_eq!(listed.iter().find(|key| key.id == new.id).unwrap().tier, tier);
    }
}

async fn tenants_are_apart(pool: &PgPool) {
    let keys = ApiKeys::new(pool.clone());
    let globex = TenantId::from_str("globex").unwrap();
    let new = keys.create(&request("globex", ActorRole::User), &Stopped, &SystemIds).await.unwrap();
    let listed = keys.list(Some(&globex)).await.unwrap();
    assert_eq!(listed.iter().map(|key| key.id).collect::<Vec<_>>(), [new.id]);
    let initech = TenantId::from_str("initech").unwrap();
    assert!(keys.list(Some(&initech)).await.unwrap().is_empty());
    assert!(!keys.revoke(new.id, Some(&initech), &Stopped).await.unwrap());
    assert!(outcome(&process(pool), &new.secret).await.is_ok());
    assert!(keys.revoke(new.id, Some(&globex), &Stopped).await.unwrap());
}

async fn bad_requests(pool: &PgPool) {
    let keys = ApiKeys::new(pool.clone());
    for name in ["", " ", "a\nb", &"x".repeat(101)] {
        let request = KeyRequest { name: name.to_owned(), ..request("acme", ActorRole::User) };
        let error = keys.create(&request, &Stopped, &SystemIds).await.unwrap_err();
        assert!(matches!(error, ApiKeyError::InvalidName), "{error}");
    }
    for tier in ["", " ", "a\nb", &"x".repeat(101)] {
        let tier = Some(tier.to_owned());
        let request = KeyRequest { tier, ..request("acme", ActorRole::User) };
        let error = keys.create(&request, &Stopped, &SystemIds).await.unwrap_err();
        assert!(matches!(error, ApiKeyError::InvalidTier), "{error}");
    }
    let system = request("acme", ActorRole::System);
    let reserved = KeyRequest { user_id: UserId::system(), ..request("acme", ActorRole::User) };
    let ours =
        KeyRequest { tenant_id: TenantId::deployment(), ..request("acme", ActorRole::Admin) };
    for request in [system, reserved, ours] {
        let error = keys.create(&request, &Stopped, &SystemIds).await.unwrap_err();
        assert!(matches!(error, ApiKeyError::Reserved), "{error}");
    }
}

/// The promise of `revoke`: when it returns, no process accepts the key any more, however
/// busily it is used.
async fn a_revoked_key_is_refused_everywhere(pool: &PgPool) {
    let processes: Vec<_> = (0..3).map(|_| Arc::new(process(pool))).collect();
    let keys = processes[0].keys();
    let new = keys.create(&request("acme", ActorRole::User), &Stopped, &SystemIds).await.unwrap();
    let users: Vec<_> = processes
        .iter()
        .map(|process| {
            let (process, secret) = (Arc::clone(process), new.secret.clone());
            tokio::spawn(async move {
                let mut last_accepted = Instant::now();
                let end = Instant::now() + Duration::from_secs(3);
                while Instant::now() < end {
                    let asked = Instant::now();
                    if outcome(&process, &secret).await.is_ok() {
                        last_accepted = asked;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                last_accepted
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(keys.revoke(new.id, None, &Stopped).await.unwrap());
    let returned = Instant::now();
    for user in users {
        assert!(user.await.unwrap() < returned);
    }
}

/// The only connection is taken: what is answered now is answered without a query.
async fn a_busy_key_costs_no_query(pool: &PgPool) {
    let options = (*pool.connect_options()).clone();
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let process = process(&pool);
    let new = process
        .keys()
        .create(&request("acme", ActorRole::User), &Stopped, &SystemIds)
        .await
        .unwrap();
    assert!(outcome(&process, &new.secret).await.is_ok());
    let _taken = pool.acquire().await.unwrap();
    for _ in 0..20 {
        assert!(outcome(&process, &new.secret).await.is_ok());
    }
}

async fn an_outage_is_not_a_refusal(database: &mut Database) {
    let process = process(&database.pool);
    let new = process
        .keys()
        .create(&request("acme", ActorRole::User), &Stopped, &SystemIds)
        .await
        .unwrap();
    database.server.stop().await.unwrap();
    let error = outcome(&process, &new.secret).await.unwrap_err();
    assert!(error.starts_with("auth_unavailable"), "{error}");
}

#[tokio::test]
async fn a_database_that_was_never_there_is_an_outage_too() {
    let process = Authenticator::new(AuthConfig::default(), no_keys(), Arc::new(Stopped)).unwrap();
    let key = "clq_0123456789012345678901234567890123456789012";
    assert!(outcome(&process, key).await.unwrap_err().starts_with("auth_unavailable"));
}
