//! What every test here begins with: ids, times, and states made by commands.

use std::fmt::Debug;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::{Decider, LockId, Money, OrderId, PaymentId, Quantity, ShowId, StockCommand, TicketTypeId, UserId};

fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2024, 12, 1).unwrap()
}

pub fn order_id(number: u128) -> OrderId {
    OrderId::on(day(), number)
}

pub fn lock_id(number: u128) -> LockId {
    LockId::on(day(), number)
}

pub fn payment_id(number: u128) -> PaymentId {
    PaymentId::on(day(), number)
}

pub fn user_id() -> UserId {
    UserId::new(12345).unwrap()
}

pub fn show_id() -> ShowId {
    ShowId::new(1001).unwrap()
}

pub fn ticket_type_id() -> TicketTypeId {
    TicketTypeId::new(2001).unwrap()
}

pub fn quantity(number: u32) -> Quantity {
    Quantity::new(number).unwrap()
}

pub fn money(text: &str) -> Money {
    Money::parse(text).unwrap()
}

/// Seconds after noon of the day everything here happens on.
pub fn at(seconds: i64) -> DateTime<Utc> {
    day().and_hms_opt(12, 0, 0).unwrap().and_utc() + TimeDelta::seconds(seconds)
}

/// The state after these commands, each of which must be accepted.
pub fn after<A>(commands: impl IntoIterator<Item = A::Command>) -> A
where
    A: Decider,
    A::Error: Debug,
{
    and_then(A::default(), commands)
}

/// The state after these commands too.
pub fn and_then<A>(mut state: A, commands: impl IntoIterator<Item = A::Command>) -> A
where
    A: Decider,
    A::Error: Debug,
{
    for command in commands {
        for event in state.decide(command).unwrap() {
            state.apply(event);
        }
    }
    state
}

pub fn put_on_sale(capacity: u32) -> StockCommand {
    StockCommand::PutOnSale {
        ticket_type_id: ticket_type_id(),
        show_id: show_id(),
        name: "VIP".to_owned(),
        price: money("299.00"),
        capacity,
    }
}
