use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::Mode;
use rollout::report::{self, Report};
use rollout::{Assignment, Cause, SampleConfig, Samples};

use crate::support::Shop;

const POLICY: Cause = Cause::Policy;

async fn report(shop: &Shop, samples: &Samples) -> Report {
    samples.write(&shop.pool).await.unwrap();
    report::measure(&shop.pool, DateTime::<Utc>::UNIX_EPOCH).await.unwrap()
}

#[tokio::test]
async fn each_cohort_shows_what_became_of_its_orders() {
    let shop = Shop::open(2).await;
    let samples = Samples::new(SampleConfig::default());
    // Two tickets for three sync orders; nobody decides the async one here.
    for _ in 0..3 {
        let order_id = shop.place(Mode::Sync).await;
        samples.note(Assignment { mode: Mode::Sync, cause: POLICY }, Some(&order_id), Duration::from_millis(20));
    }
    let order_id = shop.place(Mode::Async).await;
    samples.note(Assignment { mode: Mode::Async, cause: POLICY }, Some(&order_id), Duration::from_millis(5));
    samples.note(Assignment { mode: Mode::Async, cause: POLICY }, None, Duration::from_secs(15));
    samples.note(Assignment { mode: Mode::Sync, cause: Cause::Fallback }, None, Duration::from_secs(1));

    let report = report(&shop, &samples).await;
    let (asynchronous, synchronous) = (&report.cohorts.asynchronous, &report.cohorts.synchronous);
    assert_eq!((synchronous.count, synchronous.undecided), (3, 0));
    assert_eq!(synchronous.accept_latency_ms.p50, Some(20.0));
    assert_eq!(synchronous.time_to_decision_ms.p99, Some(20.0), "a sync answer is the decision");
    assert!((synchronous.refusal_rate.unwrap() - 1.0 / 3.0).abs() < 1e-9);
    assert_eq!(serde_json::to_value(synchronous.failure_rate).unwrap().to_string(), "0.0");
    assert_eq!((asynchronous.count, asynchronous.undecided), (2, 1));
    assert_eq!(asynchronous.accept_latency_ms.p99, Some(5.0), "a failed request was not accepted");
    assert_eq!((asynchronous.refusal_rate, asynchronous.failure_rate), (None, Some(0.5)));
    assert_eq!(report.excluded.get("fallback"), Some(&1));
    assert!(report.differences.iter().all(|difference| difference.p_value.is_none()), "too few to tell");
}

#[tokio::test]
async fn a_difference_is_told_from_noise() {
    let shop = Shop::open(1).await;
    let samples = Samples::new(SampleConfig::default());
    for n in 0..100 {
        let failed = |every: u64| n % every == 0;
        let note = |mode, millis: u64, is_failed: bool| {
            let order_id = domain::OrderId::parse("ORD202412010001").unwrap();
            let assignment = Assignment { mode, cause: POLICY };
            samples.note(assignment, (!is_failed).then_some(&order_id), Duration::from_millis(millis));
        };
        note(Mode::Async, 10 + n % 7, failed(50));
        note(Mode::Sync, 30 + n % 7, failed(50));
    }
    let report = report(&shop, &samples).await;
    assert_eq!(report.difference("acceptLatency").unwrap().is_more_than_noise, Some(true));
    assert_eq!(report.difference("failureRate").unwrap().is_more_than_noise, Some(false));
    assert_eq!(report.difference("timeToDecision").unwrap().is_more_than_noise, None);
}

#[tokio::test]
async fn orders_before_the_period_and_beyond_the_retention_are_left_out() {
    let shop = Shop::open(1).await;
    let samples = Samples::new(SampleConfig::default());
    samples.note(Assignment { mode: Mode::Sync, cause: POLICY }, None, Duration::ZERO);
    assert_eq!(report(&shop, &samples).await.cohorts.synchronous.count, 1);
    let later = report::measure(&shop.pool, Utc::now() + chrono::TimeDelta::days(1)).await.unwrap();
    assert_eq!(later.cohorts.synchronous.count, 0);
    assert_eq!(rollout::forget_older_than(&shop.pool, Duration::from_secs(3_600), 10).await.unwrap(), 0);
    assert_eq!(rollout::forget_older_than(&shop.pool, Duration::ZERO, 10).await.unwrap(), 1);
}
