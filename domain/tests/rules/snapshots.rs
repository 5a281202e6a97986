//! A state goes into a snapshot and comes out the same.

use std::fmt::Debug;

use domain::stock::SettledLocks;
use domain::{Channel, Decider, Fulfilment, Notification, Stock, StockCommand};
use rstest::rstest;

use crate::support::{after, at, lock_id, order_id, put_on_sale, quantity};
use crate::{fulfilment_rules as saga, notification_rules as notification};

#[track_caller]
fn comes_back_the_same<A: Decider + Debug + PartialEq>(state: A) {
    let snapshot = serde_json::to_string(&state).unwrap();

    assert_eq!(serde_json::from_str::<A>(&snapshot).unwrap(), state);
}

#[rstest]
#[case(Fulfilment::default())]
#[case(after([saga::begin(), saga::grant(1), saga::capture(1), saga::owe_refund(2)]))]
#[case(after([saga::begin(), saga::compensate()]))]
fn a_fulfilment(#[case] state: Fulfilment) {
    comes_back_the_same(state);
}

#[rstest]
#[case(Notification::default())]
#[case(after([
    notification::request(),
    notification::dispatch(&[Channel::Sms, Channel::Email]),
    notification::sent(Channel::Sms),
]))]
fn a_notification(#[case] state: Notification) {
    comes_back_the_same(state);
}

#[test]
fn a_stock_is_readable_and_its_settled_locks_keep_their_order() {
    let release = |number| StockCommand::Release { lock_id: lock_id(number), reason: "order_cancelled".to_owned() };
    let stock: Stock = after([
        put_on_sale(10),
        StockCommand::Lock { lock_id: lock_id(1), order_id: order_id(1), quantity: quantity(2), expires_at: at(300) },
        release(9),
        release(1),
        release(3),
    ]);

    let settled = serde_json::to_string(&stock.settled).unwrap();

    assert_eq!(
        settled,
        concat!(
            r#"[["LOCK202412010009","ROLLED_BACK",null],"#,
            r#"["LOCK202412010001","RELEASED",2],"#,
            r#"["LOCK202412010003","ROLLED_BACK",null]]"#
        )
    );
    assert_eq!(serde_json::from_str::<SettledLocks>(&settled).unwrap(), stock.settled);
}
