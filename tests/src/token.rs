//! JSON Web Tokens as an identity provider would sign them.

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

/// The secret that a cluster's configuration has.
pub const SECRET: &str = "a secret for the tests, which is long enough";
/// The year 2100.
const FAR: u64 = 4_102_444_800;

/// A good token of a user.
pub fn user(tenant: &str, user: &str) -> String {
    with_role(tenant, user, "user")
}

/// A good token.
pub fn with_role(tenant: &str, user: &str, role: &str) -> String {
    let claims = json!({ "sub": user, "tenant_id": tenant, "role": role, "exp": FAR });
    sign(&claims, SECRET)
}

/// A token of last century.
pub fn expired(tenant: &str, user: &str) -> String {
    sign(&json!({ "sub": user, "tenant_id": tenant, "exp": 900_000_000 }), SECRET)
}

/// A token signed with another secret.
pub fn forged(tenant: &str, user: &str) -> String {
    let claims = json!({ "sub": user, "tenant_id": tenant, "exp": FAR });
    sign(&claims, "some other secret that nobody here knows")
}

/// Any claims, signed with `secret`.
pub fn sign(claims: &Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), claims, &key).unwrap()
}
