//! What holds for an order after every command of any sequence.

use cqrs_es::Aggregate;
use domain::order::AttemptOutcome;
use domain::{Decider, Order, OrderCommand, OrderStatus};
use proptest::prelude::*;

use crate::order_table::{cancel, capture, complete_refund, confirm, decline, hold, pay, place, reject, start_refund};

fn any_command() -> impl Strategy<Value = OrderCommand> {
    let payment = || 1..4_u128;
    let lock = || 1..3_u128;
    prop_oneof![
        4 => lock().prop_map(hold),
        1 => Just(reject()),
        6 => (payment(), lock()).prop_map(|(payment, lock)| pay(payment, lock)),
        4 => payment().prop_map(decline),
        6 => (payment(), prop::option::of(lock())).prop_map(|(payment, lock)| capture(payment, lock)),
        3 => lock().prop_map(confirm),
        1 => Just(cancel()),
        1 => Just(OrderCommand::Expire),
        1 => payment().prop_map(start_refund),
        3 => payment().prop_map(complete_refund),
    ]
}

proptest! {
    #[test]
    fn the_order_keeps_one_payment_when_it_is_paid_and_none_otherwise(
        commands in prop::collection::vec(any_command(), 1..40)
    ) {
        let mut order = Order::default();
        let mut events = vec![];
        for command in std::iter::once(place()).chain(commands) {
            for event in order.decide(command).unwrap_or_default() {
                order.apply(event.clone());
                events.push(event);
            }

            let placed = order.placed.as_ref().unwrap();
            let kept = placed
                .payments
                .iter()
                .filter(|attempt| attempt.outcome == AttemptOutcome::Captured)
                .count();
            let is_paid = matches!(placed.status, OrderStatus::Paid | OrderStatus::Confirmed);
            prop_assert_eq!(kept, usize::from(is_paid));
            prop_assert_eq!(events.last().map(|event| event.status()), Some(placed.status));
        }

        let mut folded = Order::default();
        events.into_iter().for_each(|event| folded.apply(event));
        let snapshot = serde_json::to_string(&order).unwrap();
        prop_assert_eq!(serde_json::from_str::<Order>(&snapshot).unwrap(), folded);
    }
}
