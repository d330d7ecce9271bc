//! What works in the background: the LLM worker and its providers, the relay with the
//! dispatcher, webhooks.

mod answer;
mod attempt;
pub mod catalog;
mod dispatch;
mod in_work;
mod lease;
mod own_connection;
pub mod provider;
pub mod relay;
pub mod webhooks;
pub mod worker;
