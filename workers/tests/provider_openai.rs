//! The OpenAI-compatible provider against a scripted server behind a real socket, with every
//! fault that the network and a server can show.

#[cfg(test)]
#[path = "provider_openai/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "provider_openai/scripted.rs"]
mod scripted;
