//! I2: per ticket type, available + locked + sold = capacity and none negative, after every single event; and what is
//! sold is what confirmed orders hold.

use std::collections::HashMap;

use domain::{OrderStatus, TicketTypeId};
use event_store::read;
use sqlx::PgPool;

use super::{Findings, Violation, fold_streams};
use crate::ProjectionError;
use crate::orders::OrderView;
use crate::stock::StockView;

/// Folds every stock and order stream up to the head as it is now.
pub async fn stock(pool: &PgPool) -> Result<Vec<Violation>, ProjectionError> {
    let mut connection = pool.acquire().await?;
    let head = read::head(&mut *connection).await?;
    let mut findings = Findings::of("I2");
    let stocks = fold_streams(&mut connection, head, &mut findings, check_counts).await?;
    let orders = fold_streams::<OrderView>(&mut connection, head, &mut findings, |_, _, _| {}).await?;

    let mut confirmed: HashMap<TicketTypeId, i64> = HashMap::new();
    for order in orders.values().filter(|order| order.status == OrderStatus::Confirmed) {
        *confirmed.entry(order.ticket_type_id).or_default() += i64::from(order.quantity.get());
    }
    for stock in stocks.values() {
        let confirmed = confirmed.remove(&stock.ticket_type_id).unwrap_or_default();
        if stock.sold != confirmed {
            findings.add(format!(
                "ticket type {}: {} sold, confirmed orders hold {confirmed}",
                stock.ticket_type_id, stock.sold
            ));
        }
    }
    for (ticket_type_id, confirmed) in confirmed {
        findings.add(format!("ticket type {ticket_type_id}: no stock, confirmed orders hold {confirmed}"));
    }
    Ok(findings.into_violations())
}

fn check_counts(stock: &StockView, position: i64, findings: &mut Findings) {
    let StockView { ticket_type_id, capacity, available, locked, sold, .. } = stock;
    let negative = [capacity, available, locked, sold].iter().any(|count| **count < 0);
    if negative || available + locked + sold != *capacity {
        findings.add(format!(
            "ticket type {ticket_type_id} after event {position}: \
             available {available} + locked {locked} + sold {sold} against capacity {capacity}"
        ));
    }
}
