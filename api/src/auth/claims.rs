//! A JWT's claims, once its signature is known to be good: is it for us, is it for now, and
//! whom does it name?

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{Actor, ActorRole, TenantId, UserId};
use serde::Deserialize;
use serde_json::Value;

use crate::auth::error::AuthError;
use crate::auth::identity::Identity;

/// What a token's claims must agree with.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) leeway: Duration,
}

/// The claims, untyped: so that an error can say which one is at fault.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    sub: Option<Value>,
    tenant_id: Option<Value>,
    role: Option<Value>,
    tier: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iss: Option<Value>,
    aud: Option<Value>,
}

impl Claims {
    pub(super) fn identity(
        &self,
        expected: &Expected,
        now: DateTime<Utc>,
    ) -> Result<Identity, AuthError> {
        self.check_time(expected.leeway, now)?;
        self.check_issuer(expected.issuer.as_deref())?;
        self.check_audience(expected.audience.as_deref())?;
        let (tenant_id, user_id, role) = (self.tenant_id()?, self.user_id()?, self.role()?);
        Ok(Identity { actor: Actor { tenant_id, user_id, role }, named_tier: self.tier() })
    }

    fn check_time(&self, leeway: Duration, now: DateTime<Utc>) -> Result<(), AuthError> {
        let (now, leeway) = (seconds(now), leeway.as_secs_f64());
        let exp = self.exp.as_ref().and_then(Value::as_f64);
        let exp = exp.ok_or(AuthError::InvalidToken("its `exp` is missing or no number"))?;
        if now >= exp + leeway {
            return Err(AuthError::ExpiredToken);
        }
        if let Some(nbf) = &self.nbf {
            let nbf = nbf.as_f64().ok_or(AuthError::InvalidToken("its `nbf` is no number"))?;
            if now + leeway < nbf {
                return Err(AuthError::InvalidToken("it is not valid yet"));
            }
        }
        Ok(())
    }

    fn check_issuer(&self, expected: Option<&str>) -> Result<(), AuthError> {
        if expected.is_some() && text(self.iss.as_ref()) != expected {
            return Err(AuthError::InvalidToken("its `iss` is not the one expected"));
        }
        Ok(())
    }

    fn check_audience(&self, expected: Option<&str>) -> Result<(), AuthError> {
        let Some(expected) = expected else { return Ok(()) };
        let named = match &self.aud {
            Some(Value::String(one)) => one == expected,
            Some(Value::Array(many)) => many.iter().any(|one| one == expected),
            _ => false,
        };
        if named {
            Ok(())
        } else {
            Err(AuthError::InvalidToken("its `aud` does not name this service"))
        }
    }

    fn tenant_id(&self) -> Result<TenantId, AuthError> {
        let tenant_id = text(self.tenant_id.as_ref())
            .and_then(|text| TenantId::from_str(text).ok())
            .ok_or(AuthError::InvalidToken("its `tenant_id` must be 1 to 64 of A-Z a-z 0-9 _ -"))?;
        if tenant_id == TenantId::deployment() {
            return Err(AuthError::InvalidToken("its `tenant_id` is a reserved name"));
        }
        Ok(tenant_id)
    }

    fn user_id(&self) -> Result<UserId, AuthError> {
        let user_id = text(self.sub.as_ref())
            .and_then(|text| UserId::from_str(text).ok())
            .ok_or(AuthError::InvalidToken("its `sub` must be 1 to 255 printable characters"))?;
        if user_id == UserId::system() {
            return Err(AuthError::InvalidToken("its `sub` is a reserved name"));
        }
        Ok(user_id)
    }

    /// Only `admin` means more than the least; the system's own role can't be had by a token.
    fn role(&self) -> Result<ActorRole, AuthError> {
        match &self.role {
            Some(Value::String(role)) if role == "admin" => Ok(ActorRole::Admin),
            None | Some(Value::Null | Value::String(_)) => Ok(ActorRole::User),
            Some(_) => Err(AuthError::InvalidToken("its `role` must be a text")),
        }
    }

    /// Many providers know a role and nothing else: then it names the tier.
    fn tier(&self) -> Option<String> {
        text(self.tier.as_ref()).or_else(|| text(self.role.as_ref())).map(str::to_owned)
    }
}

fn text(claim: Option<&Value>) -> Option<&str> {
    claim.and_then(Value::as_str)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds are exact for 285,000 years")]
fn seconds(moment: DateTime<Utc>) -> f64 {
    moment.timestamp_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests;
