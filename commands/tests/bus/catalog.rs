//! The catalog as other processes change it: no turn is refused for what holds no more.

use commands::{CommandBus, CommandError};
use domain::catalog::{CatalogCommand, ModelPatch, NewModel};
use domain::models::Status;
use domain::session::{CreateCompletion, Rejection, SessionCommand};
use domain::{Actor, Settings};
use serde_json::json;

use crate::log::Log;
use crate::turns::{Done, Turn, money};
use crate::world::{World, admin, ann};

/// Nobody follows the catalog here: what a process knows is what it has seen itself.
async fn change(bus: &CommandBus, command: CatalogCommand) {
    let system = Actor::system(domain::TenantId::deployment());
    let caller = commands::Caller { actor: system, ..admin() };
    bus.catalog().execute(&command, &caller).await.unwrap();
}

async fn ask(bus: &CommandBus, model: &str, max_tokens: u32) -> Done {
    let turn = Turn::new();
    let SessionCommand::CreateCompletion(create) = turn.complete_this() else { unreachable!() };
    let (model, max_tokens) = (Some(model.to_owned()), Some(max_tokens));
    let settings = Settings { model, max_tokens, ..create.settings };
    let create = CreateCompletion { settings, ..create };
    bus.execute(turn.session_id, &SessionCommand::CreateCompletion(create), &ann()).await
}

fn model(name: &str) -> CatalogCommand {
    let price = json!({ "input_per_1k": "1", "output_per_1k": "1" });
    let new = json!({
        "name": name, "provider": "p", "context": 4096, "max_output": 100, "price": price
    });
    CatalogCommand::AddModel(serde_json::from_value::<NewModel>(new).unwrap())
}

#[tokio::test]
async fn a_model_that_was_added_elsewhere_is_there_at_once_and_has_its_price() {
    let world = World::with(json!({ "credit_balance": "1" })).await;
    let buses = world.processes(2).await;
    let unknown = ask(&buses[0], "new", 90).await;
    assert!(matches!(unknown, Err(CommandError::Rejected(Rejection::UnknownModel(_)))));
    change(&buses[1], model("new")).await;
    ask(&buses[0], "new", 90).await.unwrap();
    assert_eq!(Log::read(&world).await.books().held_in_all().credits, money("0.1"));
}

#[tokio::test]
async fn what_a_model_may_do_since_a_moment_ago_is_allowed_at_once() {
    let world = World::with(json!({})).await;
    let buses = world.processes(2).await;
    change(&buses[0], model("new")).await;
    let refused = ask(&buses[0], "new", 101).await;
    assert!(matches!(
        refused,
        Err(CommandError::Rejected(Rejection::MaxTokensTooLarge { limit: 100, .. }))
    ));
    let change_model =
        |patch: ModelPatch| CatalogCommand::ChangeModel { name: "new".into(), patch };
    let longer = ModelPatch { max_output: Some(200), ..ModelPatch::default() };
    change(&buses[1], change_model(longer)).await;
    ask(&buses[0], "new", 101).await.unwrap();

    let patch = |status| change_model(ModelPatch { status: Some(status), ..ModelPatch::default() });
    change(&buses[0], patch(Status::Disabled)).await;
    let refused = ask(&buses[0], "new", 90).await;
    assert!(matches!(refused, Err(CommandError::Rejected(Rejection::ModelDisabled(_)))));
    change(&buses[1], patch(Status::Enabled)).await;
    ask(&buses[0], "new", 90).await.unwrap();
}
