//! Rebuilds of what somebody was at by hand, that meet each other or a query, and that mend much.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/rebuilds.rs"]
mod rebuilds;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use projections::rebuild::{last, resume_or_request};
use projections::{OrderView, ProjectionError, Rebuild, RebuildConfig, RebuildState, Rebuilder, verify};
use rebuilds::{
    begin_and_kill_after, expire_lease, impatient, lag_of, projected, request, roll_back, run, small_ranges, versions,
};
use support::{World, eventually};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn where_live_versions_stand_apart_a_rebuild_keeps_the_shown_one_and_mends() {
    for (version, position) in [("1", "3"), ("2", "3"), ("2", "1000000")] {
        let world = projected(2).await;
        let rebuilder = world.rebuilder();
        rebuilder.rebuild("orders", false, "test").await.unwrap();
        set_checkpoint(&world, version, position).await;
        world.some_orders(1).await;
        let mut projector = world.projector_with::<OrderView>(impatient());
        let stopped = projector.step(&[]).await;
        assert!(matches!(stopped, Err(ProjectionError::Diverged { projection: "orders" })), "{stopped:?}");

        let rebuilt = rebuilder.rebuild("orders", false, "test").await.unwrap();
        assert_eq!((rebuilt.state, rebuilt.problem), (RebuildState::Done, None), "version {version} at {position}");
        projector.step(&[]).await.unwrap();
        assert_eq!(lag_of(&world).await.lag_events(), 0);
        assert_eq!(verify::read_models(&world.pool).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_leaves_checkpoints_as_they_are_and_says_what_is_wrong_with_them() {
    for (has_two_versions, position, wrong) in
        [(true, "3", "different positions"), (false, "1000000", "beyond the ledger")]
    {
        let world = projected(2).await;
        let rebuilder = world.rebuilder();
        if has_two_versions {
            rebuilder.rebuild("orders", false, "test").await.unwrap();
        }
        set_checkpoint(&world, "1", position).await;
        let before = (checkpoints(&world).await, versions(&world).await);
        // It ends, so that nobody tries it for ever.
        let failed = rebuilder.rebuild("orders", true, "test").await.unwrap();
        assert_eq!(failed.state, RebuildState::Failed);
        assert!(failed.problem.as_ref().is_some_and(|problem| problem.contains(wrong)), "{failed:?}");
        assert_eq!((checkpoints(&world).await, versions(&world).await), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_beyond_the_ledger_is_taken_back() {
    let world = projected(2).await;
    set_checkpoint(&world, "1", "1000000").await;
    world.rebuilder().rebuild("orders", false, "test").await.unwrap();
    world.some_orders(1).await;
    world.projector_with::<OrderView>(impatient()).step(&[]).await.unwrap();
    assert_eq!(lag_of(&world).await.position, world.head().await);
    assert_eq!(verify::read_models(&world.pool).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_dropped_fails_the_rebuild_and_is_not_tried_for_ever() {
    let world = projected(4).await;
    begin_and_kill_after(&world, 3).await;
    expire_lease(&world).await;
    sqlx::query("drop table projection.orders_v2").execute(&world.pool).await.unwrap();
    let shutdown = CancellationToken::new();
    let config = RebuildConfig { poll_interval: Duration::from_millis(10), ..small_ranges() };
    let attending = tokio::spawn(Rebuilder::new(world.pool.clone(), config).attend(shutdown.clone()));
    eventually("it has failed", || async {
        last(&world.pool, "orders").await.unwrap().unwrap().state == RebuildState::Failed
    })
    .await;
    shutdown.cancel();
    attending.await.unwrap();
    let problem = last(&world.pool, "orders").await.unwrap().unwrap().problem.unwrap();
    assert!(problem.contains("by hand") && problem.contains("\"projection.orders_v2\" does not exist"), "{problem}");
    assert_eq!(world.rebuilder().rebuild("orders", false, "test").await.unwrap().state, RebuildState::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_shown_and_was_dropped_holds_nothing_up() {
    let world = projected(1).await;
    world.rebuilder().rebuild("orders", false, "test").await.unwrap();
    sqlx::query("drop table projection.orders_v1").execute(&world.pool).await.unwrap();
    world.some_orders(1).await;
    world.projector_with::<OrderView>(impatient()).step(&[]).await.unwrap();
    let lag = lag_of(&world).await;
    assert_eq!((lag.lag_events(), lag.previous_version), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_gone_on_with_keeps_its_purpose() {
    for waiting_compares in [false, true] {
        let world = projected(4).await;
        let rebuilder = world.rebuilder();
        let claim = rebuilder.claim("orders").await.unwrap().unwrap();
        request(&world, "orders", waiting_compares).await;
        rebuilder.release(claim).await.unwrap();

        let mut transaction = world.pool.begin().await.unwrap();
        let other = resume_or_request(&mut transaction, "orders", !waiting_compares, "somebody else").await;
        transaction.commit().await.unwrap();
        let word = if waiting_compares { "a dry run" } else { "a rebuild" };
        assert!(other.unwrap_err().to_string().starts_with(&format!("orders: {word} is running already")));
        let other = rebuilder.rebuild("orders", !waiting_compares, "somebody else").await;
        assert!(matches!(other, Err(ProjectionError::RebuildRuns { .. })), "{other:?}");

        let ended = rebuilder.rebuild("orders", waiting_compares, "test").await.unwrap();
        assert_eq!(
            (ended.state, ended.dry_run),
            (RebuildState::Done, waiting_compares),
            "and the lease was given back"
        );
        assert_eq!(lag_of(&world).await.active_version, if waiting_compares { 1 } else { 2 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_that_a_query_withholds_for_too_long_says_so_and_can_be_gone_on_with() {
    let world = projected(1).await;
    let mut long = world.pool.begin().await.unwrap();
    sqlx::query("select count(*) from read_models.orders").execute(&mut *long).await.unwrap();
    let config = RebuildConfig {
        swap_lock_timeout: Duration::from_millis(10),
        max_swap_attempts: 2,
        ..RebuildConfig::default()
    };
    let rebuilder = Rebuilder::new(world.pool.clone(), config);
    let withheld = rebuilder.rebuild("orders", false, "test").await;
    assert!(matches!(withheld, Err(ProjectionError::SwapWithheld { projection: "orders" })), "{withheld:?}");
    long.rollback().await.unwrap();
    let shown = rebuilder.rebuild("orders", false, "test").await.unwrap();
    assert_eq!((shown.state, shown.version), (RebuildState::Done, 2), "it was built already");

    let mut long = world.pool.begin().await.unwrap();
    sqlx::query("select count(*) from read_models.orders").execute(&mut *long).await.unwrap();
    let withheld = roll_back(&world).await;
    assert!(matches!(withheld, Err(ProjectionError::SwapWithheld { projection: "orders" })), "{withheld:?}");
}

/// More rows differ than are folded one by one: the whole ledger is, at the pace of the rebuild.
#[tokio::test(flavor = "multi_thread")]
async fn much_that_differs_is_judged_by_the_whole_ledger_at_the_pace_of_the_rebuild() {
    let world = projected(3).await;
    run(&world, "update projection.orders_v1 set quantity = $1::bigint", "9").await;
    let config = RebuildConfig { max_streams_refolded: 2, ..small_ranges() };
    let rebuilder = Rebuilder::new(world.pool.clone(), config);
    let mended = rebuilder.rebuild("orders", false, "test").await.unwrap();
    assert_eq!((mended.state, mended.differences), (RebuildState::Done, Some(12)));
    assert_eq!(verify::read_models(&world.pool).await.unwrap(), []);

    // And what is built wrong is found that way too.
    run(&world, "update projection.orders_v2 set quantity = $1::bigint", "9").await;
    let claim = rebuilder.claim("orders").await.unwrap().unwrap();
    request(&world, "orders", false).await;
    let stop = CancellationToken::new();
    let stop_before_comparing = |rebuild: &Rebuild| {
        if rebuild.state == RebuildState::Verifying {
            stop.cancel();
        }
    };
    rebuilder.carry_out(claim, &stop_before_comparing, &stop).await.unwrap();
    run(&world, "update projection.orders_v3 set quantity = $1::bigint where status = 'CONFIRMED'", "7").await;
    let failed = rebuilder.rebuild("orders", false, "test").await.unwrap();
    assert_eq!(failed.state, RebuildState::Failed);
    assert!(failed.problem.unwrap().contains("quantity is 7, by the ledger 2"));
    assert_eq!(versions(&world).await, ["orders_v1", "orders_v2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_of_the_lease_that_fails_is_tried_again() {
    let world = projected(4).await;
    let config = RebuildConfig { lease_ttl: Duration::from_secs(9), ..small_ranges() };
    let rebuilder = Rebuilder::new(world.pool.clone(), config);
    let claim = rebuilder.claim("orders").await.unwrap().unwrap();
    request(&world, "orders", false).await;
    sqlx::raw_sql(include_str!("mending/refuse_renewals.sql")).execute(&world.pool).await.unwrap();
    // Held up in the middle until the lease is renewed all the same; a failed assertion lets it go.
    let renewed = Arc::new(AtomicBool::new(false));
    let _let_go = LetGo(renewed.clone());
    let rebuilding = {
        let renewed = renewed.clone();
        tokio::spawn(async move {
            let watch = move |rebuild: &Rebuild| {
                while rebuild.position > 0 && !renewed.load(Ordering::SeqCst) {
                    tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(5)));
                }
            };
            rebuilder.carry_out(claim, &watch, &CancellationToken::new()).await
        })
    };
    let count = |query: &'static str| {
        let pool = world.pool.clone();
        async move { sqlx::query_scalar::<_, i64>(query).fetch_one(&pool).await.unwrap() }
    };
    eventually("renewals are refused", || async {
        count("select case when is_called then last_value else 0 end from test_renewals").await > 1
    })
    .await;
    sqlx::query("drop trigger refuse_renewals on store.lease").execute(&world.pool).await.unwrap();
    let expires_at = "select extract(epoch from expires_at)::bigint from store.lease where name = 'rebuild-orders'";
    let before = count(expires_at).await;
    eventually("the lease is renewed", || async { count(expires_at).await > before }).await;
    renewed.store(true, Ordering::SeqCst);
    assert_eq!(rebuilding.await.unwrap().unwrap().unwrap().state, RebuildState::Done);
}

struct LetGo(Arc<AtomicBool>);

impl Drop for LetGo {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

async fn set_checkpoint(world: &World, version: &str, position: &str) {
    let set = "update projection.checkpoint set position = $2::bigint where name = 'orders' and version = $1::int";
    let set = sqlx::query(set).bind(version).bind(position).execute(&world.pool).await.unwrap();
    assert_eq!(set.rows_affected(), 1);
}

/// Of the orders: version, position, whether it is live.
async fn checkpoints(world: &World) -> Vec<(i32, i64, bool)> {
    let all = "select version, position, live from projection.checkpoint where name = 'orders' order by version";
    sqlx::query_as(all).fetch_all(&world.pool).await.unwrap()
}
