//! I6: what was captured and not given back is the value of the orders that have or await their tickets, and of the
//! captures on their way back. Judged order by order, so that one error can't hide another.

use std::collections::HashMap;

use domain::{Decider, OrderId, OrderStatus, Payment, PaymentEvent};
use event_store::read;
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgPool};

use super::{Findings, Violation, fold_streams};
use crate::ProjectionError;
use crate::ledger::{self, RANGE};
use crate::orders::OrderView;

/// Folds every order and payment up to the head as it is now.
pub async fn money(pool: &PgPool) -> Result<Vec<Violation>, ProjectionError> {
    let mut connection = pool.acquire().await?;
    let head = read::head(&mut *connection).await?;
    let mut findings = Findings::of("I6");
    let orders = fold_streams::<OrderView>(&mut connection, head, &mut findings, |_, _, _| {}).await?;
    let mut money = payments(&mut connection, head, &mut findings).await?;
    for order in orders.values() {
        let received = money.remove(&order.order_id).unwrap_or_default();
        if let Some(message) = received.judge(order) {
            findings.add(message);
        }
    }
    for (order_id, _) in money {
        findings.add(format!("payments for order {order_id}, which was never placed"));
    }
    Ok(findings.into_violations())
}

/// The money of one order, all its payments together.
#[derive(Debug, Default)]
struct OrderMoney {
    captured: Decimal,
    refunded: Decimal,
    /// Captured, and on its way back.
    refunding: Decimal,
}

impl OrderMoney {
    fn judge(&self, order: &OrderView) -> Option<String> {
        let held = match order.status {
            OrderStatus::Paid | OrderStatus::Confirmed => order.total_amount.as_decimal(),
            // All of a refunding order's money is among the captures on their way back.
            _ => Decimal::ZERO,
        };
        let Self { captured, refunded, refunding } = self;
        let stuck = order.status == OrderStatus::Refunding && refunding.is_zero();
        (stuck || captured - refunded != held + refunding).then(|| {
            format!(
                "order {} is {} over {}: captured {captured}, refunded {refunded}, being refunded {refunding}",
                order.order_id, order.status, order.total_amount
            )
        })
    }
}

async fn payments(
    connection: &mut PgConnection,
    head: i64,
    findings: &mut Findings,
) -> Result<HashMap<OrderId, OrderMoney>, ProjectionError> {
    let mut money: HashMap<OrderId, OrderMoney> = HashMap::new();
    let mut orders: HashMap<String, OrderId> = HashMap::new();
    let mut position = 0;
    while position < head {
        let upto = head.min(position + RANGE);
        for recorded in ledger::category_range(connection, Payment::CATEGORY, position, upto).await? {
            let event = match recorded.decode::<Payment>() {
                Ok(event) => event,
                Err(error) => {
                    findings.add(format!("event {}: {error}", recorded.position));
                    continue;
                }
            };
            if let PaymentEvent::PaymentRequested { order_id, .. } = &event {
                orders.insert(recorded.stream_id.clone(), order_id.clone());
            }
            match orders.get(&recorded.stream_id) {
                Some(order_id) => money.entry(order_id.clone()).or_default().apply(&event),
                None => findings.add(format!("{} does not begin with a request", recorded.stream_id)),
            }
        }
        position = upto;
    }
    Ok(money)
}

impl OrderMoney {
    fn apply(&mut self, event: &PaymentEvent) {
        match event {
            PaymentEvent::PaymentRequested { .. } | PaymentEvent::PaymentFailed { .. } => {}
            PaymentEvent::PaymentCaptured { amount, .. } => self.captured += amount.as_decimal(),
            PaymentEvent::RefundStarted { amount, .. } => self.refunding += amount.as_decimal(),
            PaymentEvent::RefundCompleted { amount, .. } => {
                self.refunding -= amount.as_decimal();
                self.refunded += amount.as_decimal();
            }
        }
    }
}
