//! Authentication as a caller meets it: forged and worn-out tokens, an identity provider that
//! changes its keys, API keys in a real database.

#[cfg(test)]
mod jwks;
#[cfg(test)]
mod jwt;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod support;
