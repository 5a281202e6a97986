use domain::{Money, ShowId, Stock, StockCommand, StockRejection, TicketTypeId};
use event_store::{Committed, Ledger, Refusal, UnitOfWork};
use serde::{Deserialize, Serialize};

use super::effects::change_stock;
use super::{Origin, UseCaseError, answer, measured};

/// A new kind of ticket.
#[derive(Debug, Clone)]
pub struct PutOnSale {
    pub ticket_type_id: TicketTypeId,
    pub show_id: ShowId,
    pub name: String,
    pub price: Money,
    pub capacity: u32,
}

/// Stock as a command left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StockLevels {
    pub ticket_type_id: TicketTypeId,
    pub show_id: ShowId,
    pub name: String,
    pub price: Money,
    pub capacity: u32,
    pub available: u32,
    pub locked: u32,
    pub sold: u32,
    pub version: u64,
}

/// Puts a kind of ticket on sale. Once this has answered, every process can sell it.
pub async fn put_ticket_type_on_sale(
    ledger: &Ledger,
    origin: Origin,
    request: PutOnSale,
) -> Result<Committed<StockLevels>, UseCaseError> {
    let mode = origin.mode();
    let command = origin.command().begin::<Stock>(&request.ticket_type_id.to_string());
    let putting = ledger.submit(command, move |uow| {
        let put = StockCommand::PutOnSale {
            ticket_type_id: request.ticket_type_id,
            show_id: request.show_id,
            name: request.name.clone(),
            price: request.price,
            capacity: request.capacity,
        };
        change_stock(uow, request.ticket_type_id, put)?;
        answer_with_levels(uow, request.ticket_type_id)
    });
    Ok(measured("put_ticket_type_on_sale", mode, putting).await?)
}

/// Adds tickets to a stock, or withdraws some that nobody has.
pub async fn change_capacity(
    ledger: &Ledger,
    origin: Origin,
    ticket_type_id: TicketTypeId,
    delta: i64,
) -> Result<Committed<StockLevels>, UseCaseError> {
    let mode = origin.mode();
    let command = origin.command().cached::<Stock>(&ticket_type_id.to_string());
    let changing = ledger.submit(command, move |uow| {
        change_stock(uow, ticket_type_id, StockCommand::ChangeCapacity { delta })?;
        answer_with_levels(uow, ticket_type_id)
    });
    Ok(measured("change_capacity", mode, changing).await?)
}

fn answer_with_levels(uow: &mut UnitOfWork<'_>, ticket_type_id: TicketTypeId) -> Result<StockLevels, Refusal> {
    let id = ticket_type_id.to_string();
    let version = uow.version::<Stock>(&id)?;
    let stock = uow.state::<Stock>(&id)?;
    let on_sale = stock.on_sale.as_ref().ok_or(StockRejection::NotOnSale)?;
    let levels = StockLevels {
        ticket_type_id,
        show_id: on_sale.show_id,
        name: on_sale.name.clone(),
        price: on_sale.price,
        capacity: stock.capacity,
        available: stock.available,
        locked: stock.locked,
        sold: stock.sold,
        version,
    };
    answer(uow, &levels)?;
    Ok(levels)
}
