//! What works in the background: the LLM worker and its providers, the relay, the sweeper,
//! webhooks.

mod answer;
mod attempt;
pub mod catalog;
pub mod provider;
pub mod relay;
mod sweeper;
pub mod webhooks;
pub mod worker;
