//! Samples, kept and thinned.

use std::time::Duration;

use watch::history::{self, MAX_SAMPLES};
use watch::{History, HistoryConfig};

use crate::support::{GROUP, World};

const TEN_SECONDS: Duration = Duration::from_secs(10);

/// As if somebody had measured every ten seconds for so many minutes.
async fn measured_for(world: &World, minutes: i32) {
    let fill = "insert into operations.sample
            (sampled_at, head, events_per_second, outbox_pending, outbox_age_seconds, parked, consumer_lag_messages,
             group_lag_messages, dead_letters)
        select clock_timestamp() - make_interval(secs => n * 10), 1000 - n, 2, n % 7, 0, 0,
            case when n % 2 = 0 then n end, '{}', 0
        from generate_series(1, $1 * 6 - 1) as n";
    sqlx::query(fill).bind(minutes).execute(&world.pool).await.unwrap();
}

#[tokio::test]
async fn a_sample_says_what_was_known_and_null_for_the_rest() {
    let mut world = World::new().await;
    world.send(4).await;
    let mut writer = History::new(world.pool.clone(), world.monitor(), HistoryConfig::default());
    assert!(writer.step().await.unwrap());
    world.broker.set_down(true);
    let mut another = History::new(world.pool.clone(), world.monitor(), HistoryConfig::default());
    assert!(!another.step().await.unwrap(), "one writes at a time");
    let mut writer_goes_on = writer;
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert!(writer_goes_on.step().await.unwrap());

    let samples = history::past(&world.pool, 5, Duration::from_millis(1)).await.unwrap().samples;
    let [first, second] = &samples[..] else { panic!("{samples:?}") };
    assert_eq!((first.head, first.events_per_second, first.consumer_lag_messages), (4, None, Some(4)));
    assert_eq!(first.group_lag_messages.0[GROUP], Some(4));
    assert_eq!((second.events_per_second, second.orders_per_second), (Some(0.0), Some(0.0)));
    assert_eq!((second.consumer_lag_messages, second.group_lag_messages.0[GROUP]), (None, None), "the broker is away");
}

#[tokio::test]
async fn an_hour_is_told_whole_and_a_day_in_no_more_samples() {
    let world = World::new().await;
    measured_for(&world, 24 * 60).await;
    let hour = history::past(&world.pool, 60, TEN_SECONDS).await.unwrap();
    assert_eq!(hour.every, TEN_SECONDS);
    assert!((355..=360).contains(&hour.samples.len()), "{}", hour.samples.len());
    let day = history::past(&world.pool, 24 * 60, TEN_SECONDS).await.unwrap();
    assert_eq!(day.every, Duration::from_secs(240));
    assert!((355..=MAX_SAMPLES as usize).contains(&day.samples.len()), "{}", day.samples.len());
    assert!(day.samples.is_sorted_by_key(|sample| sample.sampled_at), "oldest first");
    let middle = &day.samples[180];
    assert_eq!(
        (middle.outbox_pending, middle.events_per_second),
        (6, Some(2.0)),
        "of lags the worst, of rates the mean"
    );
}

#[tokio::test]
async fn where_nobody_measured_there_is_a_gap_and_no_zero() {
    let world = World::new().await;
    measured_for(&world, 60).await;
    sqlx::query(
        "delete from operations.sample where sampled_at < clock_timestamp() - interval '20 minutes'
        and sampled_at > clock_timestamp() - interval '40 minutes'",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let samples = history::past(&world.pool, 60, TEN_SECONDS).await.unwrap().samples;
    assert!(samples.len() < 250, "{}", samples.len());
    let gap = samples.windows(2).map(|pair| pair[1].sampled_at - pair[0].sampled_at).max().unwrap();
    assert!(gap.num_minutes() >= 19, "{gap}");
}

#[tokio::test]
async fn what_is_older_than_the_retention_goes() {
    let world = World::new().await;
    measured_for(&world, 60).await;
    let config = HistoryConfig { retention: Duration::from_secs(600), ..HistoryConfig::default() };
    History::new(world.pool.clone(), world.monitor(), config).step().await.unwrap();
    let kept = history::past(&world.pool, 60, TEN_SECONDS).await.unwrap().samples;
    assert!((58..=61).contains(&kept.len()), "{}", kept.len());
}
