//! NATS: JetStream's store, crashes, pauses, access.

use std::time::Duration;

use async_nats::{
    Client, ConnectOptions, ServerAddr,
    jetstream::{self, stream::Config},
};
use local::{LocalError, Nats, NatsOptions, TemporaryFolder};
use tokio::time::timeout;

use crate::support::processes_in;

/// The client takes name and password from its options only, not from the URL.
async fn connect(nats: &Nats) -> Client {
    let address: ServerAddr = nats.url().parse().unwrap();
    let (user, password) = (address.username().unwrap(), address.password().unwrap());
    let options = ConnectOptions::with_user_and_password(user.into(), password.into());
    options.connect(address.clone()).await.unwrap()
}

async fn jetstream(nats: &Nats) -> jetstream::Context {
    jetstream::new(connect(nats).await)
}

async fn messages(nats: &Nats) -> Option<u64> {
    let mut stream = jetstream(nats).await.get_stream("S").await.ok()?;
    Some(stream.info().await.unwrap().state.messages)
}

async fn publish(nats: &Nats) {
    let context = jetstream(nats).await;
    let config = Config { name: "S".into(), subjects: vec!["s.>".into()], ..Config::default() };
    context.create_stream(config).await.unwrap();
    context.publish("s.one", "hello".into()).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn the_store_survives_a_crash_and_a_second_start() {
    let folder = TemporaryFolder::new().unwrap();
    let mut nats = Nats::start(NatsOptions::temporary(folder.path())).await.unwrap();
    let url = nats.url();
    publish(&nats).await;
    nats.kill().await.unwrap();
    nats.start_again().await.unwrap();
    assert_eq!(nats.url(), url);
    assert_eq!(messages(&nats).await, Some(1));
    nats.stop().await.unwrap();
    assert_eq!(processes_in(folder.path()), Vec::<String>::new());

    let mut second = Nats::start(NatsOptions::temporary(folder.path())).await.unwrap();
    assert_eq!(second.url(), url);
    assert_eq!(messages(&second).await, Some(1));
    assert!(second.store_dir().is_dir());
    assert!(matches!(second.delete_store(), Err(LocalError::WrongState { .. })));
    second.kill().await.unwrap();
    second.delete_store().unwrap();
    second.start_again().await.unwrap();
    assert_eq!(messages(&second).await, None);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn access_needs_the_password_and_the_folder_is_taken_once() {
    let folder = TemporaryFolder::new().unwrap();
    let mut nats = Nats::start(NatsOptions::temporary(folder.path())).await.unwrap();
    let open = format!("nats://127.0.0.1:{}", nats.port());
    assert!(async_nats::connect(open).await.is_err());
    let refused = Nats::start(NatsOptions::temporary(folder.path())).await.unwrap_err();
    assert!(matches!(refused, LocalError::InUse { .. }), "{refused}");
    nats.stop().await.unwrap();
}

#[tokio::test]
async fn a_pause_freezes_open_connections() {
    let folder = TemporaryFolder::new().unwrap();
    let mut nats = Nats::start(NatsOptions::temporary(folder.path())).await.unwrap();
    let client = connect(&nats).await;
    client.flush().await.unwrap();
    let rtt = |client: Client| async move {
        let inbox = client.new_inbox();
        let mut replies = client.subscribe(inbox.clone()).await.unwrap();
        client.publish(inbox, "x".into()).await.unwrap();
        futures::StreamExt::next(&mut replies).await
    };
    nats.pause().await.unwrap();
    let mut frozen = std::pin::pin!(rtt(client));
    assert!(timeout(Duration::from_millis(200), &mut frozen).await.is_err());
    nats.resume().unwrap();
    assert!(timeout(Duration::from_secs(5), frozen).await.unwrap().is_some());
    nats.pause().await.unwrap();
    timeout(Duration::from_secs(5), nats.stop()).await.unwrap().unwrap();
}
