//! What must hold after every step of a case, judged on its folded streams and on what is still to come for it.

use domain::payment::PaymentStatus;
use domain::{Money, OrderStatus};
use processors::commands::deadline_kind::{LOCK_LAPSE, ORDER_EXPIRY, REFUND};

use super::case::Case;
use super::world::Life;

/// I2, I3 and I4 as far as they were not judged event by event, then I6 and I8.
pub fn hold(case: &Case) -> Result<(), String> {
    what_is_sold_is_confirmed(case)?;
    case.world.is_told()?;
    for life in &case.world.orders {
        money_adds_up(life)?;
        something_is_still_to_come(case, life)?;
    }
    locks_have_an_end(case)
}

/// When everything that was to come has come: every order is at an end, and nothing is held for any.
pub fn nothing_hangs(case: &Case) -> Result<(), String> {
    for life in &case.world.orders {
        if !life.status().is_terminal() {
            return Err(format!("{} hangs at {}", life.id, life.status()));
        }
        if life.saga.step().is_some_and(|step| !step.is_terminal()) {
            return Err(format!("the saga of {} hangs at {:?}", life.id, life.saga.step()));
        }
    }
    if let Some(message) = case.waiting.first() {
        return Err(format!("a message of {} is never taken", message.topic));
    }
    match case.world.stock.locks.keys().next() {
        Some(lock_id) => Err(format!("{lock_id} is still live")),
        None => Ok(()),
    }
}

/// I2: no ticket is sold that nobody has, and nobody has one that is not sold.
fn what_is_sold_is_confirmed(case: &Case) -> Result<(), String> {
    let confirmed = case.world.orders.iter().filter(|life| life.status() == OrderStatus::Confirmed);
    let confirmed: u32 = confirmed.filter_map(|life| Some(life.order.placed.as_ref()?.quantity.get())).sum();
    let sold = case.world.stock.sold;
    if sold != confirmed {
        return Err(format!("I2: {sold} sold, confirmed orders hold {confirmed}"));
    }
    Ok(())
}

/// I6: what was captured and not given back is the value of an order that has its tickets or is about to, and of the
/// captures on their way back.
fn money_adds_up(life: &Life) -> Result<(), String> {
    let (mut held, mut on_its_way_back) = (Money::ZERO, Money::ZERO);
    for (_, payment) in &life.payments {
        let Some(payment) = &payment.requested else { continue };
        held = sum(held, payment.held())?;
        if payment.status == PaymentStatus::Refunding {
            on_its_way_back = sum(on_its_way_back, payment.held())?;
        }
    }
    let value = match life.status() {
        OrderStatus::Paid | OrderStatus::Confirmed => life.total(),
        _ => Money::ZERO,
    };
    let is_stuck = life.status() == OrderStatus::Refunding && on_its_way_back == Money::ZERO;
    if is_stuck || held != sum(value, on_its_way_back)? {
        let (id, status, total) = (&life.id, life.status(), life.total());
        return Err(format!("I6: {id} is {status} over {total}, {held} is held, {on_its_way_back} is on its way back"));
    }
    Ok(())
}

/// I8: who waits, waits for something: a message on its way, or a deadline.
fn something_is_still_to_come(case: &Case, life: &Life) -> Result<(), String> {
    let has_deadline = |kind: &str| case.deadlines.iter().any(|due| due.kind == kind && due.is_of(life.id.as_str()));
    let lives = matches!(life.status(), OrderStatus::Pending | OrderStatus::AwaitingPayment | OrderStatus::Paying);
    if lives && !has_deadline(ORDER_EXPIRY) {
        return Err(format!("I8: {} is {} and never expires", life.id, life.status()));
    }
    for (payment_id, payment) in &life.payments {
        let is_owed = payment.status() == Some(PaymentStatus::Refunding);
        if is_owed && !case.deadlines.iter().any(|due| due.kind == REFUND && due.is_of(payment_id.as_str())) {
            return Err(format!("I8: the refund of {payment_id} is owed, and nobody will make it"));
        }
    }
    let step = life.saga.step();
    let waits = !life.status().is_terminal() || step.is_some_and(|step| !step.is_terminal());
    let something_comes = case.waiting.iter().any(|message| message.waiting_key == life.id.as_str())
        || case.deadlines.iter().any(|due| due.is_of(life.id.as_str()));
    if waits && !something_comes {
        return Err(format!("I8: {} is {}, its saga at {step:?}, and nothing comes any more", life.id, life.status()));
    }
    Ok(())
}

/// I8 for stock: a live lock lapses, or is paid for and its deduction is on its way.
fn locks_have_an_end(case: &Case) -> Result<(), String> {
    for (lock_id, lock) in &case.world.stock.locks {
        let lapses = case.deadlines.iter().any(|due| due.kind == LOCK_LAPSE && due.is_of(lock_id.as_str()));
        let is_deducted = || case.waiting.iter().any(|message| message.waiting_key == lock.order_id.as_str());
        let has_an_end = if lock.secured { is_deducted() } else { lapses };
        if !has_an_end {
            return Err(format!("I8: {lock_id} holds {} tickets for ever", lock.quantity));
        }
    }
    Ok(())
}

fn sum(one: Money, other: Money) -> Result<Money, String> {
    one.checked_add(other).ok_or_else(|| "I6: an amount beyond what an amount can be".to_owned())
}
