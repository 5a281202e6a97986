//! A message that is gone while nothing waits, and the many cases in which nothing is missing.

use std::time::Duration;

use uuid::Uuid;
use watch::MissingConfig;
use watch::missing::{self, Checked, MissingReport};

use crate::support::{CONSUMER, GROUP, TOPIC, World};

/// Notices, and then believes or forgets what it noticed.
async fn look_twice(world: &World) -> MissingReport {
    let mut watch = world.watch();
    let first = watch.step().await.unwrap().expect("nobody else watches");
    let second = watch.step().await.unwrap().expect("nobody else watches");
    world.end_leases().await;
    let newly_missing = [first.newly_missing, second.newly_missing].concat();
    MissingReport { counted: first.counted + second.counted, newly_missing, ..second }
}

fn ids(report: &MissingReport) -> Vec<Uuid> {
    report.newly_missing.iter().map(|message| message.message_id).collect()
}

#[tokio::test]
async fn a_message_that_was_passed_without_a_trace_is_found_and_named() {
    let mut world = World::new().await;
    let sent = world.send(100).await;
    world.claim(&sent[..60]).await;
    world.claim_in_append(&sent[61..]).await;
    world.acknowledge_all().await;

    let report = look_twice(&world).await;

    assert_eq!((report.counted, report.missing[CONSUMER]), (100, Some(1)));
    assert_eq!(ids(&report), [sent[60]]);
    let shown = world.monitor().current().await.unwrap();
    assert_eq!(shown.consumer_lag_messages(), Some(0), "nothing waits");
    assert_eq!((shown.missing.messages, shown.missing.checked_position), (Some(1), 100));
    let found = &shown.missing.found[0];
    assert_eq!((found.group.as_str(), found.topic.as_str(), found.position), (GROUP, TOPIC.name(), 61));
}

#[tokio::test]
async fn it_is_told_once_and_remembered_until_a_trace_appears() {
    let mut world = World::new().await;
    let sent = world.send(3).await;
    world.claim(&sent[1..]).await;
    world.acknowledge_all().await;
    assert_eq!(ids(&look_twice(&world).await), [sent[0]]);

    let later = look_twice(&world).await;
    assert_eq!((later.missing[CONSUMER], ids(&later)), (Some(1), vec![]), "told once, and still missing");

    // Somebody sent it again, and now it was applied.
    world.claim(&sent[..1]).await;
    assert_eq!(look_twice(&world).await.missing[CONSUMER], Some(0));
}

#[tokio::test]
async fn what_waits_on_the_broker_is_late_and_not_missing() {
    let mut world = World::new().await;
    world.send(50).await;
    let report = look_twice(&world).await;
    assert_eq!((report.counted, ids(&report)), (0, vec![]));
    let checked = missing::check_all(&world.pool, &world.broker, &world.consumers(), &MissingConfig::default()).await;
    assert_eq!(checked.unwrap(), Checked::default());
}

#[tokio::test]
async fn what_is_not_sent_yet_is_not_missing() {
    let mut world = World::new().await;
    let sent = world.send(10).await;
    world.claim(&sent).await;
    world.acknowledge_all().await;
    world.record(5).await;
    let report = look_twice(&world).await;
    assert_eq!((report.counted, ids(&report)), (10, vec![]));
}

#[tokio::test]
async fn behind_a_backlog_only_what_was_passed_for_certain_is_judged() {
    let mut world = World::new().await;
    let passed = world.send(40).await;
    world.claim(&passed[1..]).await;
    world.acknowledge_all().await;
    world.send(40).await;
    assert_eq!(ids(&look_twice(&world).await), [passed[0]]);
}

#[tokio::test]
async fn dead_letters_are_accounted_for_whatever_became_of_them() {
    let mut world = World::new().await;
    let sent = world.send(4).await;
    for (id, state) in sent.iter().zip(["dead", "behind", "redriven", "discarded"]) {
        world.give_up(*id, state).await;
    }
    world.acknowledge_all().await;
    let report = look_twice(&world).await;
    assert_eq!((report.counted, ids(&report)), (4, vec![]));
}

#[tokio::test]
async fn a_poison_message_without_an_id_is_known_by_its_event() {
    let mut world = World::new().await;
    world.send(1).await;
    let poison = "insert into messaging.dead_letter
            (consumer, topic, broker, queue, queue_offset, identity, body, properties, state, reason, attempts)
        values ($1, $2, 'memory', 0, 0, 'order-create/memory/0/0', '', '{\"position\": \"1\"}', 'dead', 'no JSON', 1)";
    sqlx::query(poison).bind(CONSUMER).bind(TOPIC.name()).execute(&world.pool).await.unwrap();
    world.acknowledge_all().await;
    assert!(look_twice(&world).await.newly_missing.is_empty());
}

#[tokio::test]
async fn what_a_person_gave_up_is_not_missing_and_what_is_parked_waits() {
    let mut world = World::new().await;
    let sent = world.send(2).await;
    let park =
        "insert into relay.parked (lane, position, n, topic, ordering_key, message_id, reason, state, resolved_at)
        select lane, position, n, topic, ordering_key, message_id, 'too large', $2,
            case when $2 = 'skipped' then clock_timestamp() end
        from store.outbox where message_id = $1";
    for (id, state) in sent.iter().zip(["parked", "skipped"]) {
        sqlx::query(park).bind(id).bind(state).execute(&world.pool).await.unwrap();
    }
    world.acknowledge_all().await;
    let report = look_twice(&world).await;
    assert_eq!((report.missing[CONSUMER], ids(&report)), (Some(0), vec![]));
}

#[tokio::test]
async fn a_trace_that_comes_late_takes_the_suspicion_away() {
    let mut world = World::new().await;
    let sent = world.send(1).await;
    world.acknowledge_all().await;
    let mut watch =
        world.watch_with(MissingConfig { confirm_after: Duration::from_secs(60), ..MissingConfig::default() });
    assert_eq!(watch.step().await.unwrap().unwrap().missing[CONSUMER], Some(0), "noticed, and not yet believed");
    world.claim(&sent).await;
    watch.step().await.unwrap();
    let noticed: i64 =
        sqlx::query_scalar("select count(*) from operations.missing_message").fetch_one(&world.pool).await.unwrap();
    assert_eq!(noticed, 0);
}

#[tokio::test]
async fn without_a_broker_nothing_is_known_and_nothing_is_said_to_be_missing() {
    let mut world = World::new().await;
    world.send(3).await;
    world.acknowledge_all().await;
    world.broker.set_down(true);
    let report = look_twice(&world).await;
    assert_eq!((report.counted, report.missing[CONSUMER]), (0, None));
    assert_eq!(world.monitor().current().await.unwrap().missing.messages, None);
    let checked = missing::check_all(&world.pool, &world.broker, &world.consumers(), &MissingConfig::default()).await;
    assert_eq!(checked.unwrap().not_judged, [format!("{GROUP} of {TOPIC}")]);
}

#[tokio::test]
async fn what_waits_on_a_broker_that_is_away_is_not_called_missing() {
    let mut world = World::new().await;
    world.send(3).await;
    world.acknowledge_all().await;
    world.broker.set_away(&["broker-b"]);
    let report = look_twice(&world).await;
    assert_eq!((report.counted, report.missing[CONSUMER], ids(&report)), (0, None, vec![]));
    let checked = missing::check_all(&world.pool, &world.broker, &world.consumers(), &MissingConfig::default()).await;
    assert_eq!(checked.unwrap(), Checked { violations: vec![], not_judged: vec![format!("{GROUP} of {TOPIC}")] });

    world.broker.set_away(&[]);
    assert_eq!(look_twice(&world).await.missing[CONSUMER], Some(3), "now it is known that they are gone");
}

#[tokio::test]
async fn what_is_so_old_that_its_traces_are_forgotten_is_not_judged() {
    let mut world = World::new().await;
    world.send(3).await;
    world.acknowledge_all().await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let short = MissingConfig {
        traces_kept_for: Duration::from_secs(1),
        confirm_after: Duration::ZERO,
        ..MissingConfig::default()
    };
    assert_eq!(world.watch_with(short).step().await.unwrap().unwrap().counted, 0);
}

#[tokio::test]
async fn verify_names_the_message_and_the_group() {
    let mut world = World::new().await;
    let sent = world.send(30).await;
    world.claim(&sent[..29]).await;
    world.acknowledge_all().await;
    let found =
        missing::check_all(&world.pool, &world.broker, &world.consumers(), &MissingConfig::default()).await.unwrap();
    let [violation] = &found.violations[..] else { panic!("{found:?}") };
    assert_eq!(violation.invariant, "I1");
    assert!(violation.message.contains(&sent[29].to_string()) && violation.message.contains(GROUP), "{violation:?}");
}

#[tokio::test]
async fn a_long_way_is_gone_in_bounded_steps() {
    let mut world = World::new().await;
    let sent = world.send(200).await;
    world.claim(&sent[..199]).await;
    world.acknowledge_all().await;
    let small = MissingConfig {
        max_positions_per_count: 7,
        max_counts_per_look: 3,
        confirm_after: Duration::ZERO,
        ..MissingConfig::default()
    };
    let mut watch = world.watch_with(small);
    let mut looks = Vec::new();
    while looks.last() != Some(&0) {
        looks.push(watch.step().await.unwrap().unwrap().counted);
    }
    assert_eq!(looks.iter().sum::<i64>(), 200);
    assert!(looks.iter().all(|counted| *counted <= 21), "{looks:?}");
}
