//! Providers that refuse, stall, break off, or say too much.

use std::time::Duration;

use super::{Load, Scale, Stage};
use crate::eventually;
use crate::faults::check::begun;
use crate::faults::world::{BACKED, CONTINUED, PLAIN};
use crate::provider::{Call, Ended};

/// For a provider to notice that nobody listens any more.
const SOON: Duration = Duration::from_secs(20);

/// Answers of all kinds.
pub(super) fn moody(scale: Scale) -> Load {
    let directives = vec![
        "",
        "status=429 times=1",
        "status=500 times=1",
        "status=500",
        "cut=5 times=1",
        "cut=0 times=1",
        "malformed=4 times=1",
        "error=3 times=1",
        "cut=4",
        "finishes=2",
        "claims=900",
        "no-usage",
        "counting",
        "think=3",
    ];
    let users = match scale {
        Scale::Short => 8,
        Scale::Long => 30,
    };
    Load { users, directives, ..Load::default() }
}

/// Answers that never come, or not to their end, and very long ones.
pub(super) fn slow(scale: Scale) -> Load {
    let directives = vec!["hang times=1", "stall=3 times=1", "big=131072", "", "", "", ""];
    let users = match scale {
        Scale::Short => 4,
        Scale::Long => 12,
    };
    // With `big`: up to ten megabytes.
    let largest_answer = 80 * 131_072;
    let (tokens, pause) = ((8, 80), (0, 10));
    Load { users, directives, tokens, pause, largest_answer, plain: true, ..Load::default() }
}

/// Each kind is asked for once at the least, beside those that the users choose; and each way to
/// get along without a provider is tried.
pub(super) async fn each_at_least_once(stage: &mut Stage) {
    let refused = ask(stage, BACKED, "status=503 times=1").await;
    let broken = ask(stage, CONTINUED, "cut=5 times=1").await;
    let directives = stage.working.directives();
    let mut asked = Vec::new();
    for directive in directives.into_iter().filter(|directive| !directive.is_empty()) {
        asked.push(ask(stage, PLAIN, directive).await);
    }
    stage.turns(asked.len() + stage.by_scale(6, 60)).await;
    let world = &stage.world;
    let stood_in = async || !world.cluster.provider.calls(&refused).is_empty();
    eventually("the fault: another provider stands in", SOON, stood_in).await;
    let goes_on = async || world.second.calls(&broken).iter().any(|call| !begun(call).is_empty());
    eventually("the fault: an answer goes on", SOON, goes_on).await;
    for text in asked {
        eventually(&format!("the fault: {text}"), SOON, async || {
            stage.world.cluster.provider.calls(&text).iter().any(has_its_fault)
        })
        .await;
    }
}

/// Asks `model` for an answer of this kind, which somebody watches; tells the message.
async fn ask(stage: &mut Stage, model: &'static str, directive: &str) -> String {
    let directive = format!("tokens=12 pause=5 {directive}");
    let (owner, accepted) = stage.working.ask_for(model, &mut stage.dice, &directive).await;
    stage.working.watch(owner, &accepted.turn.id, 1, &mut stage.dice);
    accepted.text
}

/// Whether the provider did what the message asked it to do wrong.
fn has_its_fault(call: &Call) -> bool {
    let asks = |word: &str| call.message.contains(word);
    let broken = ["cut=", "malformed=", "error="].into_iter().any(asks);
    match call.ended {
        Ended::Faulty => broken,
        Ended::Abandoned => asks("hang") || asks("stall="),
        Ended::Whole if asks("status=") => call.text.is_empty(),
        Ended::Whole if asks("big=") => call.text.len() > 1_000_000,
        Ended::Whole if asks("claims=900") => {
            call.usage.is_some_and(|usage| usage.completion == 900)
        }
        Ended::Whole if asks("no-usage") => call.usage.is_none(),
        Ended::Whole => !broken && !asks("hang") && !asks("stall="),
        Ended::Not => false,
    }
}
