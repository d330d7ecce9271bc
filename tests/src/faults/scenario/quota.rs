//! Many who want what is left of little.

use futures::future::join_all;
use rand::Rng;
use reqwest::Method;
use serde_json::json;

use super::Stage;
use super::crossing::insist;
use crate::client::{Answer, Client};
use crate::faults::world::{APIS, LIMITED, PLAIN, WORKERS, any};
use crate::token;

/// Hundreds of requests at once, on both nodes, for one account that has room for some; a worker
/// that holds some of it is killed. What was held and used is checked in every prefix of the log.
pub(super) async fn raced_for(stage: &mut Stage) {
    let user = format!("racer-{}-{}", stage.world.rounds, stage.dice.random::<u32>());
    let token = token::user(LIMITED, &user);
    let clients = APIS.map(|name| Client::new(stage.world.cluster.base(name), Some(token.clone())));
    let count = stage.by_scale(100, 500);
    let racing = (0..count).map(|number| race(&clients[number % 2], &user, number));
    let race = async {
        let answers: Vec<Answer> = join_all(racing).await;
        let accepted = answers.iter().filter(|answer| answer.status == 202).count();
        for answer in answers.iter().filter(|answer| answer.status != 202) {
            assert_eq!((answer.status, answer.code()), (429, "insufficient_quota"), "I6");
        }
        assert!(accepted > 0 && accepted < count, "I6: {accepted} of {count} had room");
    };
    let worker = any(&mut stage.dice, &WORKERS);
    let killing = async {
        stage.turns(2).await;
        stage.world.kill(worker);
        stage.turns(2).await;
    };
    tokio::join!(killing, race);
}

/// One message in a session of its own, until there is a definite answer.
async fn race(client: &Client, user: &str, number: usize) -> Answer {
    let key = format!("{user}-{number}");
    let settings = json!({ "settings": { "model": PLAIN } });
    let session =
        insist(client, Method::POST, "/v1/sessions", &key, &settings).await.expect(201).text("/id");
    let body = json!({ "content": format!("{key} [[tokens=40 pause=20]]"),
                       "settings": { "max_tokens": 60 } });
    let path = format!("/v1/sessions/{session}/messages");
    insist(client, Method::POST, &path, &format!("{key}-m"), &body).await
}
