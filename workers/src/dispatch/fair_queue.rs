//! Who is next: tenants in turn, and within a tenant whoever came first. A tenant with ten
//! thousand waiting turns holds another one up by no more than one.

use std::collections::{HashMap, VecDeque};

use domain::{TenantId, TurnId};

/// The waiting turns of one pool.
#[derive(Debug, Default)]
pub(super) struct FairQueue {
    /// Before all others: turns whose worker was lost, for somebody is watching them.
    urgent: VecDeque<TurnId>,
    tenants: HashMap<TenantId, VecDeque<TurnId>>,
    /// The tenants with waiting turns, in the order of their turns.
    ring: VecDeque<TenantId>,
}

impl FairQueue {
    pub(super) fn push(&mut self, tenant: &TenantId, turn: TurnId) {
        let waiting = self.tenants.entry(tenant.clone()).or_default();
        if waiting.is_empty() {
            self.ring.push_back(tenant.clone());
        }
        waiting.push_back(turn);
    }

    pub(super) fn push_urgent(&mut self, turn: TurnId) {
        self.urgent.push_back(turn);
    }

    /// The next one; only an urgent one unless there is room.
    pub(super) fn pop(&mut self, has_room: bool) -> Option<TurnId> {
        if let Some(turn) = self.urgent.pop_front() {
            return Some(turn);
        }
        if !has_room {
            return None;
        }
        let tenant = self.ring.pop_front()?;
        let waiting = self.tenants.get_mut(&tenant)?;
        let turn = waiting.pop_front();
        if waiting.is_empty() {
            self.tenants.remove(&tenant);
        } else {
            self.ring.push_back(tenant);
        }
        turn
    }

    pub(super) fn has_next(&self, has_room: bool) -> bool {
        !self.urgent.is_empty() || (has_room && !self.ring.is_empty())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.ring.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(number: u128) -> TurnId {
        TurnId(uuid::Uuid::from_u128(number))
    }

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    #[test]
    fn a_tenant_with_many_turns_holds_nobody_up() {
        let mut queue = FairQueue::default();
        for number in 0..10_000 {
            queue.push(&tenant("many"), turn(number));
        }
        queue.push(&tenant("one"), turn(20_000));
        assert_eq!(queue.pop(true), Some(turn(0)));
        assert_eq!(queue.pop(true), Some(turn(20_000)), "its turn after one of the others");
        let rest: Vec<TurnId> = std::iter::from_fn(|| queue.pop(true)).collect();
        assert_eq!(rest, (1..10_000).map(turn).collect::<Vec<_>>(), "first come, first served");
        assert!(queue.is_empty() && queue.tenants.is_empty(), "nothing is left behind");
    }

    #[test]
    fn lost_turns_go_first() {
        let mut queue = FairQueue::default();
        queue.push(&tenant("acme"), turn(1));
        queue.push_urgent(turn(2));
        assert_eq!((queue.pop(false), queue.pop(false)), (Some(turn(2)), None));
        assert_eq!((queue.pop(true), queue.pop(true)), (Some(turn(1)), None));
    }
}
