//! How what the layers below refuse is told to the caller.

use axum::http::StatusCode;
use domain::{OrderRejection, OrderStatus, PaymentRejection, Rejection, StockRejection};
use event_store::{CommandError, StoreError};
use processors::commands::UseCaseError;
use projections::ProjectionError;

use crate::problem::Problem;

impl From<UseCaseError> for Problem {
    fn from(error: UseCaseError) -> Self {
        let detail = error.to_string();
        let code = error.code();
        let of_status = |status| Self::new(status, code.unwrap_or_default(), detail);
        match error {
            UseCaseError::UnknownOrder | UseCaseError::UnknownPayment => of_status(StatusCode::NOT_FOUND),
            UseCaseError::UnknownTicketType(_) => of_status(StatusCode::NOT_FOUND).field("ticketTypeId"),
            UseCaseError::WrongOrder => of_status(StatusCode::UNPROCESSABLE_ENTITY).field("orderId"),
            UseCaseError::AmountTooLarge => of_status(StatusCode::UNPROCESSABLE_ENTITY).field("quantity"),
            UseCaseError::StockNoLongerAvailable => of_status(StatusCode::CONFLICT),
            UseCaseError::Command(error) => error.into(),
            UseCaseError::Store(error) => error.into(),
        }
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Rejected(rejection) => rejection.into(),
            CommandError::Overloaded => Self::unavailable("overloaded", "too many commands are waiting"),
            CommandError::Contended => {
                Self::unavailable("contended", "too many commands changed the same thing at once")
            }
            CommandError::Unavailable(cause) => unavailable(cause),
            // A repeat is answered where the key was declared; one that arrives here was not expected.
            CommandError::Duplicate(record) => Self::internal(format!("unexpected key in scope {}", record.scope)),
            CommandError::Invalid { constraint, message } => {
                Self::internal(format!("the database refused the data ({constraint:?}): {message}"))
            }
            CommandError::Bug(cause) => Self::internal(cause),
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let problem = Self::new(status_of(&rejection), rejection.code(), rejection.to_string());
        match &rejection {
            Rejection::Order(order) => problem.order_status(met_status(order)),
            _ => problem,
        }
    }
}

/// Most rules are about the state that was met: 409.
fn status_of(rejection: &Rejection) -> StatusCode {
    match rejection {
        Rejection::Order(OrderRejection::NotFound)
        | Rejection::Payment(PaymentRejection::NotFound)
        | Rejection::Stock(StockRejection::NotOnSale) => StatusCode::NOT_FOUND,
        Rejection::Order(OrderRejection::WrongAmount { .. })
        | Rejection::Payment(PaymentRejection::WrongAmount { .. })
        | Rejection::Stock(StockRejection::CapacityOverflow) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::CONFLICT,
    }
}

/// The status in which the order was found, as far as the rule tells.
fn met_status(rejection: &OrderRejection) -> Option<OrderStatus> {
    match rejection {
        OrderRejection::Ended { status }
        | OrderRejection::NotPaid { status }
        | OrderRejection::NotCancellable { status } => Some(*status),
        OrderRejection::NotPayableYet => Some(OrderStatus::Pending),
        OrderRejection::PaymentInProgress => Some(OrderStatus::Paying),
        _ => None,
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(cause) => database_away(cause),
            other => Self::internal(other),
        }
    }
}

impl From<ProjectionError> for Problem {
    fn from(error: ProjectionError) -> Self {
        match error {
            ProjectionError::RebuildRuns { .. } => {
                Self::new(StatusCode::CONFLICT, "rebuild_running", error.to_string())
            }
            ProjectionError::NoPreviousVersion { .. } => {
                Self::new(StatusCode::CONFLICT, "no_previous_version", error.to_string())
            }
            ProjectionError::SwapWithheld { .. } => Self::unavailable("swap_withheld", error.to_string()),
            ProjectionError::BadCursor => Self::invalid_value("after", "not a cursor of this list"),
            ProjectionError::Database(cause) => database_away(cause),
            ProjectionError::Store(cause) => cause.into(),
            other => Self::internal(other),
        }
    }
}

/// For queries: what Postgres refused is a defect of ours; all else is Postgres being away or busy.
pub(crate) fn database_away(error: sqlx::Error) -> Problem {
    match &error {
        sqlx::Error::Database(refusal) if is_our_defect(refusal.code().as_deref()) => Problem::internal(error),
        sqlx::Error::ColumnNotFound(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            Problem::internal(error)
        }
        _ => unavailable(error),
    }
}

/// Syntax, types and data (SQLSTATE 22, 23, 42): waiting won't mend them.
fn is_our_defect(sqlstate: Option<&str>) -> bool {
    sqlstate.is_some_and(|code| ["22", "23", "42"].iter().any(|class| code.starts_with(class)))
}

pub(crate) fn unavailable(cause: impl std::fmt::Display) -> Problem {
    Problem::unavailable("unavailable", "the ledger can't be reached just now").caused_by(cause)
}
