//! What queries answer, with and without a projector.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::{Duration, Instant};

use domain::{Order, OrderId, OrderStatus, TicketTypeId, UserId};
use projections::notifications::{self, ChannelStatus, NotificationStatus};
use projections::{
    Checkpoints, NotificationView, OrderFilter, OrderView, ProjectionError, Projector, ProjectorConfig, lag, orders,
    stock,
};
use support::{TICKET_TYPE, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_single_order_is_current_without_any_projector() {
    let world = World::selling(100).await;
    let order = world.place(1).await;
    world.hold(&order).await;

    let from_the_ledger = orders::get(&world.pool, &order).await.unwrap().unwrap();
    assert_eq!(from_the_ledger.status, OrderStatus::AwaitingPayment);
    world.projector::<OrderView>().step(&[]).await.unwrap();
    let from_the_row = orders::get(&world.pool, &order).await.unwrap().unwrap();
    assert_eq!(from_the_row, from_the_ledger);

    // The row is older than the ledger now, and the answer is not.
    world.pay(&order).await;
    let paid = orders::get(&world.pool, &order).await.unwrap().unwrap();
    assert_eq!((paid.status, paid.version), (OrderStatus::Confirmed, from_the_row.version + 3));
    assert_eq!(paid.payment_id, Some(support::payment_of(&order)));

    let nobodys = OrderId::parse("ORD202412319999").unwrap();
    assert_eq!(orders::get(&world.pool, &nobodys).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_shown_as_the_domain_knows_it() {
    let world = World::selling(100).await;
    for order in world.some_orders(1).await {
        let known = world.ledger.load::<Order>(order.as_str()).await.unwrap();
        let shown = orders::get(&world.pool, &order).await.unwrap().unwrap();
        assert_eq!((shown.version, shown.position), (known.version as i64, known.position));
        let known = known.state.placed.unwrap();
        assert_eq!((shown.status, &shown.reason, &shown.lock_id), (known.status, &known.reason, &known.lock_id));
        let payment = known.current_payment().map(|payment| &payment.payment_id);
        assert_eq!(shown.payment_id.as_ref(), payment);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_json_with_exact_money_and_no_member_that_is_unknown() {
    let world = World::selling(100).await;
    let order = world.place(1).await;
    let shown = orders::get(&world.pool, &order).await.unwrap().unwrap();
    let json = serde_json::to_string(&shown).unwrap();
    let position = shown.position;
    assert_eq!(
        json,
        format!(
            r#"{{"orderId":"{order}","userId":1,"showId":3,"ticketTypeId":7,"quantity":2,"totalAmount":199.00,"status":"PENDING","orderTime":"2024-12-01T00:00:00.123456Z","expireTime":"2024-12-01T00:15:00.123456Z","mode":"async","version":1,"position":{position}}}"#
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_current_without_any_projector() {
    let world = World::selling(10).await;
    let id = TicketTypeId::new(TICKET_TYPE).unwrap();
    world.hold(&world.place(1).await).await;
    let held = stock::get(&world.pool, id).await.unwrap().unwrap();
    assert_eq!((held.capacity, held.available, held.locked, held.sold), (10, 8, 2, 0));

    world.projector::<projections::StockView>().step(&[]).await.unwrap();
    world.hold(&world.place(1).await).await;
    assert_eq!(stock::get(&world.pool, id).await.unwrap().unwrap().locked, 4);
    assert_eq!(stock::get(&world.pool, TicketTypeId::new(99).unwrap()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let world = World::selling(100).await;
    let mut mine = Vec::new();
    for n in 0..10 {
        let order = world.place(1 + n % 2).await;
        if n % 2 == 0 {
            mine.push(order);
        }
    }
    mine.reverse();
    let mut projector = world.projector::<OrderView>();
    projector.step(&[]).await.unwrap();

    let filter = OrderFilter { user_id: Some(UserId::new(1).unwrap()), limit: 2, ..OrderFilter::default() };
    let first = orders::list(&world.pool, &filter).await.unwrap();
    assert_eq!(first.position, world.head().await);
    assert_eq!(ids(&first.items), mine[..2]);

    // An order that comes meanwhile is on no later page.
    world.place(1).await;
    projector.step(&[]).await.unwrap();
    let second = orders::list(&world.pool, &OrderFilter { after: first.next, ..filter.clone() }).await.unwrap();
    assert_eq!(ids(&second.items), mine[2..4]);
    let last = orders::list(&world.pool, &OrderFilter { after: second.next, ..filter.clone() }).await.unwrap();
    assert_eq!((ids(&last.items), last.next), (mine[4..].to_vec(), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_by_status_and_bounded() {
    let world = World::selling(100).await;
    let [one, two] = [world.place(1).await, world.place(2).await];
    world.hold(&two).await;
    world.projector::<OrderView>().step(&[]).await.unwrap();

    let with = |status| OrderFilter { status: Some(status), limit: 10, ..OrderFilter::default() };
    let pending = orders::list(&world.pool, &with(OrderStatus::Pending)).await.unwrap();
    assert_eq!(ids(&pending.items), [one]);
    let held = orders::list(&world.pool, &with(OrderStatus::AwaitingPayment)).await.unwrap();
    assert_eq!(ids(&held.items), [two]);
    let wild = orders::list(&world.pool, &OrderFilter { limit: u32::MAX, ..OrderFilter::default() }).await.unwrap();
    assert_eq!(wild.items.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_list_is_refused() {
    let world = World::new().await;
    for cursor in ["n1", "o", "o-5", "oß", "1 or 1=1", "o0"] {
        let filter = OrderFilter { after: Some(cursor.to_owned()), limit: 1, ..OrderFilter::default() };
        let refused = orders::list(&world.pool, &filter).await;
        assert!(matches!(refused, Err(ProjectionError::BadCursor)), "{cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_of_a_user_say_how_far_each_channel_got() {
    let world = World::selling(100).await;
    let order = world.place(1).await;
    let notification = world.notify(&order, 1).await;
    world.notify(&order, 2).await;
    world.projector::<NotificationView>().step(&[]).await.unwrap();

    let page = notifications::of_user(&world.pool, UserId::new(1).unwrap(), None, 10).await.unwrap();
    assert_eq!(page.items.len(), 1);
    let shown = &page.items[0];
    assert_eq!((shown.notification_id, shown.status), (notification, NotificationStatus::Failed));
    let channels: Vec<_> = shown.channels.iter().map(|channel| (channel.channel.as_str(), channel.status)).collect();
    assert_eq!(channels, [("SMS", ChannelStatus::Sent), ("EMAIL", ChannelStatus::Failed)]);
    assert_eq!(shown.channels[1].reason.as_deref(), Some("no such box"));
    assert_eq!(notifications::get(&world.pool, &notification).await.unwrap().as_ref(), Some(shown));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_when_the_position_is_visible_or_the_time_is_over() {
    let world = World::selling(100).await;
    world.place(1).await;
    let head = world.head().await;
    let checkpoints = Checkpoints::new(world.pool.clone());
    let brief = Duration::from_millis(30);
    assert!(!checkpoints.wait_for("orders", head, brief).await.unwrap());
    assert!(checkpoints.wait_for("orders", 0, brief).await.unwrap());
    assert!(matches!(checkpoints.wait_for("order", 1, brief).await, Err(ProjectionError::UnknownProjection(_))));

    // Two waiters here, and the projector knows nothing of them.
    let waiters: Vec<_> = (0..2)
        .map(|_| {
            let checkpoints = checkpoints.clone();
            tokio::spawn(async move { checkpoints.wait_for("orders", head, Duration::from_secs(20)).await })
        })
        .collect();
    world.projector::<OrderView>().step(&[]).await.unwrap();
    for waiter in waiters {
        assert!(waiter.await.unwrap().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_was_taken_back_is_no_longer_believed() {
    let world = World::selling(100).await;
    world.projector::<OrderView>().step(&[]).await.unwrap();
    let head = world.head().await;
    let checkpoints = Checkpoints::new(world.pool.clone());
    assert!(checkpoints.wait_for("orders", head, Duration::from_secs(20)).await.unwrap());
    sqlx::query("update projection.checkpoint set position = 0").execute(&world.pool).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while checkpoints.wait_for("orders", head, Duration::ZERO).await.unwrap() {
        assert!(Instant::now() < deadline, "it is believed still");
        // Looks for all of them.
        assert!(!checkpoints.wait_for("stock", head, Duration::from_millis(200)).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_in_the_process_wakes_its_waiters() {
    let world = World::selling(100).await;
    let checkpoints = Checkpoints::new(world.pool.clone());
    let mut projector =
        Projector::<OrderView>::new(world.pool.clone(), checkpoints.clone(), ProjectorConfig::default());
    projector.step(&[]).await.unwrap();
    let head = world.head().await;
    // No time to look at the database: the projector has told.
    assert!(checkpoints.wait_for("orders", head, Duration::ZERO).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_counts_events_and_the_age_of_the_oldest() {
    let world = World::selling(100).await;
    world.place(1).await;
    let mut projector = world.projector::<OrderView>();
    projector.step(&[]).await.unwrap();
    world.place(1).await;
    world.place(1).await;

    let lags = lag(&world.pool).await.unwrap();
    assert_eq!(
        lags.iter().map(|lag| lag.name.as_str()).collect::<Vec<_>>(),
        ["notifications", "orders", "sagas", "stock"]
    );
    let behind = &lags[1];
    assert_eq!((behind.lag_events(), behind.active_version), (2, 1));
    assert!(behind.lag_seconds.unwrap() > 0.0);
    projector.step(&[]).await.unwrap();
    let caught_up = &lag(&world.pool).await.unwrap()[1];
    assert_eq!((caught_up.lag_events(), caught_up.lag_seconds), (0, Some(0.0)));
}

fn ids(orders: &[OrderView]) -> Vec<OrderId> {
    orders.iter().map(|order| order.order_id.clone()).collect()
}
