//! A message that is gone while nothing waits, and the many cases in which nothing is missing.

use std::time::Duration;

use messaging::dead_letter::{self, Filter};
use uuid::Uuid;
use watch::MissingConfig;
use watch::missing::{self, Checked, Lost, MissingReport};

use crate::support::{CONSUMER, GROUP, TOPIC, World, body};

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

/// The broker takes no message of this size.
fn too_large() -> String {
    format!("\"{}\"", "x".repeat(messaging::memory::DEFAULT_MAX_MESSAGE_BYTES))
}

#[tokio::test]
async fn what_waits_behind_parked_rows_of_its_lane_is_late_and_not_missing() {
    let mut world = World::new().await;
    let key = || vec!["ORD1".to_owned()];
    let passed = world.record_of(key(), body).await;
    world.relay_all().await;
    world.claim(&passed).await;
    world.acknowledge_all().await;
    world.record_of(key(), body).await;
    world.record_of(key(), |_| too_large()).await;
    world.relay_all().await;

    let report = look_twice(&world).await;
    assert_eq!((report.counted, ids(&report)), (1, vec![]), "one was passed, one waits, one was never sent");
}

#[tokio::test]
async fn what_turns_out_to_wait_after_all_is_not_believed_to_be_missing() {
    let mut world = World::new().await;
    let sent = world.send(1).await;
    world.acknowledge_all().await;
    let late = MissingConfig { confirm_after: Duration::from_secs(3_600), ..MissingConfig::default() };
    world.watch_with(late).step().await.unwrap();
    world.end_leases().await;
    // A broker that was coming up told less than it has.
    world.take_back_all().await;
    assert!(ids(&look_twice(&world).await).is_empty());

    world.acknowledge_all().await;
    assert_eq!(ids(&look_twice(&world).await), sent);
}

#[tokio::test]
async fn of_a_queue_that_the_broker_does_not_list_nothing_is_judged() {
    let mut world = World::new().await;
    world.send(50).await;
    world.acknowledge_all().await;
    world.broker.set_untold(&[0]);
    assert_eq!(look_twice(&world).await.counted, 0);
    world.broker.set_untold(&[]);
    assert_eq!(look_twice(&world).await.counted, 50);
}

#[tokio::test]
async fn what_could_not_be_counted_this_time_is_unknown_whatever_was_counted_before() {
    let mut world = World::new().await;
    let sent = world.send(3).await;
    world.claim(&sent).await;
    world.acknowledge_all().await;
    assert_eq!(look_twice(&world).await.missing[CONSUMER], Some(0));
    world.broker.set_away(&["broker-b"]);
    assert_eq!(look_twice(&world).await.missing[CONSUMER], None);
}

#[tokio::test]
async fn where_no_more_can_be_remembered_counting_stands_still_until_some_are_accounted_for() {
    let mut world = World::new().await;
    let sent = world.send(10).await;
    world.acknowledge_all().await;
    let few = MissingConfig { max_remembered: 4, confirm_after: Duration::ZERO, ..MissingConfig::default() };
    let mut watch = world.watch_with(few);
    assert_eq!(ids(&watch.step().await.unwrap().unwrap()), sent[..4]);
    assert!(ids(&watch.step().await.unwrap().unwrap()).is_empty());
    assert_eq!(world.monitor().current().await.unwrap().missing.checked_position, 4);

    world.claim(&sent[..3]).await;
    watch.step().await.unwrap();
    assert_eq!(ids(&watch.step().await.unwrap().unwrap()), sent[4..7]);
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

#[tokio::test]
async fn what_is_missing_can_be_made_a_letter_that_a_person_decides_about() {
    let mut world = World::new().await;
    let sent = world.send(3).await;
    world.claim(&sent[2..]).await;
    world.acknowledge_all().await;
    look_twice(&world).await;

    let lost = missing::of_consumer(&world.pool, CONSUMER, 100).await.unwrap();
    assert_eq!((lost.messages.len(), lost.gone), (2, 0));
    // One of them came after all.
    world.claim(&sent[1..2]).await;
    let letters = dead_letter::take_in_missing(&world.pool, CONSUMER, &lost.messages).await.unwrap();
    assert_eq!(letters, 1);
    let letter = &dead_letter::list(&world.pool, &Filter { limit: 10, ..Filter::default() }).await.unwrap()[0];
    assert_eq!((letter.consumer.as_str(), letter.topic.as_str()), (CONSUMER, TOPIC.name()));
    assert_eq!((letter.message_id, letter.cause.as_str()), (Some(sent[0]), dead_letter::MISSING));
    assert_eq!(letter.properties["position"], "1");
    assert!(!letter.properties.contains_key("replay"), "a redrive is no replay: it has the message's effect");

    assert_eq!(look_twice(&world).await.missing[CONSUMER], Some(0), "nothing is missing any more");
    let again = dead_letter::take_in_missing(&world.pool, CONSUMER, &lost.messages).await.unwrap();
    assert_eq!(again, 0, "once");
    sqlx::query("delete from store.outbox").execute(&world.pool).await.unwrap();
    assert_eq!(missing::of_consumer(&world.pool, CONSUMER, 100).await.unwrap(), Lost::default());
}

#[tokio::test]
async fn of_many_that_are_missing_each_call_takes_in_the_next_whatever_is_gone() {
    let mut world = World::new().await;
    let sent = world.send(5).await;
    world.acknowledge_all().await;
    look_twice(&world).await;
    sqlx::query("delete from store.outbox where position <= 2").execute(&world.pool).await.unwrap();

    // Nobody has looked between two calls.
    for expected in &sent[2..] {
        let lost = missing::of_consumer(&world.pool, CONSUMER, 1).await.unwrap();
        assert_eq!((lost.messages.len(), lost.gone), (1, 2));
        assert_eq!(dead_letter::take_in_missing(&world.pool, CONSUMER, &lost.messages).await.unwrap(), 1);
        let letters = dead_letter::list(&world.pool, &Filter { limit: 10, ..Filter::default() }).await.unwrap();
        assert_eq!(letters.last().unwrap().message_id, Some(*expected));
    }
    assert_eq!(missing::of_consumer(&world.pool, CONSUMER, 1).await.unwrap(), Lost { messages: vec![], gone: 2 });
}

#[tokio::test]
async fn what_the_outbox_has_no_more_is_counted_and_can_be_given_up() {
    let mut world = World::new().await;
    let sent = world.send(2).await;
    world.acknowledge_all().await;
    look_twice(&world).await;
    sqlx::query("delete from store.outbox where position = 1").execute(&world.pool).await.unwrap();
    let lost = missing::of_consumer(&world.pool, CONSUMER, 100).await.unwrap();
    assert_eq!((lost.messages.len(), lost.gone), (1, 1));
    let mut connection = world.pool.acquire().await.unwrap();
    let given_up = missing::give_up_gone(&mut connection, CONSUMER, 100).await.unwrap();
    assert_eq!((given_up, look_twice(&world).await.missing[CONSUMER]), (vec![sent[0]], Some(1)));
}
