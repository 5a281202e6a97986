//! Every state of an order against every input, cell by cell, as far as the order decides it.

use cqrs_es::Aggregate;
use domain::OrderStatus::{self, *};
use domain::{Decider, Mode, Order, OrderCommand};
use rstest::rstest;

use crate::support::{
    after, and_then, at, lock_id, money, order_id, payment_id, quantity, show_id, ticket_type_id, user_id,
};

/// The lock and the payment of the order under test.
const L: u128 = 1;
const P: u128 = 1;

pub fn place() -> OrderCommand {
    OrderCommand::Place {
        order_id: order_id(1),
        user_id: user_id(),
        show_id: show_id(),
        ticket_type_id: ticket_type_id(),
        quantity: quantity(2),
        total_amount: money("598.00"),
        order_time: at(0),
        expire_time: at(900),
        mode: Mode::Async,
    }
}

pub fn hold(lock: u128) -> OrderCommand {
    OrderCommand::HoldStock { lock_id: lock_id(lock), lock_expires_at: at(300) }
}

pub fn reject() -> OrderCommand {
    OrderCommand::Reject { reason: "insufficient_stock".to_owned() }
}

pub fn pay(payment: u128, lock: u128) -> OrderCommand {
    OrderCommand::StartPayment {
        payment_id: payment_id(payment),
        payment_method: "ALIPAY".to_owned(),
        lock_id: lock_id(lock),
    }
}

pub fn decline(payment: u128) -> OrderCommand {
    OrderCommand::FailPayment { payment_id: payment_id(payment), reason: "declined".to_owned() }
}

pub fn capture(payment: u128, lock: Option<u128>) -> OrderCommand {
    OrderCommand::CapturePayment {
        payment_id: payment_id(payment),
        amount: money("598.00"),
        lock_id: lock.map(lock_id),
    }
}

pub fn confirm(lock: u128) -> OrderCommand {
    OrderCommand::Confirm { lock_id: lock_id(lock) }
}

pub fn cancel() -> OrderCommand {
    OrderCommand::Cancel { reason: "changed_my_mind".to_owned() }
}

pub fn start_refund(payment: u128) -> OrderCommand {
    OrderCommand::StartRefund { payment_id: payment_id(payment), reason: "order_cancelled".to_owned() }
}

pub fn complete_refund(payment: u128) -> OrderCommand {
    OrderCommand::CompleteRefund { payment_id: payment_id(payment) }
}

/// An order in this state that has tried to pay where that is possible at all.
pub fn order_at(status: OrderStatus) -> Order {
    let paying = [place(), hold(L), pay(P, L)];
    let so_far = |more: &[OrderCommand]| after(paying.iter().chain(more).cloned());
    match status {
        Pending => after([place()]),
        AwaitingPayment => so_far(&[decline(P)]),
        Paying => so_far(&[]),
        Paid => so_far(&[capture(P, Some(L))]),
        Confirmed => so_far(&[capture(P, Some(L)), confirm(L)]),
        Rejected => after([place(), reject()]),
        Cancelled => so_far(&[cancel()]),
        Expired => so_far(&[OrderCommand::Expire]),
        Refunding => so_far(&[OrderCommand::Expire, capture(P, None)]),
        Refunded => so_far(&[OrderCommand::Expire, capture(P, None), complete_refund(P)]),
    }
}

/// What a cell of the table says.
#[derive(Debug, PartialEq)]
enum Answer {
    /// This event happens, and the order is in this state afterwards.
    Happens(&'static str, OrderStatus),
    /// Accepted without an effect.
    Nothing,
    Refused(&'static str),
}
use Answer::{Happens, Nothing, Refused};

fn answer(mut order: Order, command: OrderCommand) -> Answer {
    match order.decide(command) {
        Err(rejection) => Refused(rejection.code()),
        Ok(events) => match <[_; 1]>::try_from(events) {
            Err(events) => {
                assert!(events.is_empty());
                Nothing
            }
            Ok([event]) => {
                let name = event.name();
                assert_eq!(event.status(), {
                    order.apply(event.clone());
                    order.status().unwrap()
                });
                Happens(name, event.status())
            }
        },
    }
}

#[rstest]
#[case(Pending)]
#[case(AwaitingPayment)]
#[case(Paying)]
#[case(Paid)]
#[case(Confirmed)]
#[case(Rejected)]
#[case(Cancelled)]
#[case(Expired)]
#[case(Refunding)]
#[case(Refunded)]
fn an_order_can_be_in_every_state_and_a_state_is_spelt_one_way(#[case] status: OrderStatus) {
    assert_eq!(order_at(status).status(), Some(status));
    assert_eq!(OrderStatus::parse(status.as_str()), Some(status));
    assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
}

#[rstest]
#[case(Pending, Happens("OrderStockHeld", AwaitingPayment))]
#[case(AwaitingPayment, Nothing)]
#[case(Paying, Nothing)]
#[case(Paid, Nothing)]
#[case(Confirmed, Nothing)]
#[case(Rejected, Refused("order_ended"))]
#[case::a_lock_asked_for_later_is_refused(Cancelled, Refused("order_ended"))]
#[case::a_lock_asked_for_later_is_refused(Expired, Refused("order_ended"))]
#[case(Refunding, Refused("order_ended"))]
#[case(Refunded, Refused("order_ended"))]
fn stock_held(#[case] state: OrderStatus, #[case] expected: Answer) {
    assert_eq!(answer(order_at(state), hold(L)), expected);
}

#[rstest]
#[case(Pending, Happens("OrderRejected", Rejected))]
#[case(AwaitingPayment, Refused("stock_already_held"))]
#[case(Paying, Refused("stock_already_held"))]
#[case(Paid, Refused("stock_already_held"))]
#[case(Confirmed, Refused("stock_already_held"))]
#[case(Rejected, Nothing)]
#[case(Cancelled, Refused("order_ended"))]
#[case(Expired, Refused("order_ended"))]
#[case(Refunding, Refused("order_ended"))]
#[case(Refunded, Refused("order_ended"))]
fn stock_short(#[case] state: OrderStatus, #[case] expected: Answer) {
    assert_eq!(answer(order_at(state), reject()), expected);
}

#[rstest]
#[case(Pending, Refused("not_payable_yet"))]
#[case(AwaitingPayment, Happens("OrderPaymentStarted", Paying))]
#[case(Paying, Refused("payment_in_progress"))]
#[case(Paid, Refused("already_paid"))]
#[case(Confirmed, Refused("already_paid"))]
#[case(Rejected, Refused("order_ended"))]
#[case(Cancelled, Refused("order_ended"))]
#[case(Expired, Refused("order_ended"))]
#[case(Refunding, Refused("order_ended"))]
#[case(Refunded, Refused("order_ended"))]
fn pay_with_the_live_lock(#[case] state: OrderStatus, #[case] expected: Answer) {
    assert_eq!(answer(order_at(state), pay(2, L)), expected);
}

#[rstest]
#[case(AwaitingPayment, Nothing)]
#[case(Paying, Happens("OrderPaymentFailed", AwaitingPayment))]
#[case::failed_after_succeeded_is_ignored(Paid, Nothing)]
#[case(Confirmed, Nothing)]
#[case(Cancelled, Nothing)]
#[case::declined_after_expire_time(Expired, Nothing)]
#[case(Refunding, Nothing)]
#[case(Refunded, Nothing)]
fn declined(#[case] state: OrderStatus, #[case] expected: Answer) {
    assert_eq!(answer(order_at(state), decline(P)), expected);
}

#[rstest]
#[case::succeeded_after_failed_is_a_capture(AwaitingPayment, Happens("OrderPaid", Paid))]
#[case(Paying, Happens("OrderPaid", Paid))]
#[case::repeated(Paid, Nothing)]
#[case::repeated(Confirmed, Nothing)]
#[case::always_refunded(Cancelled, Happens("OrderRefundStarted", Refunding))]
#[case::locked_again(Expired, Happens("OrderPaid", Paid))]
#[case::repeated(Refunding, Nothing)]
#[case::repeated(Refunded, Nothing)]
fn captured_with_tickets_held(#[case] state: OrderStatus, #[case] expected: Answer) {
    assert_eq!(answer(order_at(state), capture(P, Some(L))), expected);
}

#[rstest]
#[case(AwaitingPayment, Happens("OrderRefundStarted", Refunding))]
#[case(Paying, Happens("OrderRefundStarted", Refunding))]
#[case(Paid, Nothing)]
#[case(Confirmed, Nothing)]
#[case(Cancelled, Happens("OrderRefundStarted", Refunding))]
#[case(Expired, Happens("OrderRefundStarted", Refunding))]
#[case(Refunding, Nothing)]
#[case(Refunded, Nothing)]
fn captured_without_tickets(#[case] state: OrderStatus, #[case] expected: Answer) {
    assert_eq!(answer(order_at(state), capture(P, None)), expected);
}

/// A first attempt was declined, a second one brought the order here, and now the first succeeds.
#[rstest]
#[case(Paid, Happens("OrderRefundStarted", Paid))]
#[case(Confirmed, Happens("OrderRefundStarted", Confirmed))]
#[case(Refunding, Happens("OrderRefundStarted", Refunding))]
#[case(Refunded, Happens("OrderRefundStarted", Refunded))]
fn a_second_capture_is_refunded_and_leaves_the_order_where_it_is(#[case] state: OrderStatus, #[case] expected: Answer) {
    let second_try = [place(), hold(L), pay(P, L), decline(P), pay(2, L)];
    let rest = match state {
        Paid => vec![capture(2, Some(L))],
        Confirmed => vec![capture(2, Some(L)), confirm(L)],
        Refunding => vec![capture(2, None)],
        _ => vec![capture(2, None), complete_refund(2)],
    };
    let order: Order = after(second_try.into_iter().chain(rest));
    assert_eq!(order.status(), Some(state));

    assert_eq!(answer(order, capture(P, Some(L))), expected);
}

#[rstest]
#[case(Paid, Happens("OrderConfirmed", Confirmed))]
#[case(Confirmed, Nothing)]
#[case(Pending, Refused("not_paid"))]
#[case(AwaitingPayment, Refused("not_paid"))]
#[case(Paying, Refused("not_paid"))]
#[case(Rejected, Refused("not_paid"))]
#[case(Cancelled, Refused("not_paid"))]
#[case(Expired, Refused("not_paid"))]
#[case(Refunding, Refused("not_paid"))]
#[case(Refunded, Refused("not_paid"))]
fn deducted(#[case] state: OrderStatus, #[case] expected: Answer) {
    assert_eq!(answer(order_at(state), confirm(L)), expected);
}

#[rstest]
#[case(Pending, Happens("OrderCancelled", Cancelled))]
#[case(AwaitingPayment, Happens("OrderCancelled", Cancelled))]
#[case(Paying, Happens("OrderCancelled", Cancelled))]
#[case(Paid, Refused("not_cancellable"))]
#[case(Confirmed, Refused("not_cancellable"))]
#[case(Rejected, Refused("not_cancellable"))]
#[case::as_before(Cancelled, Nothing)]
#[case(Expired, Refused("not_cancellable"))]
#[case(Refunding, Refused("not_cancellable"))]
#[case(Refunded, Refused("not_cancellable"))]
fn cancelled(#[case] state: OrderStatus, #[case] expected: Answer) {
    assert_eq!(answer(order_at(state), cancel()), expected);
}

#[rstest]
#[case(Pending, Happens("OrderExpired", Expired))]
#[case(AwaitingPayment, Happens("OrderExpired", Expired))]
#[case(Paying, Happens("OrderExpired", Expired))]
#[case(Paid, Nothing)]
#[case(Confirmed, Nothing)]
#[case(Rejected, Nothing)]
#[case(Cancelled, Nothing)]
#[case(Expired, Nothing)]
#[case(Refunding, Nothing)]
#[case(Refunded, Nothing)]
fn expire_time_has_come(#[case] state: OrderStatus, #[case] expected: Answer) {
    assert_eq!(answer(order_at(state), OrderCommand::Expire), expected);
}

#[rstest]
#[case(Paid, Happens("OrderRefundStarted", Refunding))]
#[case::where_the_policy_allows(Confirmed, Happens("OrderRefundStarted", Refunding))]
#[case(Paying, Refused("payment_not_captured"))]
#[case(Expired, Refused("payment_not_captured"))]
#[case(Refunding, Nothing)]
#[case(Refunded, Nothing)]
fn refund_asked_for(#[case] state: OrderStatus, #[case] expected: Answer) {
    assert_eq!(answer(order_at(state), start_refund(P)), expected);
}

#[rstest]
#[case(Refunding, Happens("OrderRefunded", Refunded))]
#[case(Refunded, Nothing)]
#[case(Paid, Refused("refund_not_started"))]
fn refund_done(#[case] state: OrderStatus, #[case] expected: Answer) {
    assert_eq!(answer(order_at(state), complete_refund(P)), expected);
}

#[test]
fn an_order_is_refunded_when_the_last_of_its_refunds_is_done() {
    let two_refunds: Order = after([
        place(),
        hold(L),
        pay(P, L),
        decline(P),
        pay(2, L),
        OrderCommand::Expire,
        capture(P, None),
        capture(2, None),
    ]);

    let one_done = and_then(two_refunds, [complete_refund(P)]);
    assert_eq!(one_done.status(), Some(Refunding));
    let both_done = and_then(one_done, [complete_refund(2)]);
    assert_eq!(both_done.status(), Some(Refunded));
}

#[rstest]
#[case(Pending, false)]
#[case(AwaitingPayment, true)]
#[case(Paying, true)]
#[case(Paid, false)]
#[case(Expired, true)]
#[case(Cancelled, false)]
#[case(Refunding, false)]
fn tickets_are_held_for_a_capture_only_where_it_pays_the_order(#[case] state: OrderStatus, #[case] wanted: bool) {
    assert_eq!(order_at(state).capture_wants_tickets(&payment_id(P)), wanted);
}
