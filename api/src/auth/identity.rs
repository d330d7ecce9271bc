//! What a token says of its caller.

use domain::Actor;

/// Whom a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who acts, and what they may do.
    pub actor: Actor,
    /// The tier that the token names: what it says itself, else its role's name. Only an
    /// account that opens asks for it, and a name that is no tier says nothing.
    pub named_tier: Option<String>,
}
