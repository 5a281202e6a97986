//! Rebuilds: gone on with after a kill, refused while one runs, compared, shown, taken back; and what readers see of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/rebuilds.rs"]
mod rebuilds;
mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use projections::rebuild::{self, last};
use projections::{OrderView, ProjectionError, Rebuild, RebuildConfig, RebuildState, Rebuilder, lag, verify};
use rebuilds::{
    begin_and_kill_after, everything, expire_lease, hash, impatient, indexes, lag_of, projected, request, roll_back,
    run, small_ranges, swap_waits, versions,
};
use support::eventually;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_killed_between_ranges_goes_on_where_it_was() {
    let world = projected(8).await;
    let shown = hash(&world).await;
    let rebuilder = Rebuilder::new(world.pool.clone(), small_ranges());

    let mut reached = 0;
    for _ in 0..2 {
        let from = begin_and_kill_after(&world, 3).await;
        assert!(from >= reached, "it began again at {from}, and was at {reached} before");
        reached = last(&world.pool, "orders").await.unwrap().unwrap().position;
        assert!(reached > from);
        // The dead can't give their lease back: it runs out.
        expire_lease(&world).await;
    }
    let rebuilt = rebuilder.rebuild("orders", false, "test").await.unwrap();
    assert_eq!((rebuilt.state, rebuilt.version, rebuilt.unchanged()), (RebuildState::Done, 2, Some(true)));
    assert_eq!(hash(&world).await, shown);
    assert_eq!(versions(&world).await, ["orders_v1", "orders_v2"], "no half-built table is left");
    let rebuilds: i64 =
        sqlx::query_scalar("select count(*) from projection.rebuild").fetch_one(&world.pool).await.unwrap();
    assert_eq!(rebuilds, 1, "all of it was one rebuild");
    assert_eq!(indexes(&world, 2).await, indexes(&world, 1).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_lease_writes_nothing_more() {
    let world = projected(8).await;
    let rebuilder = Rebuilder::new(world.pool.clone(), small_ranges());
    let sleeper = rebuilder.claim("orders").await.unwrap().unwrap();
    request(&world, "orders", false).await;

    // It falls asleep in the middle, and another process finishes the work meanwhile.
    let (asleep, awake) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let sleeping = {
        let (rebuilder, asleep, awake) = (rebuilder.clone(), asleep.clone(), awake.clone());
        tokio::spawn(async move {
            let watch = move |rebuild: &Rebuild| {
                if rebuild.position > 0 && !asleep.swap(true, Ordering::SeqCst) {
                    tokio::task::block_in_place(|| {
                        while !awake.load(Ordering::SeqCst) {
                            std::thread::sleep(Duration::from_millis(5));
                        }
                    });
                }
            };
            rebuilder.carry_out(sleeper, &watch, &CancellationToken::new()).await
        })
    };
    eventually("the sleeper has written a range", || async { asleep.load(Ordering::SeqCst) }).await;
    expire_lease(&world).await;
    let other = Rebuilder::new(world.pool.clone(), small_ranges());
    assert_eq!(other.rebuild("orders", false, "test").await.unwrap().state, RebuildState::Done);
    let shown = hash(&world).await;
    awake.store(true, Ordering::SeqCst);

    let taken = sleeping.await.unwrap();
    assert!(matches!(taken, Err(ProjectionError::RebuildTaken { .. })), "{taken:?}");
    assert_eq!(hash(&world).await, shown);
    assert_eq!(verify::read_models(&world.pool).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_is_refused_and_says_how_far_the_first_is() {
    let world = projected(4).await;
    let rebuilder = world.rebuilder();
    let claim = rebuilder.claim("orders").await.unwrap().unwrap();
    request(&world, "orders", false).await;

    let mut transaction = world.pool.begin().await.unwrap();
    let second = rebuild::request(&mut transaction, "orders", true, "somebody else").await;
    let message = second.unwrap_err().to_string();
    let head = world.head().await;
    assert_eq!(message, format!("orders: a rebuild is running already: version 2 is at position 0 of {head} (0%)"));
    transaction.rollback().await.unwrap();
    let refused = rebuilder.rebuild("orders", false, "test").await;
    assert!(matches!(refused, Err(ProjectionError::RebuildRuns { version: 2, .. })), "{refused:?}");

    // Another read model's is another matter.
    assert_eq!(rebuilder.rebuild("stock", false, "test").await.unwrap().state, RebuildState::Done);
    let settings = "select reloptions::text from pg_class where oid = 'projection.stock_v2'::regclass";
    let settings: String = sqlx::query_scalar(settings).fetch_one(&world.pool).await.unwrap();
    assert_eq!(settings, "{fillfactor=50}", "as the one before");
    let ended = rebuilder.carry_out(claim, &|_| {}, &CancellationToken::new()).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.requested_by.as_str()), (RebuildState::Done, "test"));
    let unknown = rebuilder.rebuild("invoices", false, "test").await;
    assert!(matches!(unknown, Err(ProjectionError::UnknownProjection(_))), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_names_what_differs_and_shows_nothing_of_it() {
    let world = projected(2).await;
    let sound = world.rebuilder().rebuild("orders", true, "test").await.unwrap();
    assert_eq!((sound.state, sound.differences), (RebuildState::Done, Some(0)));

    let order = world.place(1).await;
    world.projector_with::<OrderView>(impatient()).step(&[]).await.unwrap();
    run(&world, "update projection.orders_v1 set status = 'PAID' where order_id = $1", order.as_str()).await;
    let damaged = hash(&world).await;
    let compared = world.rebuilder().rebuild("orders", true, "test").await.unwrap();
    assert_eq!((compared.state, compared.differences), (RebuildState::Done, Some(1)));
    let at = world.head().await;
    let named = format!("orders at position {at}: order_id \"{order}\": status is \"PAID\", by the ledger \"PENDING\"");
    assert_eq!(compared.examples, [named]);
    assert_eq!(hash(&world).await, damaged, "only looked at");
    assert_eq!(versions(&world).await, ["orders_v1"]);
    assert_eq!(lag_of(&world).await.previous_version, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_built_wrong_is_thrown_away_and_what_is_shown_stays() {
    let world = projected(2).await;
    let shown = hash(&world).await;
    let rebuilder = world.rebuilder();
    // It stops when it is built and not yet compared: somebody changes a row of it.
    let claim = rebuilder.claim("orders").await.unwrap().unwrap();
    request(&world, "orders", false).await;
    let stop = CancellationToken::new();
    let stop_before_comparing = |rebuild: &Rebuild| {
        if rebuild.state == RebuildState::Verifying {
            stop.cancel();
        }
    };
    rebuilder.carry_out(claim, &stop_before_comparing, &stop).await.unwrap();
    let left = last(&world.pool, "orders").await.unwrap().unwrap();
    assert_eq!(left.state, RebuildState::Verifying);
    run(&world, "update projection.orders_v2 set quantity = $1::bigint where status = 'CONFIRMED'", "7").await;

    let failed = rebuilder.rebuild("orders", false, "test").await.unwrap();
    assert_eq!(failed.state, RebuildState::Failed);
    let problem = failed.problem.unwrap();
    assert!(problem.contains("quantity is 7, by the ledger 2"), "{problem}");
    assert_eq!(hash(&world).await, shown);
    assert_eq!(versions(&world).await, ["orders_v1"]);
    // The next one has a version of its own.
    assert_eq!(rebuilder.rebuild("orders", false, "test").await.unwrap().version, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_before_is_kept_up_to_date_and_can_be_shown_again() {
    let world = projected(2).await;
    assert!(matches!(roll_back(&world).await, Err(ProjectionError::NoPreviousVersion { projection: "orders" })));
    world.rebuilder().rebuild("orders", false, "test").await.unwrap();
    assert_eq!(lag_of(&world).await.previous_version, Some(1));

    world.some_orders(1).await;
    world.projector_with::<OrderView>(impatient()).step(&[]).await.unwrap();
    let new = hash(&world).await;
    assert_eq!(roll_back(&world).await.unwrap(), 1);
    let now = lag_of(&world).await;
    assert_eq!((now.active_version, now.previous_version, now.lag_events()), (1, Some(2), 0));
    assert_eq!(hash(&world).await, new, "the old version has what came since");
    assert_eq!(roll_back(&world).await.unwrap(), 2, "and the way back has a way back");

    // With the next rebuild the oldest goes.
    world.rebuilder().rebuild("orders", false, "test").await.unwrap();
    assert_eq!(versions(&world).await, ["orders_v2", "orders_v3"]);
    assert_eq!(lag_of(&world).await.previous_version, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_never_see_an_empty_or_a_mixed_model() {
    let world = Arc::new(projected(10).await);
    let expected = everything(&world).await;
    let (reading, reads) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (world, reading, reads, expected) = (world.clone(), reading.clone(), reads.clone(), expected.clone());
            tokio::spawn(async move {
                while reading.load(Ordering::Relaxed) {
                    assert_eq!(everything(&world).await, expected);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..3 {
        let rebuilt =
            Rebuilder::new(world.pool.clone(), small_ranges()).rebuild("orders", false, "test").await.unwrap();
        assert_eq!(rebuilt.unchanged(), Some(true));
        roll_back(&world).await.unwrap();
    }
    reading.store(false, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(reads.load(Ordering::Relaxed) > 20, "too few reads to say anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_query_delays_the_swap_and_nobody_else() {
    let world = projected(1).await;
    let mut long = world.pool.begin().await.unwrap();
    sqlx::query("select count(*) from read_models.orders").execute(&mut *long).await.unwrap();
    let config = RebuildConfig { swap_lock_timeout: Duration::from_millis(50), ..RebuildConfig::default() };
    let rebuilder = Rebuilder::new(world.pool.clone(), config);
    let rebuilding = tokio::spawn(async move { rebuilder.rebuild("orders", false, "test").await });
    for _ in 0..3 {
        eventually("the swap waits for the query", || swap_waits(&world)).await;
        let read = tokio::time::timeout(Duration::from_secs(5), everything(&world)).await;
        assert!(read.is_ok(), "a short query waits behind the swap");
    }
    long.rollback().await.unwrap();
    assert_eq!(rebuilding.await.unwrap().unwrap().state, RebuildState::Done);
    assert_eq!(lag_of(&world).await.active_version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_stopped_on_a_damaged_row_goes_on_after_a_rebuild() {
    let world = projected(1).await;
    let order = world.place(1).await;
    let mut projector = world.projector_with::<OrderView>(impatient());
    projector.step(&[]).await.unwrap();
    run(&world, "update projection.orders_v1 set version = 0 where order_id = $1", order.as_str()).await;
    world.hold(&order).await;
    assert!(matches!(projector.step(&[]).await, Err(ProjectionError::BadEvent { .. })), "the row leaves a gap");

    let rebuilt = world.rebuilder().rebuild("orders", false, "test").await.unwrap();
    assert_eq!((rebuilt.state, rebuilt.differences), (RebuildState::Done, Some(1)));
    projector.step(&[]).await.unwrap();
    assert_eq!(lag_of(&world).await.lag_events(), 0);
    assert_eq!(lag_of(&world).await.previous_version, None, "the damaged one can't follow, and is no way back");
    assert_eq!(verify::read_models(&world.pool).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_fold_begins_again_and_an_older_one_keeps_its_hands_off() {
    let world = projected(4).await;
    let rebuilder = Rebuilder::new(world.pool.clone(), small_ranges());
    begin_and_kill_after(&world, 3).await;
    expire_lease(&world).await;

    // A newer program began it.
    run(&world, "update projection.rebuild set code_version = $1::int", "99").await;
    let claim = rebuilder.claim("orders").await.unwrap().unwrap();
    assert_eq!(rebuilder.carry_out(claim, &|_| {}, &CancellationToken::new()).await.unwrap(), None);

    // An older one did.
    run(&world, "update projection.rebuild set code_version = $1::int", "0").await;
    run(&world, "update projection.checkpoint set code_version = $1::int where version = 2", "0").await;
    let first = Mutex::new(None);
    let claim = rebuilder.claim("orders").await.unwrap().unwrap();
    let watch = |rebuild: &Rebuild| {
        first.lock().unwrap().get_or_insert(rebuild.position);
    };
    let rebuilt = rebuilder.carry_out(claim, &watch, &CancellationToken::new()).await.unwrap().unwrap();
    assert_eq!((*first.lock().unwrap(), rebuilt.code_version), (Some(0), 1));
    assert_eq!((rebuilt.state, rebuilt.unchanged()), (RebuildState::Done, Some(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_is_due_where_another_fold_built_what_is_shown() {
    let world = projected(1).await;
    assert_eq!(rebuild::due(&world.pool).await.unwrap(), [""; 0]);
    run(&world, "update projection.read_model set code_version = $1::int where name = 'stock'", "0").await;
    assert_eq!(rebuild::due(&world.pool).await.unwrap(), ["stock"]);
    world.rebuilder().rebuild("stock", false, "test").await.unwrap();
    assert_eq!(rebuild::due(&world.pool).await.unwrap(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_carried_out_side_by_side() {
    let world = projected(3).await;
    let shutdown = CancellationToken::new();
    let config = RebuildConfig { poll_interval: Duration::from_millis(10), ..RebuildConfig::default() };
    let attending = tokio::spawn(Rebuilder::new(world.pool.clone(), config).attend(shutdown.clone()));
    for name in projections::NAMES {
        request(&world, name, false).await;
    }
    eventually("all of them are rebuilt", || async {
        let rebuilds = rebuild::last_of_all(&world.pool).await.unwrap();
        rebuilds.len() == 4 && rebuilds.iter().all(|rebuild| rebuild.state == RebuildState::Done)
    })
    .await;
    shutdown.cancel();
    attending.await.unwrap();
    assert!(lag(&world.pool).await.unwrap().iter().all(|lag| lag.active_version == 2));
}
