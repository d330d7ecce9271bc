//! What an actor may see, and pages of it.

use domain::{Actor, ActorRole};

/// The rows an actor may see: a user their own, all others their tenant's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) user: Option<&'a str>,
}

impl<'a> Scope<'a> {
    pub(crate) fn of(actor: &'a Actor) -> Self {
        let own = actor.role == ActorRole::User;
        Self { tenant: actor.tenant_id.as_str(), user: own.then(|| actor.user_id.as_str()) }
    }
}

/// Some of a list, and where the rest begins.
#[derive(Debug, Clone)]
pub struct Page<T, C> {
    /// The items.
    pub items: Vec<T>,
    /// Where to go on; none at the end.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// A page of at most `limit` out of `items`, which were read with one more than that.
    pub(crate) fn cut(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> C) -> Self {
        let limit = limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(cursor);
        Self { items, next }
    }
}
