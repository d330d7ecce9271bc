//! `colloquy quota`: accounts on the command line.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;
use sqlx::Connection as _;
use tests::cluster::try_cli;
use tests::{Cluster, eventually};

use crate::support::{BINARY, SOON, new_tenant, shared};

/// `colloquy quota …` for a user of a tenant.
async fn quota(cluster: &Cluster, (tenant, user): (&str, &str), arguments: &[&str]) -> String {
    cluster.cli(&[&["quota"], arguments, &["--tenant", tenant, "--user", user]].concat()).await
}

fn refused(cluster: &Cluster, tenant: &str, arguments: &[&str]) -> String {
    let account = ["--tenant", tenant, "--user", "ann"];
    let arguments = [&["quota"], arguments, &account].concat();
    try_cli(Path::new(BINARY), &arguments, &[("DATABASE_URL", cluster.database_url())]).unwrap_err()
}

async fn shown(cluster: &Cluster, tenant: &str) -> Value {
    let printed = quota(cluster, (tenant, "ann"), &["show", "--json"]).await;
    serde_json::from_str(&printed).unwrap()
}

#[tokio::test]
async fn an_account_is_opened_changed_and_shown() {
    let (cluster, tenant) = (shared().await, new_tenant());
    let none = refused(cluster, &tenant, &["show"]);
    assert!(none.contains("has no account") && none.contains("quota open"), "{none}");
    let act = async |arguments: &[&str]| quota(cluster, (&tenant, "ann"), arguments).await;
    act(&["open", "--tier", "pro", "--by", "root"]).await;
    let recharge = [
        "recharge",
        "--credits",
        "12.50",
        "--tokens",
        "7",
        "--reason",
        "paid",
        "--command-id",
        "r",
    ];
    act(&recharge).await;
    let again = act(&recharge).await;
    assert!(again.contains("was carried out before"), "{again}");
    let by_another = act(&[recharge.as_slice(), &["--by", "root"]].concat()).await;
    assert!(by_another.contains("was carried out before"), "{by_another}");
    act(&["adjust", "--credits", "-2.25", "--reason", "a mistake"]).await;
    act(&["limits", "--set", "tokens_per_day=5000", "--set", "requests_per_minute=0"]).await;
    act(&["limits", "--unset", "requests_per_minute"]).await;
    act(&["suspend", "--reason", "late"]).await;
    let account = shown(cluster, &tenant).await;
    assert_eq!((&account["tier"], &account["status"]), (&"pro".into(), &"suspended".into()));
    assert_eq!(account["balance"]["credits"], "10.25");
    assert_eq!(account["balance"]["tokens"], 7);
    let limit = |kind: &str| {
        let limits = account["limits"].as_array().unwrap();
        limits.iter().find(|limit| limit["kind"] == kind).unwrap()["limit"].clone()
    };
    assert_eq!((limit("tokens_per_day"), limit("requests_per_minute")), (5000.into(), 60.into()));
    let table = act(&["show"]).await;
    assert!(table.contains("suspended: late") && table.contains("10.25 credits"), "{table}");
    act(&["activate"]).await;
    act(&["tier", "--tier", "vip"]).await;
    act(&["reset", "--scope", "balance"]).await;
    let account = shown(cluster, &tenant).await;
    assert_eq!((&account["tier"], &account["status"]), (&"vip".into(), &"active".into()));
    assert_eq!(account["balance"]["tokens"], 50_000_000);

    let lines = act(&["transactions", "--json"]).await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["reset", "grant", "adjustment", "recharge"], "newest first");
    assert_eq!((&lines[3]["reason"], &lines[3]["by_user"]), (&"paid".into(), &"cli".into()));
    let recharges = act(&["transactions", "--kind", "recharge", "--from", "2020-01-01"]).await;
    assert_eq!(recharges.lines().count(), 2, "a heading and a line: {recharges}");
    let accounts = cluster.cli(&["quota", "accounts", "--tenant", &tenant]).await;
    assert!(accounts.contains("ann") && accounts.contains("vip"), "{accounts}");
}

#[tokio::test]
async fn what_is_refused_changes_nothing_and_says_why() {
    let (cluster, tenant) = (shared().await, new_tenant());
    for (arguments, expected) in [
        (vec!["tier", "--tier", "pro"], "there is no such account"),
        (vec!["open", "--tier", "gold"], "there is no tier called \"gold\""),
        (vec!["recharge", "--reason", "x"], "--credits"),
        (vec!["limits", "--set", "tokens=5"], "there are requests_per_minute"),
    ] {
        let error = refused(cluster, &tenant, &arguments);
        assert!(error.contains(expected), "{error}");
    }
    quota(cluster, (&tenant, "ann"), &["open"]).await;
    let error = refused(cluster, &tenant, &["recharge", "--credits=-1", "--reason", "x"]);
    assert!(error.contains("nothing was changed: `credits` must be from 0"), "{error}");
    let error = refused(cluster, &tenant, &["suspend", "--reason", " "]);
    assert!(error.contains("`reason` must say why"), "{error}");
}

/// A price that should have held from the beginning: a thousandth for a token of the prompt, two
/// for one of the answer.
async fn set_price(cluster: &Cluster) {
    let config = std::fs::read_to_string(cluster.folder().join("colloquy.toml")).unwrap();
    let priced = cluster.folder().join("priced.toml");
    let price = "[[prices]]\nmodel = \"scripted\"\ninput_per_1k = \"1\"\noutput_per_1k = \"2\"\n\
                 from = \"2020-01-01T00:00:00Z\"\n";
    std::fs::write(&priced, config + price).unwrap();
    cluster.cli(&["seed", "--config", priced.to_str().unwrap()]).await;
}

/// Thousandths as the text of an amount.
fn credits(thousandths: i64) -> String {
    domain::Credits::whole(thousandths).per_thousand().to_string()
}

#[tokio::test]
async fn usage_is_charged_anew_at_corrected_prices() {
    let cluster = Cluster::builder(BINARY).node("all", "api,worker,projector,relay").start().await;
    let (ann, account) = (cluster.client("all", "acme", "ann"), ("acme", "ann"));
    let mut thousandths = 0;
    for tokens in [10, 30] {
        let question = format!("to be paid [[tokens={tokens}]]");
        let end = ann.say(&ann.create_session().await, &question).await.completed();
        let usage = |name: &str| end["usage"][name].as_i64().unwrap();
        thousandths += usage("prompt_tokens") + 2 * usage("completion_tokens");
    }
    let reprice = ["reprice", "--from", "2020-01-01"];
    let nothing = quota(&cluster, account, &reprice).await;
    assert!(nothing.contains("0 corrections are posted"), "{nothing}");

    set_price(&cluster).await;
    let foreseen = quota(&cluster, account, &[reprice.as_slice(), &["--dry-run"]].concat()).await;
    assert!(foreseen.contains("dry run"), "{foreseen}");
    assert_eq!(shown(&cluster, "acme").await["balance"]["credits"], "0");
    // Another one is at work.
    let mut other = sqlx::PgConnection::connect(cluster.database_url()).await.unwrap();
    let lock = "SELECT pg_advisory_lock(7245873190469)";
    sqlx::query(lock).execute(&mut other).await.unwrap();
    let busy = refused(&cluster, "acme", &reprice);
    assert!(busy.contains("another reprice is at work"), "{busy}");
    other.close().await.unwrap();

    let printed = quota(&cluster, account, &reprice).await;
    assert!(printed.contains("2 corrections are posted"), "{printed}");
    let table = |printed: &str| {
        let lines = printed.lines().filter(|line| line.starts_with("scripted"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(table(&printed), table(&foreseen), "as foreseen");
    assert_eq!(shown(&cluster, "acme").await["balance"]["credits"], credits(-thousandths));
    let again = quota(&cluster, account, &reprice).await;
    assert!(again.contains("0 corrections are posted"), "{again}");
    tests::invariants::check(&cluster.pool().await).await;
}

#[tokio::test]
async fn a_reprice_that_is_killed_is_run_again() {
    const TURNS: usize = 400;
    let cluster = Cluster::builder(BINARY)
        .config("[quota]\ndefault_tier = \"unlimited\"\n")
        .node("all", "api,worker,projector,relay")
        .start()
        .await;
    let ann = cluster.client("all", "acme", "ann");
    let turn = async || ann.send_message(&ann.create_session().await, "one of many").await;
    let turns = futures::stream::iter(0..TURNS).map(|_| turn()).buffer_unordered(16);
    turns.for_each(async |_| ()).await;
    let pool = cluster.pool().await;
    tests::invariants::turns_have_ended(&pool).await;
    tests::invariants::nothing_lags(&pool).await;
    set_price(&cluster).await;

    let reprice = ["quota", "reprice", "--from", "2020-01-01", "--tenant", "acme"];
    for patience in [60, 90, 120, 160, 200] {
        let mut run = std::process::Command::new(BINARY)
            .args(reprice)
            .current_dir(cluster.folder())
            .env("DATABASE_URL", cluster.database_url())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(patience)).await;
        run.kill().unwrap();
        run.wait().unwrap();
        eventually("the lock is free", SOON, async || {
            let taken: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 263362117",
            )
            .fetch_one(&pool)
            .await
            .unwrap();
            taken == 0
        })
        .await;
    }
    cluster.cli(&reprice).await;
    let again = cluster.cli(&reprice).await;
    assert!(again.contains("0 corrections are posted"), "{again}");

    let list = ["transactions", "--kind", "consumption", "--json", "--limit", "1000"];
    let lines = quota(&cluster, ("acme", "ann"), &list).await;
    let usage = |line: &str| serde_json::from_str::<Value>(line).unwrap()["usage"].clone();
    let tokens = |usage: &Value, name: &str| usage[name].as_i64().unwrap();
    let thousandths: i64 = lines
        .lines()
        .map(usage)
        .map(|usage| tokens(&usage, "prompt_tokens") + 2 * tokens(&usage, "completion_tokens"))
        .sum();
    assert_eq!(lines.lines().count(), TURNS);
    assert_eq!(shown(&cluster, "acme").await["balance"]["credits"], credits(-thousandths));
    let adjustments: i64 =
        sqlx::query_scalar("SELECT count(*) FROM transactions WHERE kind = 'adjustment'")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(adjustments, i64::try_from(TURNS).unwrap(), "each entry once");
}
