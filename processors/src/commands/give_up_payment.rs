use std::future::Future;

use domain::{Order, Payment};
use event_store::{CommandError, Committed, Ledger};

use super::effects::{clear_payment_query, fail_payment};
use super::payment_key::PaymentKey;
use super::{Origin, measured};

/// Why a payment failed of which the provider never said how it ended.
pub const PROVIDER_SILENT: &str = "provider_silent";

/// Waits no longer for the provider: the payment has failed and its order may be paid anew. A capture that is reported
/// after all still is one. A payment that was settled meanwhile only loses its deadline.
pub fn give_up_payment(
    ledger: &Ledger,
    origin: Origin,
    key: PaymentKey,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    let mode = origin.mode();
    let command = origin.command().read::<Payment>(key.payment_id.as_str()).read::<Order>(key.order_id.as_str());
    let giving_up = ledger.submit(command, move |uow| {
        clear_payment_query(uow, &key);
        fail_payment(uow, &key, PROVIDER_SILENT).map(drop)
    });
    measured("give_up_payment", mode, giving_up)
}
