//! Random steps.

use domain::session::OnBusy;
use proptest::prelude::*;
use proptest::sample::Index;

use super::acts::Act;

/// A clock that jumps, and then one process that acts, or both at once.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) jump: Option<(usize, i64)>,
    pub(super) act: Act,
    pub(super) turn: Index,
    pub(super) processes: &'static [usize],
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let act = prop_oneof![
        2 => Just(Act::Send(OnBusy::Refuse)),
        3 => Just(Act::Send(OnBusy::Interrupt)),
        2 => Just(Act::Complete),
        6 => Just(Act::Start),
        3 => Just(Act::TakeOver),
        3 => Just(Act::Answer),
        1 => Just(Act::Fail),
        1 => Just(Act::Release),
        3 => Just(Act::Cancel),
        2 => Just(Act::Confirm),
        2 => Just(Act::Extend),
        4 => Just(Act::Expire),
        1 => Just(Act::Consume),
    ];
    let minutes = prop::sample::select(vec![-60_i64, -11, -1, 1, 11, 60]);
    let jump = prop::option::weighted(0.4, (0..2_usize, minutes));
    let processes = prop::sample::select(vec![&[0_usize][..], &[1], &[0, 1]]);
    let step = (jump, act, any::<Index>(), processes)
        .prop_map(|(jump, act, turn, processes)| Step { jump, act, turn, processes });
    prop::collection::vec(step, 20..60)
}
