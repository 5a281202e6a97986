//! One measurement for all who ask.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use messaging::member;

use crate::support::{GROUP, TOPIC, World};

#[tokio::test]
async fn a_group_without_a_member_is_down_and_its_lag_is_known() {
    let mut world = World::new().await;
    world.send(5).await;
    let report = world.monitor().current().await.unwrap();
    let consumer = &report.consumers[0];
    assert_eq!((consumer.lag_messages, consumer.is_up), (Some(5), false));
    assert!(consumer.lag_ms.is_some());
}

#[tokio::test]
async fn a_member_counts_while_it_says_that_it_lives() {
    let world = World::new().await;
    let say =
        "insert into messaging.member values ($1, $2, $3, true, 2.5, clock_timestamp() - make_interval(secs => $4))
        on conflict (consumer_group, topic, member) do update set seen_at = excluded.seen_at";
    for (member, seconds_ago) in [("a", 0.0), ("b", 1.0), ("c", 60.0)] {
        sqlx::query(say)
            .bind(GROUP)
            .bind(TOPIC.name())
            .bind(member)
            .bind(seconds_ago)
            .execute(&world.pool)
            .await
            .unwrap();
    }
    let at_work = member::at_work(&world.pool).await.unwrap();
    let group = at_work[&(GROUP.to_owned(), TOPIC.name().to_owned())];
    assert_eq!((group.is_up, group.applied_per_second), (true, 5.0), "two live, one was silent for too long");
}

#[tokio::test]
async fn without_a_broker_the_lag_is_unknown_and_not_zero() {
    let mut world = World::new().await;
    world.send(5).await;
    world.broker.set_down(true);
    let report = world.monitor().current().await.unwrap();
    assert_eq!((report.consumers[0].lag_messages, report.consumers[0].lag_ms), (None, None));
    assert_eq!((report.consumer_lag_messages(), report.consumer_lag_ms()), (None, None));
}

#[tokio::test]
async fn with_one_of_several_brokers_away_the_lag_is_unknown_and_not_that_of_the_others() {
    let mut world = World::new().await;
    world.send(5).await;
    world.broker.set_away(&["broker-b"]);
    let report = world.monitor().current().await.unwrap();
    assert_eq!((report.consumers[0].lag_messages, report.consumers[0].lag_ms), (None, None));
    world.broker.set_away(&[]);
    assert_eq!(world.monitor().current().await.unwrap().consumers[0].lag_messages, Some(5));
}

#[tokio::test]
async fn a_process_that_begins_while_a_broker_is_away_knows_that_there_is_one() {
    let mut world = World::new().await;
    world.send(5).await;
    sqlx::query("insert into relay.broker values ('broker-b', clock_timestamp())").execute(&world.pool).await.unwrap();
    assert_eq!(world.monitor().current().await.unwrap().consumers[0].lag_messages, None);
    // An operator says that it will not come back.
    sqlx::query("delete from relay.broker").execute(&world.pool).await.unwrap();
    assert_eq!(world.monitor().current().await.unwrap().consumers[0].lag_messages, Some(5));
}

#[tokio::test]
async fn who_asks_once_a_second_gets_a_new_measurement_each_time() {
    let world = World::new().await;
    let monitor = world.monitor();
    let mut reports = Vec::new();
    for _ in 0..3 {
        let asked = tokio::time::Instant::now();
        reports.push(monitor.current().await.unwrap());
        tokio::time::sleep_until(asked + Duration::from_secs(1)).await;
    }
    let is_new = |pair: &[Arc<watch::LagReport>]| !Arc::ptr_eq(&pair[0], &pair[1]);
    assert!(reports.windows(2).all(is_new));
}

#[tokio::test]
async fn a_thousand_who_ask_at_once_share_one_measurement() {
    let world = World::new().await;
    let monitor = world.monitor();
    let reports = join_all((0..1_000).map(|_| monitor.current())).await;
    let first = reports[0].as_ref().unwrap();
    assert!(reports.iter().all(|report| Arc::ptr_eq(report.as_ref().unwrap(), first)));
}

#[tokio::test]
async fn a_failure_is_shared_as_well() {
    let world = World::new().await;
    let monitor = world.monitor();
    world.pool.close().await;
    let failures = join_all((0..100).map(|_| monitor.current())).await;
    let first = failures[0].as_ref().unwrap_err();
    assert!(failures.iter().all(|failure| Arc::ptr_eq(failure.as_ref().unwrap_err(), first)));
}

#[tokio::test]
async fn the_relay_says_how_fast_it_sends_and_its_word_gets_old() {
    let mut world = World::new().await;
    world.send(500).await;
    // Its first word is only that it works; the next one has a rate.
    let says = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            world.send(10).await;
            let outbox = outbox_relay::lag::measure(&world.pool).await.unwrap();
            if let Some(rate) = outbox.sent_per_second {
                return (rate, outbox.in_flight_messages);
            }
        }
    });
    let (rate, in_flight) = says.await.expect("a word within 20 s");
    assert!(rate > 0.0, "{rate}");
    assert_eq!(in_flight, Some(0));
    sqlx::query("update relay.circuit set reported_at = reported_at - interval '1 minute'")
        .execute(&world.pool)
        .await
        .unwrap();
    let outbox = outbox_relay::lag::measure(&world.pool).await.unwrap();
    assert_eq!((outbox.sent_per_second, outbox.in_flight_messages, outbox.circuit), (None, None, None));
}
