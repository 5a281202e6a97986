//! What a dead letter remembers, and how its body is replaced or shown.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use messaging::dead_letter::{self, Contacts, DeadLetter, DeadLetterError, EditRefused, Filter, shown_body};
use support::{Trouble, World, broken, unsupported};
use uuid::Uuid;

async fn only_letter(world: &World) -> DeadLetter {
    let filter = Filter { with_resolved: true, limit: 10, ..Filter::default() };
    let mut letters = dead_letter::list(&world.pool, &filter).await.unwrap();
    assert_eq!(letters.len(), 1);
    letters.remove(0)
}

/// Action, actor, attempt and reason, the oldest first.
async fn history(world: &World, id: i64) -> Vec<(String, Option<String>, Option<i32>, Option<String>)> {
    let entries = dead_letter::history(&world.pool, id).await.unwrap();
    entries.into_iter().map(|entry| (entry.action, entry.actor, entry.attempt, entry.reason)).collect()
}

async fn edit(world: &World, id: i64, body: &str) -> Result<(), DeadLetterError> {
    let mut transaction = world.pool.begin().await.unwrap();
    dead_letter::edit(&mut transaction, id, body.as_bytes(), "alice", "the sender left it out").await?;
    transaction.commit().await.unwrap();
    Ok(())
}

/// A message of order 0001 in a version nobody supports.
async fn world_with_an_unsupported_message() -> (World, DeadLetter) {
    let mut world = World::new().await;
    world.send_message(unsupported("0001", "9.0")).await;
    world.settle().await;
    let letter = only_letter(&world).await;
    (world, letter)
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_letter_remembers_what_happened_to_it_by_whom_and_why() {
    let mut world = World::new().await;
    world.handler.trouble(1, [Trouble::Failed, Trouble::Failed, Trouble::Failed, Trouble::Poison]);
    world.send("0001", 1).await;
    world.settle().await;
    let letter = only_letter(&world).await;
    for _ in 0..2 {
        dead_letter::redrive(&world.pool, &*world.handler, letter.id, "alice").await.unwrap();
    }
    let by_alice = || Some("alice".to_owned());
    let because = |reason: &str| Some(reason.to_owned());
    assert_eq!(
        history(&world, letter.id).await,
        [
            ("parked".into(), None, Some(3), because("it did not work")),
            ("failed_again".into(), by_alice(), Some(4), because("it never will")),
            ("redriven".into(), by_alice(), Some(5), None),
        ]
    );
    assert_eq!(dead_letter::forget_resolved(&world.pool, Duration::ZERO, 10).await.unwrap(), 1);
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM messaging.dead_letter_history").fetch_one(&world.pool).await.unwrap();
    assert_eq!(left, 0, "its history goes with it");
}

#[tokio::test]
async fn a_redrive_that_fails_otherwise_changes_the_cause() {
    let mut world = World::new().await;
    world.handler.trouble(1, [Trouble::Poison, Trouble::Failed]);
    world.send("0001", 1).await;
    world.settle().await;
    let letter = only_letter(&world).await;
    assert_eq!(letter.cause, "poison: it never will");
    dead_letter::redrive(&world.pool, &*world.handler, letter.id, "alice").await.unwrap();
    assert_eq!(only_letter(&world).await.cause, "failed: it did not work");
}

#[tokio::test]
async fn an_edited_message_is_applied_and_the_one_that_came_is_kept() {
    let (world, letter) = world_with_an_unsupported_message().await;
    let came = text(&letter.body);
    let mended = came.replace("\"9.0\"", "\"1.0\"");

    edit(&world, letter.id, &mended).await.unwrap();
    let redriven = dead_letter::redrive(&world.pool, &*world.handler, letter.id, "alice").await.unwrap();

    assert_eq!((redriven.delivered, redriven.stopped_at), (1, None));
    assert_eq!(world.effects("0001").await, [0]);
    let letter = only_letter(&world).await;
    assert_eq!((text(&letter.body), letter.original_body.as_deref().map(text)), (mended, Some(came)));
    let edited = &history(&world, letter.id).await[1];
    assert_eq!((edited.0.as_str(), edited.3.as_deref()), ("edited", Some("the sender left it out")));
}

#[tokio::test]
async fn the_first_body_is_kept_however_often_it_is_edited() {
    let (world, letter) = world_with_an_unsupported_message().await;
    let came = text(&letter.body);
    for version in ["\"1.1\"", "\"1.2\""] {
        edit(&world, letter.id, &came.replace("\"9.0\"", version)).await.unwrap();
    }
    assert_eq!(only_letter(&world).await.original_body.as_deref().map(text), Some(came));
}

#[tokio::test]
async fn an_edit_may_not_make_another_message_of_it() {
    let (mut world, letter) = world_with_an_unsupported_message().await;
    let mended = text(&letter.body).replace("\"9.0\"", "\"1.0\"");
    let message_id = letter.message_id.unwrap();
    let refused = |body: String| {
        let world = &world;
        async move {
            match edit(world, letter.id, &body).await {
                Err(DeadLetterError::Edit(refused)) => refused,
                other => panic!("{other:?} for {body}"),
            }
        }
    };
    assert!(matches!(refused("not json".into()).await, EditRefused::NotAMessage(_)));
    assert!(matches!(refused(text(&letter.body)).await, EditRefused::NotAMessage(_)), "still not supported");
    let other_id = mended.replace(&message_id.to_string(), &Uuid::now_v7().to_string());
    assert_eq!(refused(other_id).await, EditRefused::OtherMessageId { expected: message_id });
    let other_order = mended.replace("ORD202312250001", "ORD202312250002");
    assert!(matches!(refused(other_order).await, EditRefused::OtherKey { .. }));
    assert!(matches!(edit(&world, 404, &mended).await, Err(DeadLetterError::NotFound(404))));
    assert_eq!(only_letter(&world).await.original_body, None, "nothing changed");

    // One whose id nobody could read can't take the id of a message that was applied.
    let applied = world.send("0009", 9).await;
    world.send_message(broken("0003")).await;
    world.settle().await;
    let filter = Filter { cause: Some(nameless_cause(&world).await), limit: 1, ..Filter::default() };
    let nameless = dead_letter::list(&world.pool, &filter).await.unwrap().remove(0);
    assert_eq!(nameless.message_id, None);
    let taken = text(support::outgoing(applied, "0003", 3).body.as_bytes());
    let outcome = edit(&world, nameless.id, &taken).await;
    assert!(matches!(outcome, Err(DeadLetterError::Edit(EditRefused::MessageIdTaken(id))) if id == applied));
}

async fn nameless_cause(world: &World) -> String {
    let groups = dead_letter::groups(&world.pool, &Filter::default()).await.unwrap();
    groups.into_iter().find(|group| group.cause.contains("no message envelope")).unwrap().cause
}

#[tokio::test]
async fn a_resolved_letter_is_not_edited() {
    let (world, letter) = world_with_an_unsupported_message().await;
    let mended = text(&letter.body).replace("\"9.0\"", "\"1.0\"");
    edit(&world, letter.id, &mended).await.unwrap();
    dead_letter::redrive(&world.pool, &*world.handler, letter.id, "alice").await.unwrap();
    assert!(matches!(edit(&world, letter.id, &mended).await, Err(DeadLetterError::Resolved { .. })));
}

#[tokio::test]
async fn phone_numbers_and_addresses_are_shown_to_nobody_who_may_not_see_them() {
    let (_, mut letter) = world_with_an_unsupported_message().await;
    let body = br#"{"data":{"phone":"+41791234567","email":"ann@example.org","body":"Your order"}}"#;
    let hidden = |letter: &DeadLetter, body: &[u8]| shown_body(letter, body, Contacts::Hidden);
    assert!(hidden(&letter, body).contains("+41791234567"), "a topic that names nobody is shown as it is");
    for topic in ["sms-notification", "email-notification", "%DLQ%somebody"] {
        letter.topic = topic.into();
        let shown = hidden(&letter, body);
        assert!(!shown.contains("4179") && !shown.contains("example.org") && shown.contains("Your order"), "{shown}");
        assert!(!hidden(&letter, b"phone: +41791234567").contains("4179"));
        assert!(shown_body(&letter, body, Contacts::Shown).contains("+41791234567"));
    }
}
