//! `OpenAI`-compatible routes: what their SDKs send and expect, over the same turns.

pub(crate) mod chat;
pub(crate) mod models;
