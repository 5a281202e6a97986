//! Rebuilding read models with the real binary: killed in the middle, refused while one runs, mending what was damaged
//! while people look.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "rebuild/reading.rs"]
mod reading;
mod support;

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use projections::{Checkpoints, OrderView, Projector, ProjectorConfig, TableHash, verify};
use reading::Reading;
use sqlx::PgPool;
use support::{Instance, binary, eventually, signal};
use tokio::task::block_in_place;

const SOON: Duration = Duration::from_secs(60);
const EVENTS: i64 = 60_000;
/// A killed process can't give its lease back.
const LEASE_TTL_MS: &str = "5000";

#[tokio::test(flavor = "multi_thread")]
async fn killed_twice_in_the_middle_it_goes_on_where_it_was_and_ends_equal() {
    let ledger = FilledLedger::new().await;
    let shown = TableHash::of_shown::<OrderView>(&ledger.pool).await.unwrap();
    assert_eq!(shown.rows, EVENTS / 2);

    let mut reached = 0;
    for _ in 0..2 {
        let mut rebuild = ledger.start_slowly().await;
        reached = ledger.await_position_above(reached, &mut rebuild).await;
        // Meanwhile nobody else may begin.
        let second = ledger.rebuild(&["orders"]);
        assert_eq!(second.status.code(), Some(1), "{second:?}");
        assert!(text(&second.stderr).contains("a rebuild is running already: version 2"), "{second:?}");
        rebuild.kill();
        ledger.await_end_of_connections();
        let left = ledger.position().await;
        assert!(left >= reached && left < EVENTS, "killed in the middle: {left}");
        reached = left;
    }
    let rebuilt = ledger.rebuild_when_free().await;
    assert_eq!(rebuilt.status.code(), Some(0), "{rebuilt:?}");
    assert!(text(&rebuilt.stderr).contains(&format!("going on at position {reached}")), "{rebuilt:?}");
    assert!(text(&rebuilt.stdout).contains("orders: version 2 is shown"), "{rebuilt:?}");

    assert_eq!(TableHash::of_shown::<OrderView>(&ledger.pool).await.unwrap(), shown);
    assert_eq!(verify::read_models(&ledger.pool).await.unwrap(), []);
    let rebuilds: Vec<(i32, String)> =
        sqlx::query_as("select version, state from projection.rebuild").fetch_all(&ledger.pool).await.unwrap();
    assert_eq!(rebuilds, [(2, "done".to_owned())], "all of it was one rebuild");

    // Ctrl-C stops it cleanly, says how to go on, and the next one need not wait.
    let mut stopped = ledger.start_slowly().await;
    ledger.await_position_above(0, &mut stopped).await;
    signal(stopped.id(), libc::SIGINT);
    let stopped = stopped.output();
    assert_eq!(stopped.status.code(), Some(1));
    assert!(text(&stopped.stdout).contains("`order-ledger rebuild orders` goes on with it"), "{stopped:?}");
    let rebuilt = ledger.rebuild(&["orders", "--json"]);
    assert_eq!(rebuilt.status.code(), Some(0), "{rebuilt:?}");
    let told: serde_json::Value = serde_json::from_slice(&rebuilt.stdout).unwrap();
    assert_eq!((&told["items"][0]["version"], &told["items"][0]["unchanged"]), (&3.into(), &true.into()), "{told}");
}

/// The bench is the judge: it fails unless each of the three is one rebuild that went on where it was left, is equal to what
/// was shown and to the ledger, and no read failed meanwhile.
#[test]
fn killed_twice_under_live_load_all_three_go_on_and_end_verified() {
    let database = embedded_postgres::testing::database();
    let directory = tempfile::tempdir().unwrap();
    let bench = Command::new(binary())
        .args(["bench", "rebuild", "--events", "20000", "--kills", "2", "--seconds", "1", "--json"])
        .env("LEDGER__DATABASE__URL", &database.url)
        .env("LEDGER__DATA_DIR", directory.path())
        .env("LEDGER__PROJECTION__REBUILD_LEASE_TTL_MS", LEASE_TTL_MS)
        .env("LEDGER__PROJECTION__REBUILD_MAX_RANGE_EVENTS", "500")
        .env("LEDGER__PROJECTION__REBUILD_MAX_BUSY_PERCENT", "50")
        .output()
        .unwrap();
    assert_eq!(bench.status.code(), Some(0), "{bench:?}");
    let report: serde_json::Value = serde_json::from_slice(&bench.stdout).unwrap();
    let rate = |name: &str| {
        let row = report["rows"].as_array().unwrap().iter().find(|row| row["name"] == name);
        row.unwrap()["perSecond"].as_f64().unwrap()
    };
    assert!(rate("rebuild of orders, stock and notifications") > 0.0, "{report:#}");
    assert!(rate("plain COPY of the same events") > 0.0, "{report:#}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("Killed (SIGKILL) 2 times") && notes.contains("Verified"), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_not_is_named_and_nothing_is_begun() {
    let ledger = FilledLedger::new().await;
    for arguments in [&["invoices"][..], &[], &["orders", "--rollback", "--dry-run"]] {
        let refused = ledger.rebuild(arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?} {refused:?}");
    }
    let unknown = ledger.rebuild(&["orders", "invoices"]);
    assert!(text(&unknown.stderr).contains("orders, stock, notifications, sagas"), "{unknown:?}");
    let no_way_back = ledger.rebuild(&["orders", "--rollback"]);
    assert_eq!(no_way_back.status.code(), Some(1));
    assert!(text(&no_way_back.stderr).contains("no version to go back to"), "{no_way_back:?}");
    let begun: i64 = sqlx::query_scalar(
        "select (select count(*) from projection.rebuild) + (select count(*) from operations.action)",
    )
    .fetch_one(&ledger.pool)
    .await
    .unwrap();
    assert_eq!(begun, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_that_is_refused_or_fails_is_told_with_what_became_of_the_others() {
    let ledger = FilledLedger::with_events(10).await;
    let first = ledger.rebuild(&["orders"]);
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    // All of them or none: nothing is told of what was taken back.
    let back = ledger.rebuild(&["orders", "stock", "--rollback"]);
    assert_eq!((back.status.code(), text(&back.stdout).as_str()), (Some(1), ""), "{back:?}");
    assert!(text(&back.stderr).contains("stock: there is no version to go back to"), "{back:?}");

    // A newer program's rebuild was left behind.
    let newer = "insert into projection.rebuild (name, version, code_version, dry_run, requested_by)
                 values ('orders', 3, 99, false, 'test')";
    sqlx::query(newer).execute(&ledger.pool).await.unwrap();
    let compared = ledger.rebuild(&["stock", "orders", "--dry-run"]);
    assert_eq!(compared.status.code(), Some(1), "{compared:?}");
    assert!(text(&compared.stderr).contains("`order-ledger rebuild orders` goes on with it"), "{compared:?}");
    let both = ledger.rebuild(&["orders", "stock"]);
    assert_eq!(both.status.code(), Some(1), "{both:?}");
    assert!(text(&both.stdout).contains("stock: version 2 is shown"), "{both:?}");
    assert!(text(&both.stderr).contains("orders: a newer program is rebuilding it"), "{both:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_read_model_is_named_and_mended_with_no_failed_read() {
    let mut instance = Instance::start(&[("LEDGER__PROJECTION__REBUILD_POLL_INTERVAL_MS", "100")]);
    let order = confirmed_order(&instance).await;
    let reading = Reading::start(&instance, &order);
    let pool = PgPool::connect(instance.info()["database_url"].as_str().unwrap()).await.unwrap();
    damage(&pool, &order).await;

    let found = instance.run(&["verify"]);
    assert_eq!(found.status.code(), Some(1));
    let named = format!("order_id \"{order}\": quantity is 9, by the ledger 2");
    for named in [&named, "title is \"damaged\", by the ledger", "locked is 50, by the ledger 0"] {
        assert!(text(&found.stdout).contains(named), "{found:?}");
    }
    let compared = instance.run(&["rebuild", "orders", "--dry-run"]);
    assert_eq!(compared.status.code(), Some(1), "{compared:?}");
    assert!(text(&compared.stdout).contains(&named), "{compared:?}");
    let mended = instance.run(&["rebuild", "orders", "stock", "notifications"]);
    assert_eq!(mended.status.code(), Some(0), "{mended:?}");
    let stock = instance.client().get("/v1/ticket-types/2001/stock").await;
    assert_eq!((stock.status, &stock.body["locked"]), (200, &0.into()), "at once, whatever was kept of it: {stock:?}");
    instance.assert_settled();

    all_at_once_from_the_command_line_and_from_rest(&instance, &pool).await;
    assert!(reading.stop().await > 20, "too few reads to say anything");
    built_by_another_version(&mut instance, &pool).await;
}

async fn all_at_once_from_the_command_line_and_from_rest(instance: &Instance, pool: &PgPool) {
    let all = instance.run(&["rebuild", "--all"]);
    assert_eq!(all.status.code(), Some(0), "{all:?}");
    for name in projections::NAMES {
        assert!(text(&all.stdout).contains(&format!("{name}: version ")), "{all:?}");
    }
    let client = instance.client();
    let asked = client.post("/v1/admin/projections/stock/rebuild", None, serde_json::json!({})).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let done = || async { shown(instance, "stock").await["rebuild"]["state"] == "done" };
    eventually("`project` to carry it out", SOON, || wait(done()).then_some(()));
    let stock = shown(instance, "stock").await;
    let before = stock["previousVersion"].as_i64().unwrap();
    let back = instance.run(&["rebuild", "stock", "--rollback"]);
    assert_eq!(back.status.code(), Some(0), "{back:?}");
    assert_eq!(shown(instance, "stock").await["activeVersion"], before);
    let status = instance.run(&["rebuild", "--status"]);
    assert!(text(&status.stdout).contains(&format!("stock: version {before} is shown")), "{status:?}");
    let actors: Vec<String> =
        sqlx::query_scalar("select distinct actor from operations.action where action like 'projection.%' order by 1")
            .fetch_all(pool)
            .await
            .unwrap();
    assert_eq!(actors, ["cli", "user:1"], "who asked is on record");
}

/// It is said at the start, and done where that is wished for.
async fn built_by_another_version(instance: &mut Instance, pool: &PgPool) {
    sqlx::query("update projection.read_model set code_version = 0 where name = 'stock'").execute(pool).await.unwrap();
    pool.close().await;
    instance.stop();
    instance.up();
    let said = || instance.log().contains("order-ledger rebuild stock").then_some(());
    eventually("it to be said that a rebuild is due", SOON, said);
    let stock = shown(instance, "stock").await;
    assert_eq!(stock["rebuildDue"], true);
    instance.stop();
    instance.set("LEDGER__PROJECTION__REBUILD_AUTOMATICALLY", "true");
    instance.up();
    let mended = || async { shown(instance, "stock").await["rebuildDue"] == false };
    eventually("the rebuild that was due", SOON, || wait(mended()).then_some(()));
    assert_ne!(shown(instance, "stock").await["activeVersion"], stock["activeVersion"]);
    instance.assert_settled();
}

async fn confirmed_order(instance: &Instance) -> String {
    let client = instance.client();
    client.put_on_sale(2001, 100).await;
    let order = client.place(1, 2001, 2).await;
    client.await_status(&order, &["AWAITING_PAYMENT"], SOON).await;
    client.pay(&order, "ALIPAY").await;
    client.await_status(&order, &["CONFIRMED"], SOON).await;
    instance.assert_settled();
    let listed = || async {
        client.get("/v1/orders?userId=1").await.body["items"][0]["status"] == "CONFIRMED"
            && client.get("/v1/ticket-types").await.body["items"][0]["sold"] == 2
            && client.get("/v1/users/1/notifications").await.body["items"][0]["orderId"] == *order
    };
    eventually("the read models to show it", SOON, || wait(listed()).then_some(()));
    order
}

async fn damage(pool: &PgPool, order: &str) {
    for statement in [
        "update projection.orders_v1 set quantity = 9 where order_id = $1",
        "update projection.notifications_v1 set title = 'damaged' where order_id = $1",
        "update projection.stock_v1 set locked = 50 where $1 <> ''",
    ] {
        let damaged = sqlx::query(statement).bind(order).execute(pool).await.unwrap();
        assert!(damaged.rows_affected() > 0, "{statement}");
    }
}

async fn shown(instance: &Instance, name: &str) -> serde_json::Value {
    let list = instance.client().get("/v1/admin/projections").await;
    assert_eq!(list.status, 200, "{list:?}");
    list.body["items"].as_array().unwrap().iter().find(|item| item["name"] == name).unwrap().clone()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

/// A Postgres with many orders, all of them projected, and no instance.
struct FilledLedger {
    pool: PgPool,
    url: String,
    directory: tempfile::TempDir,
    _database: embedded_postgres::testing::TestDatabase,
}

impl FilledLedger {
    async fn new() -> Self {
        Self::with_events(EVENTS).await
    }

    async fn with_events(events: i64) -> Self {
        let database = block_in_place(embedded_postgres::testing::database);
        let pool = PgPool::connect(&database.url).await.unwrap();
        event_store::migrate(&pool).await.unwrap();
        sqlx::query(include_str!("rebuild/fill.sql")).bind(events).execute(&pool).await.unwrap();
        let checkpoints = Checkpoints::new(pool.clone());
        let mut projector = Projector::<OrderView>::new(pool.clone(), checkpoints, ProjectorConfig::default());
        projector.step(&[]).await.unwrap();
        let url = database.url.clone();
        Self { pool, url, directory: tempfile::tempdir().unwrap(), _database: database }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .arg("rebuild")
            .args(arguments)
            .env("LEDGER__DATABASE__URL", &self.url)
            .env("LEDGER__DATA_DIR", self.directory.path())
            .env("LEDGER__PROJECTION__REBUILD_LEASE_TTL_MS", LEASE_TTL_MS);
        command
    }

    fn rebuild(&self, arguments: &[&str]) -> Output {
        block_in_place(|| self.command(arguments).output().unwrap())
    }

    /// One that takes its time, so that it can be killed in the middle.
    async fn start_slowly(&self) -> Running {
        self.await_free_lease().await;
        let child = self
            .command(&["orders"])
            .env("LEDGER__PROJECTION__REBUILD_MAX_RANGE_EVENTS", "1000")
            .env("LEDGER__PROJECTION__REBUILD_MAX_BUSY_PERCENT", "10")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running { child: Some(child) }
    }

    async fn rebuild_when_free(&self) -> Output {
        self.await_free_lease().await;
        self.rebuild(&["orders"])
    }

    async fn await_free_lease(&self) {
        let held = "select count(*) from store.lease where name = 'rebuild-orders' and expires_at > clock_timestamp()";
        eventually("the lease to run out", SOON, || {
            (wait(sqlx::query_scalar::<_, i64>(held).fetch_one(&self.pool)).unwrap() == 0).then_some(())
        });
    }

    /// What a dead process committed may still be on its way.
    fn await_end_of_connections(&self) {
        let open = "select count(*) from pg_stat_activity
                    where datname = current_database() and application_name = 'order-ledger'";
        eventually("its connections to end", SOON, || {
            (wait(sqlx::query_scalar::<_, i64>(open).fetch_one(&self.pool)).unwrap() == 0).then_some(())
        });
    }

    async fn await_position_above(&self, position: i64, rebuild: &mut Running) -> i64 {
        eventually("some ranges to be built", SOON, || {
            assert!(!rebuild.is_over(), "it was over too soon");
            let now = wait(self.position());
            (now > position).then_some(now)
        })
    }

    /// Of the rebuild that is not over; 0 while there is none.
    async fn position(&self) -> i64 {
        sqlx::query_scalar("select coalesce(max(position), 0) from projection.rebuild where state = 'running'")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A rebuild under way. Dropped, by a failed assertion too: killed.
struct Running {
    child: Option<Child>,
}

impl Running {
    fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    fn is_over(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    /// kill -9.
    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn output(mut self) -> Output {
        self.child.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may be over already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
