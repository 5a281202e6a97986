//! What holds for stock after every command of any sequence.

use cqrs_es::Aggregate;
use domain::{Decider, Stock, StockCommand, StockEvent};
use proptest::prelude::*;

use crate::support::{at, lock_id, order_id, put_on_sale, quantity};

/// Few ids and small numbers, so that commands meet each other's locks and run out of stock.
fn any_command() -> impl Strategy<Value = StockCommand> {
    let lock = || (1..8_u128).prop_map(lock_id);
    let order = || (1..4_u128).prop_map(order_id);
    let tickets = || (1..6_u32).prop_map(quantity);
    let time = || (0..1000_i64).prop_map(at);
    let reason = || Just("any".to_owned());
    prop_oneof![
        1 => (0..30_u32).prop_map(put_on_sale),
        2 => (-12..12_i64).prop_map(|delta| StockCommand::ChangeCapacity { delta }),
        8 => (lock(), order(), tickets(), time()).prop_map(|(lock_id, order_id, quantity, expires_at)| {
            StockCommand::Lock { lock_id, order_id, quantity, expires_at }
        }),
        2 => (lock(), time()).prop_map(|(lock_id, expires_at)| StockCommand::Renew { lock_id, expires_at }),
        3 => lock().prop_map(|lock_id| StockCommand::Secure { lock_id }),
        4 => lock().prop_map(|lock_id| StockCommand::Deduct { lock_id }),
        3 => (lock(), reason()).prop_map(|(lock_id, reason)| StockCommand::Release { lock_id, reason }),
        3 => (lock(), time()).prop_map(|(lock_id, due_at)| StockCommand::Lapse { lock_id, due_at }),
        2 => (lock(), order(), tickets(), reason()).prop_map(|(lock_id, order_id, quantity, reason)| {
            StockCommand::Return { lock_id, order_id, quantity, reason }
        }),
    ]
}

/// Counts from the events alone, in numbers that can go below zero.
fn counted(events: &[StockEvent]) -> [i64; 4] {
    let [mut capacity, mut available, mut locked, mut sold] = [0_i64; 4];
    for event in events {
        match event {
            StockEvent::TicketTypePutOnSale { capacity: all, .. } => {
                capacity += i64::from(*all);
                available += i64::from(*all);
            }
            StockEvent::CapacityChanged { delta } => {
                capacity += delta;
                available += delta;
            }
            StockEvent::StockLocked { quantity, .. } => {
                available -= i64::from(quantity.get());
                locked += i64::from(quantity.get());
            }
            StockEvent::StockDeducted { quantity, .. } => {
                locked -= i64::from(quantity.get());
                sold += i64::from(quantity.get());
            }
            StockEvent::StockReleased { quantity, .. } | StockEvent::StockLockLapsed { quantity, .. } => {
                locked -= i64::from(quantity.get());
                available += i64::from(quantity.get());
            }
            StockEvent::StockReturned { quantity, .. } => {
                sold -= i64::from(quantity.get());
                available += i64::from(quantity.get());
            }
            StockEvent::StockLockRenewed { .. }
            | StockEvent::StockLockSecured { .. }
            | StockEvent::StockRollbackRemembered { .. } => {}
        }
    }
    [capacity, available, locked, sold]
}

fn folded(events: &[StockEvent]) -> Stock {
    let mut stock = Stock::default();
    for event in events {
        stock.apply(event.clone());
    }
    stock
}

fn has_one_effect(command: &StockCommand) -> bool {
    !matches!(command, StockCommand::ChangeCapacity { .. })
}

proptest! {
    #[test]
    fn tickets_are_neither_made_nor_lost(commands in prop::collection::vec(any_command(), 1..60)) {
        let mut stock = Stock::default();
        let mut events = vec![];
        for command in std::iter::once(put_on_sale(20)).chain(commands) {
            let Ok(decided) = stock.decide(command.clone()) else { continue };
            for event in decided {
                stock.apply(event.clone());
                events.push(event);
            }

            prop_assert_eq!(
                u64::from(stock.available) + u64::from(stock.locked) + u64::from(stock.sold),
                u64::from(stock.capacity)
            );
            prop_assert_eq!(
                counted(&events),
                [stock.capacity, stock.available, stock.locked, stock.sold].map(i64::from)
            );
            let under_lock: u32 = stock.locks.values().map(|lock| lock.quantity.get()).sum();
            prop_assert_eq!(under_lock, stock.locked);
            if has_one_effect(&command) {
                prop_assert!(stock.decide(command).unwrap_or_default().is_empty());
            }
        }
        prop_assert_eq!(folded(&events), stock);
    }

    #[test]
    fn a_snapshot_is_the_state(commands in prop::collection::vec(any_command(), 1..60)) {
        let mut stock = Stock::default();
        for command in std::iter::once(put_on_sale(20)).chain(commands) {
            for event in stock.decide(command).unwrap_or_default() {
                stock.apply(event);
            }
            let snapshot = serde_json::to_string(&stock).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Stock>(&snapshot).unwrap(), &stock);
        }
    }
}
