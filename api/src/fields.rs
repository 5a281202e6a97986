//! Rules that fields of several calls share.

use domain::{OrderId, PaymentId, ShowId, TicketTypeId, UserId};

use crate::extract::PathSegment;
use crate::problem::Problem;

/// A user id above 0.
pub(crate) fn user_id(number: i64) -> Result<UserId, Problem> {
    UserId::new(number).map_err(|error| Problem::invalid_value("userId", error.to_string()))
}

/// A show id above 0.
pub(crate) fn show_id(number: i64) -> Result<ShowId, Problem> {
    ShowId::new(number).map_err(|error| Problem::invalid_value("showId", error.to_string()))
}

/// A ticket type id above 0.
pub(crate) fn ticket_type_id(number: i64) -> Result<TicketTypeId, Problem> {
    TicketTypeId::new(number).map_err(|error| Problem::invalid_value("ticketTypeId", error.to_string()))
}

/// One line of text for people, without what a terminal, a log or Postgres would trip over.
pub(crate) fn line(field: &'static str, text: String, max_chars: usize) -> Result<String, Problem> {
    let length = text.chars().count();
    if text.trim().is_empty() || length > max_chars {
        return Err(Problem::invalid_value(field, format!("1 to {max_chars} characters, not only spaces")));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::invalid_value(field, "no control characters"));
    }
    Ok(text)
}

impl PathSegment for UserId {
    fn read(segment: &str) -> Result<Self, Problem> {
        Self::parse(segment).map_err(|error| Problem::invalid_value("userId", error.to_string()))
    }
}

impl PathSegment for TicketTypeId {
    fn read(segment: &str) -> Result<Self, Problem> {
        Self::parse(segment).map_err(|error| Problem::invalid_value("ticketTypeId", error.to_string()))
    }
}

/// What does not look like an order id is no order's.
impl PathSegment for OrderId {
    fn read(segment: &str) -> Result<Self, Problem> {
        Self::parse(segment).map_err(|_| order_not_found())
    }
}

/// What does not look like a payment id is no payment's.
impl PathSegment for PaymentId {
    fn read(segment: &str) -> Result<Self, Problem> {
        Self::parse(segment).map_err(|_| payment_not_found())
    }
}

/// Also for somebody else's order: who may not see it need not learn that it exists.
pub(crate) fn order_not_found() -> Problem {
    Problem::not_found("order_not_found", "there is no such order")
}

/// Also for somebody else's payment.
pub(crate) fn payment_not_found() -> Problem {
    Problem::not_found("payment_not_found", "there is no such payment")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_something_to_read_and_nothing_to_trip_over() {
        assert!(line("name", "Stalls 内场".to_owned(), 20).is_ok());
        for wrong in ["", "   ", "a\nb", "nul \0", "longer than twenty characters"] {
            assert!(line("name", wrong.to_owned(), 20).is_err(), "{wrong:?}");
        }
    }
}
