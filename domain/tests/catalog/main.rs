//! The catalog's rules, as given/when/then; its events as the log holds them; and how the
//! configuration and the admins get along in it.

#[cfg(test)]
mod fallbacks;
#[cfg(test)]
mod given;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod models;
#[cfg(test)]
mod prices;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod seeding;
