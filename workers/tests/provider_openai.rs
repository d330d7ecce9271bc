//! The OpenAI-compatible provider against a scripted server behind a real socket, with every
//! fault that the network and a server can show.

#[cfg(test)]
#[path = "provider_openai/asking.rs"]
mod asking;
#[cfg(test)]
#[path = "provider_openai/continuation.rs"]
mod continuation;
#[cfg(test)]
#[path = "provider_openai/fallbacks.rs"]
mod fallbacks;
#[cfg(test)]
#[path = "provider_openai/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "provider_openai/oversized.rs"]
mod oversized;
#[cfg(test)]
#[path = "provider_openai/scripted.rs"]
mod scripted;
