use std::time::Duration;

use domain::{Mode, OrderId};
use rollout::ramp::Stepped;
use rollout::{Assignment, Cause, Guard, Ramp, RolloutError, SampleConfig, Samples, store};

use crate::support::{Shop, policy};

/// Orders that were taken since the last step.
async fn orders(shop: &Shop, count: usize, millis: u64, is_failed: bool) {
    let samples = Samples::new(SampleConfig::default());
    let order_id = OrderId::parse("ORD202412010001").unwrap();
    for _ in 0..count {
        let assignment = Assignment { mode: Mode::Async, cause: Cause::Policy };
        samples.note(assignment, (!is_failed).then_some(&order_id), Duration::from_millis(millis));
    }
    samples.write(&shop.pool).await.unwrap();
}

async fn percent(shop: &Shop) -> u8 {
    store::load(&shop.pool).await.unwrap().policy.effective_percent()
}

async fn all_sync(shop: &Shop) {
    store::put(&shop.pool, "test", &policy(r#"{"mode":"sync"}"#), None).await.unwrap();
}

#[tokio::test]
async fn a_ramp_rises_step_by_step_and_judges_the_last_one_too() {
    let shop = Shop::open(1).await;
    all_sync(&shop).await;
    let mut ramp = Ramp::new(shop.pool.clone(), "test", 100, 40, Guard::default());
    for (from, to) in [(0, 40), (40, 80), (80, 100)] {
        assert_eq!(ramp.step().await.unwrap(), Stepped::Raised { from, to });
        assert_eq!(percent(&shop).await, to);
        orders(&shop, 5, 10, false).await;
    }
    assert_eq!(ramp.step().await.unwrap(), Stepped::Done { at: 100 });
    assert_eq!(shop.action_names().await, ["rollout.change"; 4]);
}

#[tokio::test]
async fn a_guard_that_does_not_hold_takes_the_ramp_back_to_the_last_good_step() {
    let shop = Shop::open(1).await;
    all_sync(&shop).await;
    let mut ramp = Ramp::new(shop.pool.clone(), "test", 100, 25, Guard::default());
    ramp.step().await.unwrap();
    orders(&shop, 5, 10, false).await;
    ramp.step().await.unwrap();
    assert_eq!(percent(&shop).await, 50);
    orders(&shop, 5, 10, true).await;
    let Stepped::WentBack { from, to, because } = ramp.step().await.unwrap() else { panic!("it went on") };
    assert_eq!((from, to), (50, 25));
    assert!(because.contains("failed"), "{because}");
    assert_eq!(percent(&shop).await, 25);
}

#[tokio::test]
async fn slow_answers_an_old_outbox_and_an_open_circuit_take_it_back_too() {
    for (guard, broken, reason) in [
        (Guard { max_accept_p95_ms: 50.0, ..Guard::default() }, Broken::Slow, "60.0 ms"),
        (Guard { max_outbox_age_seconds: 0.0, ..Guard::default() }, Broken::OldOutbox, "outbox"),
        (Guard::default(), Broken::OpenCircuit, "broker_circuit_open"),
    ] {
        let shop = Shop::open(1).await;
        all_sync(&shop).await;
        let mut ramp = Ramp::new(shop.pool.clone(), "test", 100, 10, guard);
        ramp.step().await.unwrap();
        match broken {
            Broken::Slow => orders(&shop, 5, 60, false).await,
            Broken::OldOutbox => drop(shop.place(Mode::Async).await),
            Broken::OpenCircuit => {
                shop.report_circuit("open").await;
                drop(shop.process().await);
            }
        }
        let stepped = ramp.step().await.unwrap();
        assert!(
            matches!(&stepped, Stepped::WentBack { to: 0, because, .. } if because.contains(reason)),
            "{stepped:?}"
        );
        assert_eq!(percent(&shop).await, 0);
    }
}

enum Broken {
    Slow,
    OldOutbox,
    OpenCircuit,
}

#[tokio::test]
async fn with_too_few_orders_to_judge_by_it_waits() {
    let shop = Shop::open(1).await;
    all_sync(&shop).await;
    let guard = Guard { min_orders: 3, ..Guard::default() };
    let mut ramp = Ramp::new(shop.pool.clone(), "test", 20, 10, guard);
    ramp.step().await.unwrap();
    assert_eq!(ramp.step().await.unwrap(), Stepped::Waited { at: 10, orders: 0 });
    orders(&shop, 3, 10, false).await;
    assert_eq!(ramp.step().await.unwrap(), Stepped::Raised { from: 10, to: 20 });
}

#[tokio::test]
async fn a_policy_that_somebody_else_changed_is_theirs() {
    let shop = Shop::open(1).await;
    all_sync(&shop).await;
    let mut ramp = Ramp::new(shop.pool.clone(), "test", 100, 10, Guard::default());
    ramp.step().await.unwrap();
    store::put(&shop.pool, "user:7", &policy(r#"{"mode":"async","asyncPercent":3}"#), None).await.unwrap();
    assert!(matches!(ramp.step().await, Err(RolloutError::Changed { .. })));
    assert_eq!(percent(&shop).await, 3);
}
