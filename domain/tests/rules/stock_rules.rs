//! Each rule of stock: what breaks it, and what repeats the past without a second effect.

use domain::stock::SETTLED_LOCKS_REMEMBERED;
use domain::{Decider, Stock, StockCommand, StockEvent, StockRejection};
use rstest::rstest;

use crate::support::{after, and_then, at, lock_id, order_id, put_on_sale, quantity};

const L: u128 = 1;

fn on_sale(commands: impl IntoIterator<Item = StockCommand>) -> Stock {
    and_then(after([put_on_sale(10)]), commands)
}

fn lock_for(number: u128, order: u128, tickets: u32) -> StockCommand {
    StockCommand::Lock {
        lock_id: lock_id(number),
        order_id: order_id(order),
        quantity: quantity(tickets),
        expires_at: at(300),
    }
}

fn lock(number: u128, tickets: u32) -> StockCommand {
    lock_for(number, number, tickets)
}

fn renew(number: u128, seconds: i64) -> StockCommand {
    StockCommand::Renew { lock_id: lock_id(number), expires_at: at(seconds) }
}

fn secure(number: u128) -> StockCommand {
    StockCommand::Secure { lock_id: lock_id(number) }
}

fn deduct(number: u128) -> StockCommand {
    StockCommand::Deduct { lock_id: lock_id(number) }
}

fn release(number: u128) -> StockCommand {
    StockCommand::Release { lock_id: lock_id(number), reason: "order_cancelled".to_owned() }
}

fn lapse(number: u128, seconds: i64) -> StockCommand {
    StockCommand::Lapse { lock_id: lock_id(number), due_at: at(seconds) }
}

fn take_back(number: u128, tickets: u32) -> StockCommand {
    StockCommand::Return {
        lock_id: lock_id(number),
        order_id: order_id(number),
        quantity: quantity(tickets),
        reason: "order_refunded".to_owned(),
    }
}

fn change(delta: i64) -> StockCommand {
    StockCommand::ChangeCapacity { delta }
}

fn live() -> Stock {
    on_sale([lock(L, 2)])
}

fn secured() -> Stock {
    on_sale([lock(L, 2), secure(L)])
}

fn deducted() -> Stock {
    on_sale([lock(L, 2), deduct(L)])
}

fn released() -> Stock {
    on_sale([lock(L, 2), release(L)])
}

fn lapsed() -> Stock {
    on_sale([lock(L, 2), lapse(L, 300)])
}

fn rolled_back() -> Stock {
    on_sale([release(L)])
}

fn returned() -> Stock {
    on_sale([lock(L, 2), deduct(L), take_back(L, 2)])
}

#[track_caller]
fn refused(given: Stock, command: StockCommand, expected: StockRejection, code: &str) {
    assert_eq!(expected.code(), code);
    assert_eq!(given.decide(command), Err(expected));
}

#[rstest]
#[case(change(1))]
#[case(lock(L, 1))]
#[case(renew(L, 600))]
#[case(secure(L))]
#[case(deduct(L))]
#[case(release(L))]
#[case(lapse(L, 300))]
#[case(take_back(L, 1))]
fn not_on_sale(#[case] command: StockCommand) {
    refused(Stock::default(), command, StockRejection::NotOnSale, "not_on_sale");
}

#[rstest]
#[case::as_before(10)]
#[case::with_another_capacity(20)]
fn already_on_sale(#[case] capacity: u32) {
    refused(on_sale([]), put_on_sale(capacity), StockRejection::AlreadyOnSale, "already_on_sale");
}

#[rstest]
#[case::more_than_there_ever_were(on_sale([]), 11, 10)]
#[case::more_than_others_left(on_sale([lock(2, 9)]), 2, 1)]
#[case::sold_out(on_sale([lock(2, 10), deduct(2)]), 1, 0)]
fn insufficient_stock(#[case] given: Stock, #[case] requested: u32, #[case] available: u32) {
    refused(
        given,
        lock(L, requested),
        StockRejection::InsufficientStock { requested, available },
        "insufficient_stock",
    );
}

#[rstest]
#[case(after([put_on_sale(u32::MAX)]), 1)]
#[case(on_sale([]), i64::from(u32::MAX) - 9)]
#[case(on_sale([]), i64::MAX)]
fn capacity_overflow(#[case] given: Stock, #[case] delta: i64) {
    refused(given, change(delta), StockRejection::CapacityOverflow, "capacity_overflow");
}

#[rstest]
#[case::more_than_there_are(on_sale([]), -11, 11, 10)]
#[case::locked_ones(live(), -9, 9, 8)]
#[case::sold_ones(deducted(), -9, 9, 8)]
#[case::the_smallest_number(on_sale([]), i64::MIN, 1 << 63, 10)]
fn withdraws_too_many(#[case] given: Stock, #[case] delta: i64, #[case] requested: u64, #[case] available: u32) {
    refused(given, change(delta), StockRejection::WithdrawsTooMany { requested, available }, "withdraws_too_many");
}

#[rstest]
#[case::another_quantity(live(), lock(L, 3))]
#[case::another_order(live(), lock_for(L, 9, 2))]
#[case::another_quantity_returned(deducted(), take_back(L, 1))]
fn lock_id_reused(#[case] given: Stock, #[case] command: StockCommand) {
    refused(given, command, StockRejection::LockIdReused { lock_id: lock_id(L) }, "lock_id_reused");
}

#[rstest]
#[case(renew(L, 600))]
#[case(secure(L))]
#[case::deduct_before_lock(deduct(L))]
#[case(take_back(L, 1))]
fn unknown_lock(#[case] command: StockCommand) {
    refused(on_sale([]), command, StockRejection::UnknownLock { lock_id: lock_id(L) }, "unknown_lock");
}

#[rstest]
#[case(lock(L, 2))]
#[case(renew(L, 600))]
#[case(release(L))]
fn lock_deducted(#[case] command: StockCommand) {
    refused(deducted(), command, StockRejection::LockDeducted { lock_id: lock_id(L) }, "lock_deducted");
}

#[rstest]
#[case(lock(L, 2))]
#[case(renew(L, 600))]
#[case(secure(L))]
#[case(deduct(L))]
fn lock_released(#[case] command: StockCommand) {
    refused(released(), command, StockRejection::LockReleased { lock_id: lock_id(L) }, "lock_released");
}

#[rstest]
#[case(lock(L, 2))]
#[case(renew(L, 600))]
#[case(secure(L))]
#[case(deduct(L))]
fn lock_lapsed(#[case] command: StockCommand) {
    refused(lapsed(), command, StockRejection::LockLapsed { lock_id: lock_id(L) }, "lock_lapsed");
}

#[rstest]
#[case::the_lock_comes_later(lock(L, 2))]
#[case(renew(L, 600))]
#[case(secure(L))]
#[case(deduct(L))]
fn rollback_remembered(#[case] command: StockCommand) {
    refused(rolled_back(), command, StockRejection::RollbackRemembered { lock_id: lock_id(L) }, "rollback_remembered");
}

#[rstest]
#[case(lock(L, 2))]
#[case(renew(L, 600))]
fn lock_returned(#[case] command: StockCommand) {
    refused(returned(), command, StockRejection::LockReturned { lock_id: lock_id(L) }, "lock_returned");
}

#[rstest]
#[case(release(L))]
fn lock_secured(#[case] command: StockCommand) {
    refused(secured(), command, StockRejection::LockSecured { lock_id: lock_id(L) }, "lock_secured");
}

#[rstest]
#[case::still_locked(live())]
#[case::released(released())]
#[case::lapsed(lapsed())]
#[case::never_granted(rolled_back())]
fn not_sold(#[case] given: Stock) {
    refused(given, take_back(L, 2), StockRejection::NotSold { lock_id: lock_id(L) }, "not_sold");
}

#[rstest]
#[case::locked_again(live(), lock(L, 2))]
#[case::renewed_to_an_earlier_time(live(), renew(L, 299))]
#[case::renewed_though_secured(secured(), renew(L, 600))]
#[case::secured_again(secured(), secure(L))]
#[case::secured_though_sold(deducted(), secure(L))]
#[case::deducted_again(deducted(), deduct(L))]
#[case::deducted_though_returned(returned(), deduct(L))]
#[case::released_again(released(), release(L))]
#[case::released_though_lapsed(lapsed(), release(L))]
#[case::rolled_back_again(rolled_back(), release(L))]
#[case::released_though_returned(returned(), release(L))]
#[case::lapsed_again(lapsed(), lapse(L, 300))]
#[case::lapsed_though_secured(secured(), lapse(L, 300))]
#[case::lapsed_though_sold(deducted(), lapse(L, 300))]
#[case::lapsed_though_unknown(on_sale([]), lapse(L, 300))]
#[case::lapsed_though_renewed_meanwhile(on_sale([lock(L, 2), renew(L, 600)]), lapse(L, 300))]
#[case::returned_again(returned(), take_back(L, 2))]
#[case::capacity_changed_by_nothing(on_sale([]), change(0))]
fn what_repeats_the_past_has_no_second_effect(#[case] given: Stock, #[case] command: StockCommand) {
    assert_eq!(given.decide(command), Ok(vec![]));
}

#[rstest]
#[case::locked(live(), [8, 2, 0])]
#[case::sold(deducted(), [8, 0, 2])]
#[case::released(released(), [10, 0, 0])]
#[case::lapsed(lapsed(), [10, 0, 0])]
#[case::returned(returned(), [10, 0, 0])]
#[case::added(on_sale([change(5)]), [15, 0, 0])]
#[case::withdrawn(on_sale([lock(L, 2), change(-8)]), [0, 2, 0])]
fn tickets_move_between_available_locked_and_sold(#[case] stock: Stock, #[case] counts: [u32; 3]) {
    assert_eq!([stock.available, stock.locked, stock.sold], counts);
}

#[test]
fn a_renewed_lock_lapses_at_its_new_time_even_if_storage_rounded_it() {
    let nanosecond = chrono::TimeDelta::nanoseconds(1);
    let renewed = on_sale([lock(L, 2), StockCommand::Renew { lock_id: lock_id(L), expires_at: at(600) + nanosecond }]);

    assert_eq!(
        renewed.decide(lapse(L, 600)),
        Ok(vec![StockEvent::StockLockLapsed { lock_id: lock_id(L), order_id: order_id(L), quantity: quantity(2) }])
    );
}

#[test]
fn the_oldest_settled_locks_are_forgotten_and_what_they_sold_can_still_come_back() {
    let remembered = SETTLED_LOCKS_REMEMBERED as u128;
    let mut stock: Stock = after([put_on_sale(20_000)]);
    for number in 0..=remembered {
        stock = and_then(stock, [lock(number, 1), deduct(number)]);
    }

    assert_eq!(stock.settled.len(), SETTLED_LOCKS_REMEMBERED);
    assert_eq!(stock.settled.get(&lock_id(0)), None);
    assert!(stock.settled.get(&lock_id(1)).is_some());
    refused(stock.clone(), take_back(0, 10_002), StockRejection::NotSold { lock_id: lock_id(0) }, "not_sold");
    let stock = and_then(stock, [take_back(0, 1)]);
    assert_eq!(stock.sold, 10_000);
    assert_eq!(stock.settled.len(), SETTLED_LOCKS_REMEMBERED);
}
