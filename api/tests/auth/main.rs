//! Authentication as a caller meets it: forged and worn-out tokens, an identity provider that
//! changes its keys, API keys in a real database.

mod jwks;
mod jwt;
mod keys;
mod support;
