use std::time::Duration;

use domain::Mode;
use rollout::store;
use tokio_util::sync::CancellationToken;

use crate::support::{Shop, mode_of, policy, within};

#[tokio::test]
async fn a_change_is_in_force_in_every_process_within_a_second() {
    let shop = Shop::open(1).await;
    let shutdown = CancellationToken::new();
    let mut processes = Vec::new();
    let mut running = Vec::new();
    for _ in 0..3 {
        let (rollout, watcher) = shop.process().await;
        running.push(tokio::spawn(watcher.run(shutdown.clone())));
        processes.push(rollout);
    }
    for (json, mode) in [(r#"{"mode":"sync"}"#, Mode::Sync), (r#"{"mode":"async"}"#, Mode::Async)] {
        store::put(&shop.pool, "test", &policy(json), None).await.unwrap();
        within(Duration::from_secs(1), || async { processes.iter().all(|rollout| mode_of(rollout) == mode) }).await;
    }
    shutdown.cancel();
    for task in running {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_process_that_starts_follows_what_was_set_before() {
    let shop = Shop::open(1).await;
    store::put(&shop.pool, "test", &policy(r#"{"mode":"sync"}"#), None).await.unwrap();
    let (rollout, _) = shop.process().await;
    assert_eq!(mode_of(&rollout), Mode::Sync);
    assert_eq!(rollout.in_force().version, 2);
}

#[tokio::test]
async fn polling_alone_notices_a_change_too() {
    let shop = Shop::open(1).await;
    let (rollout, mut watcher) = shop.process().await;
    sqlx::query("UPDATE operations.rollout SET mode = 'sync', version = version + 1")
        .execute(&shop.pool)
        .await
        .unwrap();
    watcher.step().await.unwrap();
    assert_eq!(mode_of(&rollout), Mode::Sync);
}
