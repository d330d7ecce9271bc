//! What works in the background: the LLM worker and its providers, the relay, the sweeper.

pub mod provider;
