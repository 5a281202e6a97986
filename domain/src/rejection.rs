use crate::fulfilment::FulfilmentRejection;
use crate::notification::NotificationRejection;
use crate::order::OrderRejection;
use crate::payment::PaymentRejection;
use crate::stock::StockRejection;

/// A command that the rules refuse: nothing was decided, nothing is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error(transparent)]
    Stock(#[from] StockRejection),
    #[error(transparent)]
    Order(#[from] OrderRejection),
    #[error(transparent)]
    Payment(#[from] PaymentRejection),
    #[error(transparent)]
    Fulfilment(#[from] FulfilmentRejection),
    #[error(transparent)]
    Notification(#[from] NotificationRejection),
}

impl Rejection {
    /// A stable name of the rule, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Stock(rejection) => rejection.code(),
            Self::Order(rejection) => rejection.code(),
            Self::Payment(rejection) => rejection.code(),
            Self::Fulfilment(rejection) => rejection.code(),
            Self::Notification(rejection) => rejection.code(),
        }
    }
}
