//! Copies of one streaming request: the same bytes, from one turn and one call of the provider.

use futures::future::join_all;
use reqwest::RequestBuilder;
use tests::{Client, Cluster, eventually, invariants};

use super::{completion, message};
use crate::support::{BINARY, SOON};

/// The bytes of a stream.
async fn read(request: RequestBuilder) -> String {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.text().await.unwrap()
}

/// Five copies, at both nodes, at once.
fn copies(nodes: &[Client; 2], make: impl Fn(&Client) -> RequestBuilder) -> [RequestBuilder; 5] {
    std::array::from_fn(|number| make(&nodes[number % 2]))
}

async fn refused(request: RequestBuilder, client: &Client) {
    let answer = client.send(request).await.expect(422);
    assert_eq!(answer.code(), "idempotency_key_reused");
}

#[tokio::test]
async fn five_copies_are_one_turn_and_five_equal_streams() {
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api,projector,relay")
        .node("b", "api,projector,relay")
        .node("worker", "worker")
        .patient()
        .start()
        .await;
    let nodes = [cluster.client("a", "acme", "ann"), cluster.client("b", "acme", "ann")];
    let session = nodes[0].create_session().await;
    let texts = ["sent five times", "completed five times"];
    let [sent, completed] =
        texts.map(|text| format!("{text} [[tokens=30 pause=8 gate=9 think=4]]"));
    let messages = |client: &Client| message(client, &session, "five", &sent);
    let completions = |client: &Client| completion(client, "five chats", &completed);
    let streams =
        join_all(copies(&nodes, messages).into_iter().chain(copies(&nodes, completions)).map(read));
    let others = async {
        eventually("both are at it", SOON, async || {
            texts.iter().all(|text| cluster.provider.calls(text).iter().any(|call| call.tokens > 4))
        })
        .await;
        for client in &nodes {
            refused(message(client, &session, "five", "another text"), client).await;
            refused(completion(client, "five chats", "another text"), client).await;
            refused(completion(client, "five", &completed), client).await;
        }
        for text in texts {
            cluster.provider.open(text);
        }
    };
    let (streams, ()) = tokio::join!(streams, others);
    let (sent_streams, completed_streams) = streams.split_at(5);
    assert!(sent_streams[0].contains("event: turn.completed"), "{}", sent_streams[0]);
    assert!(completed_streams[0].ends_with("data: [DONE]\n\n"), "{}", completed_streams[0]);
    for streams in [sent_streams, completed_streams] {
        assert!(streams.iter().all(|stream| *stream == streams[0]), "{streams:#?}");
    }
    assert_eq!(cluster.provider.count(), 2, "each was asked for once");

    for name in ["a", "b"] {
        cluster.node(name).kill();
        cluster.node(name).start();
    }
    for name in ["a", "b"] {
        cluster.node(name).ready().await;
    }
    for client in &nodes {
        assert_eq!(read(messages(client)).await, sent_streams[0]);
        assert_eq!(read(completions(client)).await, completed_streams[0]);
        refused(message(client, &session, "five", "another text"), client).await;
        refused(completion(client, "five chats", "another text"), client).await;
    }
    assert_eq!(cluster.provider.count(), 2);
    assert_eq!(invariants::check(&cluster.pool().await).await.len(), 2, "one turn each");
}
