//! Typed identifiers, so that a turn's id can never be passed where a session's is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not a valid identifier of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must be {rule}")]
pub struct InvalidId {
    kind: &'static str,
    rule: &'static str,
}

macro_rules! uuid_id {
    ($(#[$doc:meta] $name:ident = $kind:literal;)*) => {$(
        #[$doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| InvalidId { kind: $kind, rule: "a UUID" })
            }
        }
    )*};
}

uuid_id! {
    /// A session: one conversation.
    SessionId = "session id";
    /// A message of a session.
    MessageId = "message id";
    /// A turn: one user message to one finished answer.
    TurnId = "turn id";
    /// A user's account.
    AccountId = "account id";
    /// A hold on an account: for a turn, the turn's own id.
    ReservationId = "reservation id";
}

/// The namespace of accounts' ids (a random UUID, once and for all).
const ACCOUNTS: Uuid = Uuid::from_u128(0x6f9d_1c4e_52b7_4c0a_9a38_d1e0_7f3b_2a64);

impl AccountId {
    /// The account of a user: it follows from who they are (`UUIDv5`, RFC 9562), so that
    /// nobody has to look it up.
    pub fn of(tenant_id: &TenantId, user_id: &UserId) -> Self {
        // A tenant's id has no slash.
        let name = format!("{tenant_id}/{user_id}");
        Self(Uuid::new_v5(&ACCOUNTS, name.as_bytes()))
    }
}

impl From<TurnId> for ReservationId {
    fn from(turn_id: TurnId) -> Self {
        Self(turn_id.0)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta] $name:ident = $kind:literal, $check:path, $rule:literal;)*) => {$(
        #[$doc]
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                if $check(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidId { kind: $kind, rule: $rule })
                }
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0)
            }
        }
    )*};
}

text_id! {
    /// A tenant: the unit of isolation. Stands in NATS subjects, hence its narrow alphabet.
    TenantId = "tenant id", is_subject_token, "1 to 64 of A-Z a-z 0-9 _ -";
    /// A user of a tenant: the token's subject, any text of the identity provider.
    UserId = "user id", is_printable, "1 to 255 printable characters";
    /// A command: chosen by the client, or made for it; unique within a tenant and user.
    CommandId = "command id", is_printable, "1 to 255 printable characters";
    /// A worker process.
    WorkerId = "worker id", is_printable, "1 to 255 printable characters";
}

impl TenantId {
    /// Whose the deployment's own events are: its catalog. No caller may have it.
    pub fn deployment() -> Self {
        Self("_deployment".to_owned())
    }
}

impl UserId {
    /// The user id under which Colloquy's own processes act.
    pub fn system() -> Self {
        Self("system".to_owned())
    }
}

fn is_subject_token(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn is_printable(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_id_cannot_escape_its_subject() {
        for bad in ["", "a.b", "a*", ">", "a b", "é", &"x".repeat(65)] {
            assert!(TenantId::from_str(bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(TenantId::from_str("acme-1_B").map(String::from), Ok("acme-1_B".to_owned()));
    }

    #[test]
    fn a_user_id_has_no_control_characters() {
        assert!(UserId::from_str("auth0|5f7c").is_ok());
        assert!(UserId::from_str("a\nb").is_err());
    }
}
