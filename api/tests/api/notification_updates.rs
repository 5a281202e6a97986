//! A user's notifications as server-sent events.

use domain::{NotificationId, OrderId, OrderStatus, UserId};
use messaging::message::OrderStatusUpdate;
use processors::commands::{Origin, request_notification};
use projections::{Checkpoints, NotificationView, Projector, ProjectorConfig};
use uuid::Uuid;

use crate::support::{EventStream, OTHER_USER, TestApi, USER, get};

const UPDATES: &str = "/v1/users/12345/notifications/updates";

#[tokio::test]
async fn what_a_user_is_told_arrives_at_once_and_nobody_elses_does() {
    let mut shop = Shop::open().await;
    let mut stream = shop.follow(None).await;
    shop.tell(OTHER_USER, OrderStatus::Confirmed).await;
    let position = shop.tell(USER, OrderStatus::Confirmed).await;
    let told = stream.next().await.unwrap();
    assert_eq!((told.id, told.event.as_str()), (position, "confirmed"));
    assert_eq!(told.data["userId"], USER);
    assert_eq!(told.data["title"], "订单已确认");

    let later = shop.tell(USER, OrderStatus::Refunded).await;
    assert_eq!(stream.next().await.unwrap().id, later);
}

#[tokio::test]
async fn a_client_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    let mut shop = Shop::open().await;
    let mut positions = Vec::new();
    for _ in 0..3 {
        positions.push(shop.tell(USER, OrderStatus::Confirmed).await);
    }
    let mut stream = shop.follow(Some(positions[0])).await;
    positions.push(shop.tell(USER, OrderStatus::Confirmed).await);
    for position in &positions[1..] {
        assert_eq!(stream.next().await.unwrap().id, *position);
    }
}

#[tokio::test]
async fn a_list_and_the_stream_after_it_have_no_gap() {
    let mut shop = Shop::open().await;
    shop.tell(USER, OrderStatus::Confirmed).await;
    let list = shop.api.call(get("/v1/users/12345/notifications").user(USER)).await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 1);
    let later = shop.tell(USER, OrderStatus::Confirmed).await;
    let mut stream = shop.follow(Some(list.header("ledger-position").parse().unwrap())).await;
    assert_eq!(stream.next().await.unwrap().id, later);
}

#[tokio::test]
async fn without_an_id_a_stream_begins_now() {
    let mut shop = Shop::open().await;
    shop.tell(USER, OrderStatus::Confirmed).await;
    let mut stream = shop.follow(None).await;
    let position = shop.tell(USER, OrderStatus::Confirmed).await;
    assert_eq!(stream.next().await.unwrap().id, position);
}

#[tokio::test]
async fn a_strangers_stream_and_a_wrong_id_are_refused() {
    let shop = Shop::open().await;
    let stranger = shop.api.call(get(UPDATES).user(OTHER_USER)).await;
    assert_eq!((stranger.problem().0, stranger.problem().1), (403, "forbidden"));
    for wrong in ["-1", "one"] {
        let refused = shop.api.call(get(UPDATES).user(USER).header("last-event-id", wrong)).await;
        assert_eq!(refused.problem(), (422, "invalid_value", "Last-Event-ID"));
    }
}

#[tokio::test]
async fn streams_share_their_bound_and_end_when_the_process_stops() {
    let shop = Shop::open().await;
    let mut stream = shop.follow(None).await;
    let refused = shop.api.call(get(UPDATES).user(USER)).await;
    assert_eq!(refused.problem(), (503, "too_many_streams", ""));
    shop.api.shutdown.cancel();
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_silent_stream_says_that_it_is_alive() {
    let config = api::ApiConfig { update_heartbeat_ms: 20, ..api::ApiConfig::default() };
    let api = TestApi::start_with(config).await;
    let mut stream = EventStream::open(&api, get(UPDATES).user(USER)).await;
    for _ in 0..3 {
        assert_eq!(stream.block().await.unwrap(), ":", "a comment");
    }
}

/// An API for one stream at a time, and the projection of what is told.
struct Shop {
    api: TestApi,
    projector: Projector<NotificationView>,
}

impl Shop {
    async fn open() -> Self {
        let config = api::ApiConfig { max_update_streams: 1, ..api::ApiConfig::default() };
        let api = TestApi::start_with(config).await;
        let checkpoints = Checkpoints::new(api.pool.clone());
        let projector = Projector::new(api.pool.clone(), checkpoints, ProjectorConfig::default());
        Self { api, projector }
    }

    async fn follow(&self, last_event_id: Option<i64>) -> EventStream {
        let mut call = get(UPDATES).user(USER);
        if let Some(id) = last_event_id {
            call = call.header("last-event-id", &id.to_string());
        }
        EventStream::open(&self.api, call).await
    }

    /// Tells a user that their order has got somewhere, and has it shown. Returns the notification's position.
    async fn tell(&mut self, user: i64, to_status: OrderStatus) -> i64 {
        let update = OrderStatusUpdate {
            order_id: OrderId::parse("ORD202312250001").unwrap(),
            user_id: UserId::new(user).unwrap(),
            from_status: None,
            to_status,
            reason: None,
            change_time: 0,
        };
        let id = NotificationId::from(Uuid::now_v7());
        let told = request_notification(&self.api.ledger, Origin::default(), id, update, None).await.unwrap();
        self.projector.step(&[]).await.unwrap();
        told.position.unwrap()
    }
}
