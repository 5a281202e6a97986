//! The saga read model: which sagas run, which hang, and when the alarm is raised.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use domain::fulfilment::ResolveAction;
use domain::{Fulfilment, FulfilmentCommand, FulfilmentStep, LockId, OrderId, PaymentId, Quantity, TicketTypeId};
use event_store::{Command, Metadata};
use metrics_exporter_prometheus::PrometheusBuilder;
use projections::{SagaFilter, SagaStatus, SagaView, SagaWatch, SagaWatchConfig, TableHash, sagas, verify};
use support::{TICKET_TYPE, World};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const STUCK: SagaFilter = SagaFilter::Stuck { after: Duration::from_secs(120) };

/// An order's saga at one of its steps.
async fn saga_at(world: &World, number: u32, step: FulfilmentStep) -> OrderId {
    let order_id = order(number);
    let lock_id = LockId::parse("LOCK202412010001").unwrap();
    let payment_id = PaymentId::parse("PAY202412010001").unwrap();
    let begin = FulfilmentCommand::Begin {
        order_id: order_id.clone(),
        ticket_type_id: TicketTypeId::new(TICKET_TYPE).unwrap(),
        quantity: Quantity::new(2).unwrap(),
        lock_id: lock_id.clone(),
    };
    let grant = FulfilmentCommand::GrantLock { lock_id: lock_id.clone() };
    let capture = |refund_owed| FulfilmentCommand::RecordCapture { payment_id: payment_id.clone(), refund_owed };
    let compensate = FulfilmentCommand::Compensate { reason: "order_expired".to_owned() };
    let compensated = FulfilmentCommand::RecordCompensated { lock_id: lock_id.clone() };
    let lapse = FulfilmentCommand::LapseLock { lock_id };
    let mut commands = vec![begin];
    commands.extend(match step {
        FulfilmentStep::LockingStock => vec![],
        FulfilmentStep::AwaitingPayment => vec![grant],
        FulfilmentStep::LockLapsed => vec![grant, lapse],
        FulfilmentStep::DeductingStock => vec![grant, capture(false)],
        FulfilmentStep::Completed => vec![grant, capture(false), FulfilmentCommand::Complete {}],
        FulfilmentStep::ReleasingStock => vec![grant, compensate],
        FulfilmentStep::Compensated => vec![grant, compensate, compensated],
        _ => vec![grant, compensate, compensated, capture(true)],
    });
    tell(world, &order_id, commands).await;
    order_id
}

fn order(number: u32) -> OrderId {
    OrderId::parse(&format!("ORD20241201{number:04}")).unwrap()
}

async fn tell(world: &World, order_id: &OrderId, commands: Vec<FulfilmentCommand>) {
    let id = order_id.to_string();
    let command = Command::new(Metadata::default()).read::<Fulfilment>(&id);
    let telling = world.ledger.execute(command, move |unit| {
        for command in commands.clone() {
            unit.handle::<Fulfilment>(&id, command)?;
        }
        Ok(())
    });
    telling.await.unwrap();
}

async fn project(world: &World) {
    let mut projector = world.projector::<SagaView>();
    projector.step(&[]).await.unwrap();
    projector.release().await;
}

/// Every step was taken this long ago.
async fn age(world: &World, seconds: f64) {
    let aged = "update projection.sagas_v1 set step_since = step_since - make_interval(secs => $1)";
    sqlx::query(aged).bind(seconds).execute(&world.pool).await.unwrap();
}

async fn expires_in(world: &World, order_id: &OrderId, seconds: f64) {
    let set = "insert into store.deadline values ('order_expiry', $1, now() + make_interval(secs => $2))
               on conflict (kind, key) do update set due_at = excluded.due_at";
    sqlx::query(set).bind(order_id.as_str()).bind(seconds).execute(&world.pool).await.unwrap();
}

async fn listed(world: &World, filter: SagaFilter) -> Vec<OrderId> {
    let page = sagas::list(&world.pool, filter, None, 100).await.unwrap();
    page.items.into_iter().map(|saga| saga.order_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_is_shown_as_its_stream_says_and_a_rebuild_shows_the_same() {
    let world = World::new().await;
    for (number, step) in FulfilmentStep::ALL.into_iter().enumerate() {
        if !matches!(step, FulfilmentStep::LockRefused | FulfilmentStep::Refunded) {
            saga_at(&world, number as u32, step).await;
        }
    }
    project(&world).await;
    for saga in sagas::list(&world.pool, SagaFilter::Any, None, 100).await.unwrap().items {
        let state = world.ledger.load::<Fulfilment>(saga.order_id.as_str()).await.unwrap().state;
        assert_eq!((Some(saga.step), Some(&saga.saga)), (state.step(), state.begun.as_ref()));
        assert_eq!(sagas::get(&world.pool, &saga.order_id).await.unwrap(), Some(saga));
    }
    assert_eq!(listed(&world, SagaFilter::Of(SagaStatus::Completed)).await.len(), 1);
    assert_eq!(listed(&world, SagaFilter::Of(SagaStatus::Compensated)).await.len(), 1);
    assert_eq!(listed(&world, SagaFilter::Of(SagaStatus::Running)).await.len(), 6);
    let shown = TableHash::of_shown::<SagaView>(&world.pool).await.unwrap();
    let rebuilt = world.rebuilder().rebuild("sagas", false, "test").await.unwrap();
    assert_eq!(rebuilt.unchanged(), Some(true));
    assert_eq!(TableHash::of_shown::<SagaView>(&world.pool).await.unwrap(), shown);
    assert_eq!(verify::read_models(&world.pool).await.unwrap(), []);
    assert_eq!(verify::versions(&world.pool).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_takes_too_long_is_stuck_and_waiting_for_money_is_not() {
    let world = World::new().await;
    let steps = [
        (FulfilmentStep::LockingStock, true),
        (FulfilmentStep::AwaitingPayment, false),
        (FulfilmentStep::LockLapsed, false),
        (FulfilmentStep::DeductingStock, true),
        (FulfilmentStep::ReleasingStock, true),
        (FulfilmentStep::Refunding, true),
        (FulfilmentStep::Completed, false),
        (FulfilmentStep::Compensated, false),
    ];
    for (number, (step, _)) in steps.into_iter().enumerate() {
        let order_id = saga_at(&world, number as u32, step).await;
        expires_in(&world, &order_id, 600.0).await;
    }
    project(&world).await;
    age(&world, 110.0).await;
    assert_eq!(listed(&world, STUCK).await, []);
    age(&world, 11.0).await;
    let mut expected: Vec<OrderId> =
        steps.iter().enumerate().filter(|(_, (_, stuck))| *stuck).map(|(number, _)| order(number as u32)).collect();
    expected.reverse();
    assert_eq!(listed(&world, STUCK).await, expected, "newest first");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_that_is_not_acted_on_or_not_there_makes_a_waiting_saga_stuck() {
    let world = World::new().await;
    let [due, overdue, lost] = [1, 2, 3];
    for number in [due, overdue, lost] {
        saga_at(&world, number, FulfilmentStep::AwaitingPayment).await;
    }
    expires_in(&world, &order(due), -60.0).await;
    expires_in(&world, &order(overdue), -121.0).await;
    project(&world).await;
    age(&world, 121.0).await;
    assert_eq!(listed(&world, STUCK).await, [order(lost), order(overdue)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_over_is_stuck_at_once_and_a_decision_gives_it_time_again() {
    let world = World::new().await;
    let order_id = saga_at(&world, 1, FulfilmentStep::Refunding).await;
    let failed = FulfilmentCommand::RecordRefundFailure {
        payment_id: PaymentId::parse("PAY202412010001").unwrap(),
        reason: "account closed".to_owned(),
        max_attempts: 1,
    };
    tell(&world, &order_id, vec![failed]).await;
    project(&world).await;
    assert_eq!(listed(&world, STUCK).await, std::slice::from_ref(&order_id));
    age(&world, 3_600.0).await;
    let retry = FulfilmentCommand::Resolve { action: ResolveAction::Retry, reason: "opened again".to_owned() };
    tell(&world, &order_id, vec![retry]).await;
    project(&world).await;
    assert_eq!(listed(&world, STUCK).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alarm_is_raised_once_for_each_saga_and_by_one_process() {
    let world = World::new().await;
    saga_at(&world, 1, FulfilmentStep::DeductingStock).await;
    saga_at(&world, 2, FulfilmentStep::AwaitingPayment).await;
    project(&world).await;
    let watch = || SagaWatch::new(world.pool.clone(), SagaWatchConfig::default());
    let (mut first, mut second) = (watch(), watch());
    let calm = first.step().await.unwrap().unwrap();
    assert_eq!((calm.stuck, calm.newly_stuck), (0, vec![]));
    assert_eq!(second.step().await.unwrap(), None, "another process watches");
    let mut running = calm.running;
    running.sort();
    assert_eq!(running, [("AWAITING_PAYMENT".to_owned(), 1), ("DEDUCTING_STOCK".to_owned(), 1)]);

    expires_in(&world, &order(2), 600.0).await;
    age(&world, 121.0).await;
    let alarm = first.step().await.unwrap().unwrap();
    let newly: Vec<OrderId> = alarm.newly_stuck.into_iter().map(|saga| saga.order_id).collect();
    assert_eq!((alarm.stuck, newly), (1, vec![order(1)]));
    let again = first.step().await.unwrap().unwrap();
    assert_eq!((again.stuck, again.newly_stuck), (1, vec![]), "still stuck, and said before");

    tell(&world, &order(1), vec![FulfilmentCommand::Complete {}]).await;
    project(&world).await;
    assert_eq!(first.step().await.unwrap().unwrap().stuck, 0);
}

#[tokio::test]
async fn while_postgres_hangs_the_number_of_stuck_sagas_is_unknown() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _shown = metrics::set_default_local_recorder(&recorder);
    let until_shown = async |value: &str| {
        let shown = async {
            while !recorder.handle().render().contains(&format!("ledger_saga_stuck {value}\n")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), shown).await.unwrap_or_else(|_| panic!("{value} in time"));
    };
    let world = World::new().await;
    let often = SagaWatchConfig {
        interval: Duration::from_secs(1),
        look_timeout: Duration::from_secs(2),
        ..SagaWatchConfig::default()
    };
    let watching = SagaWatch::new(world.pool.clone(), often).run(CancellationToken::new());
    let _watching = AbortOnDropHandle::new(tokio::spawn(watching));
    until_shown("0").await;
    let mut hanging = world.pool.begin().await.unwrap();
    sqlx::query("lock table store.lease in access exclusive mode").execute(&mut *hanging).await.unwrap();
    until_shown("NaN").await;
}
