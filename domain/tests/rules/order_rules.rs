//! Each rule of orders, and what breaks it. The states not shown here are in the table.

use domain::{Decider, Mode, Order, OrderCommand, OrderRejection, OrderStatus};
use rstest::rstest;

use crate::order_table::{
    cancel, capture, complete_refund, confirm, decline, hold, order_at, pay, place, reject, start_refund,
};
use crate::support::{after, at, lock_id, money, order_id, payment_id, quantity, show_id, ticket_type_id, user_id};

#[track_caller]
fn refused(given: Order, command: OrderCommand, expected: OrderRejection) {
    assert_eq!(given.decide(command), Err(expected));
}

#[rstest]
#[case(hold(1))]
#[case(reject())]
#[case(pay(1, 1))]
#[case(decline(1))]
#[case(capture(1, Some(1)))]
#[case(confirm(1))]
#[case(cancel())]
#[case(OrderCommand::Expire)]
#[case(start_refund(1))]
#[case(complete_refund(1))]
fn not_found(#[case] command: OrderCommand) {
    refused(Order::default(), command, OrderRejection::NotFound);
}

#[rstest]
#[case(OrderStatus::Pending)]
#[case(OrderStatus::Expired)]
fn already_placed(#[case] state: OrderStatus) {
    refused(order_at(state), place(), OrderRejection::AlreadyPlaced);
}

#[rstest]
#[case::at_once(0)]
#[case::before(-1)]
fn expires_too_early(#[case] expires_after_seconds: i64) {
    let place = OrderCommand::Place {
        order_id: order_id(1),
        user_id: user_id(),
        show_id: show_id(),
        ticket_type_id: ticket_type_id(),
        quantity: quantity(1),
        total_amount: money("0.00"),
        order_time: at(0),
        expire_time: at(expires_after_seconds),
        mode: Mode::Sync,
    };

    refused(Order::default(), place, OrderRejection::ExpiresTooEarly);
}

#[rstest]
#[case(OrderStatus::Cancelled, hold(2))]
#[case(OrderStatus::Expired, reject())]
#[case(OrderStatus::Rejected, pay(2, 1))]
#[case(OrderStatus::Refunding, pay(2, 1))]
#[case(OrderStatus::Refunded, pay(2, 1))]
fn ended(#[case] status: OrderStatus, #[case] command: OrderCommand) {
    refused(order_at(status), command, OrderRejection::Ended { status });
}

#[rstest]
#[case::under_another_lock(OrderStatus::AwaitingPayment, hold(2))]
#[case::under_another_lock(OrderStatus::Confirmed, hold(2))]
#[case::so_it_is_not_short(OrderStatus::AwaitingPayment, reject())]
fn stock_already_held(#[case] state: OrderStatus, #[case] command: OrderCommand) {
    refused(order_at(state), command, OrderRejection::StockAlreadyHeld);
}

#[rstest]
#[case(pay(1, 1))]
fn not_payable_yet(#[case] command: OrderCommand) {
    refused(order_at(OrderStatus::Pending), command, OrderRejection::NotPayableYet);
}

#[rstest]
#[case::another(pay(2, 1))]
#[case::the_same(pay(1, 1))]
fn payment_in_progress(#[case] command: OrderCommand) {
    refused(order_at(OrderStatus::Paying), command, OrderRejection::PaymentInProgress);
}

#[rstest]
#[case(OrderStatus::Paid)]
#[case(OrderStatus::Confirmed)]
fn already_paid(#[case] state: OrderStatus) {
    refused(order_at(state), pay(2, 1), OrderRejection::AlreadyPaid);
}

#[rstest]
#[case(pay(1, 1))]
#[case(pay(1, 2))]
fn payment_id_reused(#[case] command: OrderCommand) {
    refused(
        order_at(OrderStatus::AwaitingPayment),
        command,
        OrderRejection::PaymentIdReused { payment_id: payment_id(1) },
    );
}

#[rstest]
#[case(OrderStatus::Pending, decline(9))]
#[case(OrderStatus::Paying, decline(9))]
#[case(OrderStatus::Paying, capture(9, Some(1)))]
#[case(OrderStatus::Rejected, capture(9, None))]
#[case(OrderStatus::Paid, start_refund(9))]
#[case(OrderStatus::Refunding, complete_refund(9))]
fn unknown_payment(#[case] state: OrderStatus, #[case] command: OrderCommand) {
    refused(order_at(state), command, OrderRejection::UnknownPayment { payment_id: payment_id(9) });
}

#[rstest]
#[case::less("597.99")]
#[case::more("598.01")]
#[case::nothing("0")]
fn wrong_amount(#[case] amount: &str) {
    let command =
        OrderCommand::CapturePayment { payment_id: payment_id(1), amount: money(amount), lock_id: Some(lock_id(1)) };

    refused(
        order_at(OrderStatus::Paying),
        command,
        OrderRejection::WrongAmount { expected: money("598.00"), received: money(amount) },
    );
}

#[rstest]
#[case(OrderStatus::AwaitingPayment)]
#[case(OrderStatus::Paying)]
#[case(OrderStatus::Refunding)]
fn not_paid(#[case] status: OrderStatus) {
    refused(order_at(status), confirm(1), OrderRejection::NotPaid { status });
}

#[rstest]
#[case(OrderStatus::Paid)]
#[case(OrderStatus::Confirmed)]
fn wrong_lock(#[case] state: OrderStatus) {
    refused(order_at(state), confirm(2), OrderRejection::WrongLock { lock_id: lock_id(2) });
}

#[rstest]
#[case(OrderStatus::Paid)]
#[case(OrderStatus::Confirmed)]
#[case(OrderStatus::Rejected)]
#[case(OrderStatus::Expired)]
fn not_cancellable(#[case] status: OrderStatus) {
    refused(order_at(status), cancel(), OrderRejection::NotCancellable { status });
}

#[rstest]
#[case(OrderStatus::AwaitingPayment)]
#[case(OrderStatus::Paying)]
#[case(OrderStatus::Cancelled)]
fn payment_not_captured(#[case] state: OrderStatus) {
    refused(order_at(state), start_refund(1), OrderRejection::PaymentNotCaptured { payment_id: payment_id(1) });
}

#[rstest]
#[case(OrderStatus::Paying)]
#[case(OrderStatus::Confirmed)]
fn refund_not_started(#[case] state: OrderStatus) {
    refused(order_at(state), complete_refund(1), OrderRejection::RefundNotStarted { payment_id: payment_id(1) });
}

#[test]
fn a_payment_locks_again_when_its_lock_had_lapsed() {
    let order: Order = after([place(), hold(1), pay(1, 2)]);

    assert_eq!(order.placed.unwrap().lock_id, Some(lock_id(2)));
}

#[rstest]
#[case::rejected(&[place(), reject()], Some("insufficient_stock"))]
#[case::declined(&[place(), hold(1), pay(1, 1), decline(1)], Some("declined"))]
#[case::paid_after_all(&[place(), hold(1), pay(1, 1), decline(1), pay(2, 1)], None)]
#[case::cancelled(&[place(), cancel()], Some("changed_my_mind"))]
#[case::refunded(
    &[place(), hold(1), pay(1, 1), capture(1, None), complete_refund(1)],
    Some("no_tickets_held")
)]
#[case::another_payment_refunded(
    &[place(), hold(1), pay(1, 1), decline(1), pay(2, 1), capture(2, Some(1)), capture(1, None)],
    None
)]
fn an_order_says_why_it_is_where_it_is(#[case] commands: &[OrderCommand], #[case] reason: Option<&str>) {
    let order: Order = after(commands.iter().cloned());

    assert_eq!(order.placed.unwrap().reason.as_deref(), reason);
}
