use rollout::{RolloutError, store};

use crate::support::{Shop, policy};

#[tokio::test]
async fn a_new_database_takes_everybody_through_the_broker() {
    let shop = Shop::open(1).await;
    let stored = store::load(&shop.pool).await.unwrap();
    assert_eq!(stored.policy, rollout::RolloutPolicy::default());
    assert_eq!((stored.version, stored.changed_by.as_str()), (1, "system"));
    assert!(!stored.fallback.is_active);
}

#[tokio::test]
async fn a_change_is_kept_with_the_record_of_it() {
    let shop = Shop::open(1).await;
    let wanted = policy(r#"{"mode":"async","asyncPercent":25,"groups":{"beta":"async"},"fallback":"none"}"#);
    let put = store::put(&shop.pool, "user:7", &wanted, Some(1)).await.unwrap();
    assert_eq!(store::load(&shop.pool).await.unwrap(), put);
    assert_eq!((&put.policy, put.version, put.changed_by.as_str()), (&wanted, 2, "user:7"));
    let actions = shop.actions().await;
    assert_eq!(actions.len(), 1);
    assert_eq!((actions[0].actor.as_str(), actions[0].action.as_str()), ("user:7", "rollout.change"));
    assert_eq!(actions[0].detail["to"]["asyncPercent"], 25);

    // The same once more is no change.
    assert_eq!(store::put(&shop.pool, "user:8", &wanted, None).await.unwrap().version, 2);
    assert_eq!(shop.actions().await.len(), 1);
}

#[tokio::test]
async fn a_policy_that_changed_meanwhile_or_is_none_is_not_written() {
    let shop = Shop::open(1).await;
    let sync = policy(r#"{"mode":"sync"}"#);
    let stale = store::put(&shop.pool, "user:7", &sync, Some(9)).await.unwrap_err();
    assert!(matches!(stale, RolloutError::Changed { expected: 9, actual: 1 }), "{stale}");
    let invalid = policy(r#"{"mode":"sync","asyncPercent":101}"#);
    let refused = store::put(&shop.pool, "user:7", &invalid, None).await.unwrap_err();
    assert!(refused.to_string().starts_with("asyncPercent"), "{refused}");
    assert_eq!(store::load(&shop.pool).await.unwrap().version, 1);
    assert!(shop.actions().await.is_empty());
}

#[tokio::test]
async fn of_two_who_change_the_same_version_one_is_told() {
    let shop = Shop::open(1).await;
    let (ten, twenty) =
        (policy(r#"{"mode":"async","asyncPercent":10}"#), policy(r#"{"mode":"async","asyncPercent":20}"#));
    let (first, second) = tokio::join!(
        store::put(&shop.pool, "user:1", &ten, Some(1)),
        store::put(&shop.pool, "user:2", &twenty, Some(1))
    );
    assert_eq!([&first, &second].iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(store::load(&shop.pool).await.unwrap().version, 2);
}
