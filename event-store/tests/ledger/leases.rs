//! One holder at a time, and a larger token for each.

use std::time::Duration;

use event_store::lease;

use crate::support::Database;

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_lease_is_held_by_one_until_it_is_given_back() {
    let Database { pool, .. } = Database::new().await;

    let first = lease::try_acquire(&pool, "relay", "one", LONG).await.unwrap().expect("free");
    assert_eq!(lease::try_acquire(&pool, "relay", "two", LONG).await.unwrap(), None);
    assert!(lease::try_acquire(&pool, "projection", "two", LONG).await.unwrap().is_some());
    assert!(first.renew(&pool, LONG).await.unwrap());

    first.release(&pool).await.unwrap();
    let second = lease::try_acquire(&pool, "relay", "two", LONG).await.unwrap().expect("given back");
    assert!(second.token > first.token);
}

#[tokio::test]
async fn a_holder_past_its_time_can_neither_renew_nor_give_back() {
    let Database { pool, .. } = Database::new().await;

    let zombie = lease::try_acquire(&pool, "relay", "one", Duration::ZERO).await.unwrap().expect("free");
    assert!(!zombie.renew(&pool, LONG).await.unwrap(), "nobody else has it, and still its time is over");

    let heir = lease::try_acquire(&pool, "relay", "two", LONG).await.unwrap().expect("run out");
    assert_eq!(heir.token, zombie.token + 1);
    assert!(!zombie.renew(&pool, LONG).await.unwrap());
    zombie.release(&pool).await.unwrap();
    assert!(heir.renew(&pool, LONG).await.unwrap(), "the zombie's release had no effect");
}
