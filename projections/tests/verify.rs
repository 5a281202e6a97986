//! What `verify` finds, in a ledger and read models that were tampered with.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use domain::LockId;
use projections::verify::{self, Violation};
use projections::{NotificationView, OrderView, StockView};
use support::{TICKET_TYPE, World, payment_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_system_has_no_violation() {
    let world = projected(World::selling(100).await, 3).await;
    assert_eq!(verify::read_models(&world.pool).await.unwrap(), []);
    assert_eq!(verify::versions(&world.pool).await.unwrap(), []);
    assert_eq!(verify::stock(&world.pool).await.unwrap(), []);
    assert_eq!(verify::money(&world.pool).await.unwrap(), []);
    assert_eq!(verify::deadlines(&world.pool, verify::DEFAULT_OVERDUE).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_that_lags_is_judged_where_it_is() {
    let world = projected(World::selling(100).await, 1).await;
    world.some_orders(1).await;
    assert_eq!(verify::read_models(&world.pool).await.unwrap(), []);
    assert_eq!(verify::versions(&world.pool).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_changed_by_hand_is_named_with_its_columns() {
    let world = projected(World::selling(100).await, 1).await;
    let order = world.place(1).await;
    world.projector::<OrderView>().step(&[]).await.unwrap();
    change(
        &world,
        "update projection.orders_v1 set status = 'PAID', total_amount = 1.5 where order_id = $1",
        order.as_str(),
    )
    .await;
    let found = verify::read_models(&world.pool).await.unwrap();
    let position = world.head().await;
    assert_eq!(
        messages(&found),
        [format!(
            "orders at position {position}: order_id \"{order}\": status is \"PAID\", by the ledger \"PENDING\"; \
             total_amount is 1.50, by the ledger 199.00"
        )]
    );
    assert_eq!(found[0].invariant, "I7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_missing_and_one_too_many_are_named() {
    let world = projected(World::selling(100).await, 1).await;
    let order = world.place(1).await;
    world.projector::<OrderView>().step(&[]).await.unwrap();
    change(&world, "delete from projection.orders_v1 where order_id = $1", order.as_str()).await;
    let position = world.head().await;
    assert_eq!(
        messages(&verify::read_models(&world.pool).await.unwrap()),
        [format!("orders at position {position}: order_id \"{order}\" is missing")]
    );
    let versions = verify::versions(&world.pool).await.unwrap();
    assert_eq!(messages(&versions), [format!("order-{order} is at version 1, the read model orders has none of it")]);

    change(&world, "insert into projection.stock_v1 values (8, 3, $1, 1, 1, 1, 0, 0, 1, 1)", "Nobody's").await;
    let found = verify::read_models(&world.pool).await.unwrap();
    assert!(messages(&found)[1].ends_with("ticket_type_id 8 is in no stream of the ledger"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_that_went_below_zero_on_the_way_is_named() {
    let world = World::selling(1).await;
    let stream = format!("stock-{TICKET_TYPE}");
    let taken = r#"{"lockId": "LOCK202412010001", "orderId": "ORD202412010001", "quantity": 2, "expiresAt": "2024-12-01T00:00:00Z"}"#;
    let oversold = world.forge(&stream, 2, "StockLocked", taken).await;
    let back = r#"{"lockId": "LOCK202412010001", "orderId": "ORD202412010001", "quantity": 2}"#;
    world.forge(&stream, 3, "StockLockLapsed", back).await;

    let found = verify::stock(&world.pool).await.unwrap();
    let named = format!(
        "ticket type {TICKET_TYPE} after event {oversold}: available -1 + locked 2 + sold 0 against capacity 1"
    );
    assert_eq!(messages(&found), [named], "the end is sound, the way was not");
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_sold_to_nobody_are_named() {
    let world = World::selling(10).await;
    let stream = format!("stock-{TICKET_TYPE}");
    let lock = LockId::parse("LOCK202412010001").unwrap();
    let taken = format!(
        r#"{{"lockId": "{lock}", "orderId": "ORD202412010001", "quantity": 2, "expiresAt": "2024-12-01T00:00:00Z"}}"#
    );
    world.forge(&stream, 2, "StockLocked", &taken).await;
    let sold = format!(r#"{{"lockId": "{lock}", "orderId": "ORD202412010001", "quantity": 2}}"#);
    world.forge(&stream, 3, "StockDeducted", &sold).await;
    let found = verify::stock(&world.pool).await.unwrap();
    assert_eq!(messages(&found), [format!("ticket type {TICKET_TYPE}: 2 sold, confirmed orders hold 0")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn money_without_tickets_is_named_until_it_is_given_back() {
    let world = World::selling(10).await;
    let order = world.place(1).await;
    let payment = format!("payment-{}", payment_of(&order));
    let requested = format!(
        r#"{{"paymentId": "{}", "orderId": "{order}", "userId": 1, "paymentMethod": "CARD", "amount": 199.00}}"#,
        payment_of(&order)
    );
    world.forge(&payment, 1, "PaymentRequested", &requested).await;
    assert_eq!(verify::money(&world.pool).await.unwrap(), []);

    let captured = r#"{"amount": 199.00, "providerReference": "p-1", "paidTime": "2024-12-01T00:00:00Z"}"#;
    world.forge(&payment, 2, "PaymentCaptured", captured).await;
    let named = format!("order {order} is PENDING over 199.00: captured 199.00, refunded 0, being refunded 0");
    assert_eq!(messages(&verify::money(&world.pool).await.unwrap()), [named]);

    world.forge(&payment, 3, "RefundStarted", r#"{"amount": 199.00, "reason": "no tickets"}"#).await;
    assert_eq!(verify::money(&world.pool).await.unwrap(), []);
    world.forge(&payment, 4, "RefundCompleted", r#"{"amount": 199.00, "providerReference": "p-2"}"#).await;
    assert_eq!(verify::money(&world.pool).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_nobody_acted_on_are_counted() {
    let world = World::new().await;
    let insert = "insert into store.deadline values ('order_expiry', $1, clock_timestamp() - interval '90 seconds')";
    change(&world, insert, "ORD202412010001").await;
    let found = verify::deadlines(&world.pool, Duration::from_secs(60)).await.unwrap();
    assert_eq!(messages(&found), ["1 deadlines order_expiry are overdue, ORD202412010001 by 90 s"]);
    assert_eq!(verify::deadlines(&world.pool, Duration::from_secs(120)).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_under_traffic_mends_what_was_changed_by_hand() {
    let world = projected(World::selling(1_000).await, 3).await;
    let order = world.place(1).await;
    world.projector::<OrderView>().step(&[]).await.unwrap();
    change(&world, "update projection.orders_v1 set status = 'PAID' where order_id = $1", order.as_str()).await;

    let selling = async {
        for _ in 0..5 {
            world.some_orders(1).await;
            world.projector_with::<OrderView>(impatient()).step(&[]).await.unwrap();
        }
    };
    let rebuilder = world.rebuilder();
    let (rebuilt, ()) = tokio::join!(rebuilder.rebuild("orders", false, "test"), selling);
    let rebuilt = rebuilt.unwrap();
    assert_eq!((rebuilt.version, rebuilt.unchanged()), (2, Some(false)));

    let mut projector = world.projector_with::<OrderView>(impatient());
    projector.step(&[]).await.unwrap();
    assert_eq!(verify::read_models(&world.pool).await.unwrap(), []);
    let again = world.rebuilder().rebuild("orders", false, "test").await.unwrap();
    assert_eq!((again.version, again.unchanged()), (3, Some(true)));
    let tables: Vec<String> = sqlx::query_scalar(
        "select tablename::text from pg_tables where schemaname = 'projection' and tablename like 'orders%' order by 1",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert_eq!(tables, ["orders_v2", "orders_v3"], "the one before is kept for a way back");
}

/// Each step of its own projector: the lease must not be waited for.
fn impatient() -> projections::ProjectorConfig {
    projections::ProjectorConfig { lease_ttl: Duration::from_millis(1), ..projections::ProjectorConfig::default() }
}

async fn projected(world: World, rounds: i64) -> World {
    world.some_orders(rounds).await;
    let mut orders = world.projector::<OrderView>();
    orders.step(&[]).await.unwrap();
    orders.release().await;
    world.projector::<StockView>().step(&[]).await.unwrap();
    world.projector::<NotificationView>().step(&[]).await.unwrap();
    world
}

async fn change(world: &World, statement: &'static str, key: &str) {
    sqlx::query(statement).bind(key).execute(&world.pool).await.unwrap();
}

fn messages(violations: &[Violation]) -> Vec<String> {
    violations.iter().map(|violation| violation.message.clone()).collect()
}
