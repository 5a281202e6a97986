//! Projectors: what they apply, what they skip, and what stops them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use messaging::memory::Disorder;
use messaging::{Effect, InMemoryBroker, RuntimeConfig, Topic};
use projections::{
    Applied, Checkpoints, NotificationView, OrderView, ProjectionError, Projections, Projector, ProjectorConfig,
    ReadModel, Step, StockView, TableHash, lag, orders, verify,
};
use sqlx::PgPool;
use support::{World, eventually};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_projected_is_what_the_ledger_says() {
    let world = World::selling(100).await;
    world.some_orders(3).await;

    let mut projector = world.projector::<OrderView>();
    let applied = applied(projector.step(&[]).await);
    assert_eq!((applied.from, applied.to), (0, world.head().await));
    applied_step(&mut world.projector::<StockView>()).await;
    applied_step(&mut world.projector::<NotificationView>()).await;

    assert_eq!(TableHash::of_shown::<OrderView>(&world.pool).await.unwrap().rows, 12);
    let statuses: Vec<(String, i64)> =
        sqlx::query_as("select status, count(*) from read_models.orders group by 1 order by 1")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    let three = |status: &str| (status.to_owned(), 3);
    assert_eq!(statuses, [three("AWAITING_PAYMENT"), three("CANCELLED"), three("CONFIRMED"), three("PENDING")]);
    let stock: (i64, i64, i64, i64) = sqlx::query_as("select capacity, available, locked, sold from read_models.stock")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(stock, (100, 88, 6, 6));
    let notified: Vec<(String, i64)> =
        sqlx::query_as("select status, jsonb_array_length(channels)::bigint from read_models.notifications")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(notified, vec![("FAILED".to_owned(), 2); 3]);
    assert_eq!(verify::read_models(&world.pool).await.unwrap(), []);
    assert_eq!(verify::versions(&world.pool).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_batches_and_many_transactions_end_in_the_same_rows() {
    let world = World::selling(100).await;
    world.some_orders(4).await;
    let small =
        ProjectorConfig { max_events_per_batch: 3, max_events_per_transaction: 7, ..ProjectorConfig::default() };
    let ids = world.message_ids(Topic::OrderStatusUpdate).await;

    let applied = applied(world.projector_with::<OrderView>(small).step(&ids).await);
    assert_eq!(applied.to, world.head().await);
    assert_eq!(applied.effects, vec![Effect::Applied; ids.len()]);
    applied_step(&mut world.projector::<StockView>()).await;
    applied_step(&mut world.projector::<NotificationView>()).await;
    assert_eq!(verify::read_models(&world.pool).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_has_its_effect_once() {
    let world = World::selling(100).await;
    world.some_orders(1).await;
    let ids = world.message_ids(Topic::OrderStatusUpdate).await;
    let mut projector = world.projector::<OrderView>();

    let first = applied(projector.step(&[ids[2], ids[0], ids[2]]).await);
    assert_eq!(first.effects, [Effect::Applied, Effect::Applied, Effect::Duplicate]);
    let hash = TableHash::of_shown::<OrderView>(&world.pool).await.unwrap();

    let again = applied(projector.step(&ids).await);
    assert_eq!(again.events, 0);
    assert_eq!(again.effects.iter().filter(|effect| **effect == Effect::Duplicate).count(), 2);
    assert_eq!(TableHash::of_shown::<OrderView>(&world.pool).await.unwrap(), hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_doubled_and_shuffled_leave_the_same_rows() {
    let world = World::selling(1_000).await;
    let broker = InMemoryBroker::default();
    broker.set_disorder(Some(Disorder { copies: 3, shuffle_seed: Some(7) }));
    let running = Running::start(&world, broker.clone());
    world.some_orders(10).await;
    world.relay(&broker).await;
    broker.redeliver_everything(2, 11);

    eventually("every copy is taken", || drained(&broker)).await;
    wait_for_all(&world).await;
    running.stop().await;
    assert_eq!(verify::read_models(&world.pool).await.unwrap(), []);
    let taken: i64 = sqlx::query_scalar("select count(*) from messaging.inbox where consumer = 'order-projection'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(taken as usize, world.message_ids(Topic::OrderStatusUpdate).await.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_projections_go_on_while_the_broker_is_down() {
    let world = World::selling(100).await;
    let broker = InMemoryBroker::default();
    broker.set_down(true);
    let running = Running::start(&world, broker.clone());
    world.some_orders(2).await;
    wait_for_all(&world).await;
    assert_eq!(verify::read_models(&world.pool).await.unwrap(), []);

    // When it is back, the messages find their effect done, and are taken all the same.
    broker.set_down(false);
    world.relay(&broker).await;
    eventually("the messages are taken", || drained(&broker)).await;
    running.stop().await;
    assert_eq!(verify::read_models(&world.pool).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_instances_is_active_and_the_other_takes_over() {
    let world = World::selling(100).await;
    let (mut first, mut second) = (world.projector::<OrderView>(), world.projector::<OrderView>());
    world.place(1).await;

    applied_step(&mut first).await;
    assert_eq!(second.step(&[]).await.unwrap(), Step::StandingBy);
    first.release().await;
    applied_step(&mut second).await;
    assert_eq!(first.step(&[]).await.unwrap(), Step::StandingBy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_slept_through_its_lease_writes_nothing() {
    let world = World::selling(100).await;
    // So long that it does not think of renewing it meanwhile, however slow the machine.
    let config = || ProjectorConfig { lease_ttl: Duration::from_secs(600), ..ProjectorConfig::default() };
    let mut sleeper = world.projector_with::<OrderView>(config());
    let mut other = world.projector_with::<OrderView>(config());
    world.place(1).await;
    applied_step(&mut sleeper).await;

    sqlx::query("update store.lease set expires_at = '-infinity' where name = 'projection-orders'")
        .execute(&world.pool)
        .await
        .unwrap();
    world.place(1).await;
    applied_step(&mut other).await;
    let position = checkpoint(&world.pool).await;

    // It still believes in its lease, and has something to apply.
    world.place(1).await;
    assert!(matches!(sleeper.step(&[]).await, Err(ProjectionError::Fenced { .. })));
    assert_eq!(checkpoint(&world.pool).await, position);
    assert_eq!(verify::read_models(&world.pool).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_commit_leaves_nothing() {
    let world = World::selling(100).await;
    world.place(1).await;
    let ids = world.message_ids(Topic::OrderStatusUpdate).await;

    // Somebody holds a message of the batch, so that the step stops after its rows are written.
    let mut holder = world.pool.begin().await.unwrap();
    messaging::inbox::claim(&mut holder, OrderView::CONSUMER, &ids).await.unwrap();
    let mut dying = world.projector::<OrderView>();
    let held = ids.clone();
    let step = tokio::spawn(async move { dying.step(&held).await.map(drop) });
    eventually("the step waits for the message", || async {
        let waiting =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        sqlx::query_scalar::<_, i64>(waiting).fetch_one(&world.pool).await.unwrap() > 0
    })
    .await;
    step.abort();
    assert!(step.await.unwrap_err().is_cancelled());
    holder.rollback().await.unwrap();

    eventually("the connection of the dead is gone", || async {
        TableHash::of_shown::<OrderView>(&world.pool).await.unwrap().rows == 0
    })
    .await;
    assert_eq!(checkpoint(&world.pool).await, 0);
    sqlx::query("delete from store.lease").execute(&world.pool).await.unwrap();
    let applied = applied(world.projector::<OrderView>().step(&ids).await);
    assert_eq!(applied.effects, vec![Effect::Applied; ids.len()]);
    assert_eq!(checkpoint(&world.pool).await, world.head().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_table_refuses_is_found_and_the_rest_applied() {
    let world = World::selling(100).await;
    world.notify(&world.place(1).await, 1).await;
    let nul = r#"{"notificationId": "018f3c5e-0000-7000-8000-000000000001", "userId": 1, "orderId": "ORD202412010001",
                  "template": "t", "title": "no \u0000 text", "body": "b"}"#;
    let bad = world.forge("notification-018f3c5e-0000-7000-8000-000000000001", 1, "NotificationRequested", nul).await;
    world.notify(&world.place(1).await, 1).await;

    let mut projector = world.projector::<NotificationView>();
    let Err(ProjectionError::BadEvent { position, event_type, .. }) = projector.step(&[]).await else {
        panic!("the event can't be applied")
    };
    assert_eq!((position, event_type.as_str()), (bad, "NotificationRequested"));
    assert_eq!(projector.position(), bad - 1);
    assert_eq!(TableHash::of_shown::<NotificationView>(&world.pool).await.unwrap().rows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_that_stops_stops_alone() {
    let world = World::selling(100).await;
    let broker = InMemoryBroker::default();
    let order = world.place(1).await;
    world.hold(&order).await;
    let bad = world.forge(&format!("order-{order}"), 3, "OrderTeleported", "{}").await;
    world.notify(&order, 1).await;

    let running = Running::start(&world, broker.clone());
    let head = world.head().await;
    for name in [StockView::NAME, NotificationView::NAME] {
        assert!(projections::wait_for(&world.pool, name, head, Duration::from_secs(20)).await.unwrap(), "{name}");
    }
    eventually("the orders before it are applied", || async { checkpoint(&world.pool).await == bad - 1 }).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_stream_has_a_gap_is_refused() {
    let world = World::selling(100).await;
    let order = world.place(1).await;
    let bad = world.forge(&format!("order-{order}"), 3, "OrderExpired", "{}").await;

    let error = world.projector::<OrderView>().step(&[]).await.unwrap_err();
    assert!(matches!(&error, ProjectionError::BadEvent { position, .. } if *position == bad), "{error}");
    assert!(orders::get(&world.pool, &order).await.is_err(), "no query guesses over a gap");
}

/// The role `project`, in this process.
struct Running {
    shutdown: CancellationToken,
    projections: JoinHandle<()>,
}

impl Running {
    fn start(world: &World, broker: InMemoryBroker) -> Self {
        let shutdown = CancellationToken::new();
        let projections = Projections {
            pool: world.pool.clone(),
            broker: Arc::new(broker),
            checkpoints: Checkpoints::new(world.pool.clone()),
            config: ProjectorConfig::default(),
            consumer: RuntimeConfig::default(),
        };
        let projections = tokio::spawn(projections.run(shutdown.clone()));
        Self { shutdown, projections }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.projections.await.unwrap();
    }
}

async fn wait_for_all(world: &World) {
    let head = world.head().await;
    for name in projections::NAMES {
        assert!(projections::wait_for(&world.pool, name, head, Duration::from_secs(20)).await.unwrap(), "{name}");
    }
    for lag in lag(&world.pool).await.unwrap() {
        assert_eq!((lag.lag_events(), lag.lag_seconds), (0, Some(0.0)), "{}", lag.name);
    }
}

async fn drained(broker: &InMemoryBroker) -> bool {
    use messaging::Broker;
    for (consumer, topic) in [
        (OrderView::CONSUMER, Topic::OrderStatusUpdate),
        (StockView::CONSUMER, Topic::StockSync),
        (NotificationView::CONSUMER, Topic::UserNotification),
    ] {
        if broker.lag(&messaging::consumer_group(messaging::DEFAULT_CONSUMER_GROUP, consumer), topic.name()).await
            != Ok(Some(0))
        {
            return false;
        }
    }
    true
}

async fn applied_step<M: ReadModel>(projector: &mut Projector<M>) -> Applied {
    applied(projector.step(&[]).await)
}

fn applied(step: Result<Step, ProjectionError>) -> Applied {
    match step.unwrap() {
        Step::Applied(applied) => applied,
        Step::StandingBy => panic!("another instance is active"),
    }
}

async fn checkpoint(pool: &PgPool) -> i64 {
    projections::checkpoint::checkpoint(&mut pool.acquire().await.unwrap(), OrderView::NAME).await.unwrap()
}
