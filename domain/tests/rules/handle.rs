//! cqrs-es drives the aggregates too: `handle` gives what `decide` does.

use cqrs_es::test::TestFramework;
use domain::{
    Channel, Fulfilment, FulfilmentEvent, FulfilmentRejection, Notification, NotificationEvent, NotificationRejection,
    Order, OrderEvent, OrderRejection, Payment, PaymentEvent, PaymentRejection, Rejection, Stock, StockCommand,
    StockEvent, StockRejection,
};
use rstest::rstest;

use crate::support::{at, lock_id, money, order_id, payment_id, put_on_sale, quantity};
use crate::{fulfilment_rules, notification_rules, order_table as order, payment_rules as payment, schemas};

#[test]
fn an_order_whose_stock_is_held_can_be_paid() {
    TestFramework::<Order>::with(())
        .given(vec![
            schemas::order_placed(),
            OrderEvent::OrderStockHeld { lock_id: lock_id(1), lock_expires_at: at(300) },
        ])
        .when(order::pay(1, 1))
        .then_expect_events(vec![OrderEvent::OrderPaymentStarted {
            payment_id: payment_id(1),
            payment_method: "ALIPAY".to_owned(),
            lock_id: lock_id(1),
        }]);
}

#[test]
fn an_order_that_was_not_placed_cannot_be_cancelled() {
    TestFramework::<Order>::with(())
        .given_no_previous_events()
        .when(order::cancel())
        .then_expect_error(OrderRejection::NotFound);
}

#[test]
fn stock_is_locked_while_it_lasts() {
    let lock = |tickets| StockCommand::Lock {
        lock_id: lock_id(1),
        order_id: order_id(1),
        quantity: quantity(tickets),
        expires_at: at(300),
    };
    let StockCommand::PutOnSale { ticket_type_id, show_id, name, price, capacity } = put_on_sale(2) else {
        unreachable!("put_on_sale makes no other command")
    };
    let on_sale = StockEvent::TicketTypePutOnSale { ticket_type_id, show_id, name, price, capacity };

    TestFramework::<Stock>::with(()).given(vec![on_sale.clone()]).when(lock(2)).then_expect_events(vec![
        StockEvent::StockLocked {
            lock_id: lock_id(1),
            order_id: order_id(1),
            quantity: quantity(2),
            expires_at: at(300),
        },
    ]);
    TestFramework::<Stock>::with(())
        .given(vec![on_sale])
        .when(lock(3))
        .then_expect_error(StockRejection::InsufficientStock { requested: 3, available: 2 });
}

#[test]
fn a_requested_payment_can_be_captured() {
    TestFramework::<Payment>::with(())
        .given(vec![schemas::payment_requested()])
        .when(payment::capture())
        .then_expect_events(vec![PaymentEvent::PaymentCaptured {
            amount: money("598.00"),
            provider_reference: "ch_1".to_owned(),
            paid_time: at(60),
        }]);
}

#[tokio::test]
async fn a_fulfilment_takes_the_lock_it_asked_for() {
    TestFramework::<Fulfilment>::with(())
        .given(vec![schemas::fulfilment_begun()])
        .when_async(fulfilment_rules::grant(1))
        .await
        .then_expect_events(vec![FulfilmentEvent::LockGranted { lock_id: lock_id(1) }]);
}

#[test]
fn a_notification_goes_over_the_channels_the_user_chose() {
    TestFramework::<Notification>::with(())
        .given(vec![schemas::notification_requested()])
        .when(notification_rules::dispatch(&[Channel::Sms]))
        .then_expect_events(vec![NotificationEvent::NotificationDispatched { channels: vec![Channel::Sms] }]);
}

#[rstest]
#[case(StockRejection::NotOnSale, "not_on_sale")]
#[case(OrderRejection::NotPayableYet, "not_payable_yet")]
#[case(PaymentRejection::NotFound, "payment_not_found")]
#[case(FulfilmentRejection::NotBegun, "fulfilment_not_begun")]
#[case(NotificationRejection::NotFound, "notification_not_found")]
fn a_rejection_of_any_aggregate_keeps_its_code_and_its_words<R>(#[case] rejection: R, #[case] code: &str)
where
    R: Into<Rejection> + ToString,
{
    let words = rejection.to_string();
    let rejection: Rejection = rejection.into();

    assert_eq!(rejection.code(), code);
    assert_eq!(rejection.to_string(), words);
}
