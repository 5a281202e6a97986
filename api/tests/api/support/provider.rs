use std::sync::Mutex;

use async_trait::async_trait;
use domain::{Money, PaymentId};
use event_store::Ledger;
use processors::Policy;
use processors::commands::{Origin, settle_payment};
use processors::provider::{
    CallbackStatus, PaymentCallback, PaymentProvider, PaymentRequest, ProviderError, ProviderPayment, ProviderRefund,
    ProviderStatus,
};

/// What the provider makes of payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settling {
    /// It calls back before it answers.
    AtOnce(CallbackStatus),
    /// It never calls back.
    Never,
    /// It cannot be reached.
    Away,
}

/// A provider that does what a test wants.
pub struct TestProvider {
    ledger: Ledger,
    settling: Mutex<Settling>,
    started: Mutex<Vec<PaymentId>>,
}

impl TestProvider {
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger, settling: Mutex::new(Settling::Never), started: Mutex::default() }
    }

    pub fn settle(&self, settling: Settling) {
        *self.settling.lock().unwrap() = settling;
    }

    /// The payments it was asked for.
    pub fn started(&self) -> Vec<PaymentId> {
        self.started.lock().unwrap().clone()
    }

    async fn call_back(&self, payment: &PaymentRequest, status: CallbackStatus) {
        let callback = PaymentCallback {
            payment_id: payment.payment_id.clone(),
            order_id: payment.order_id.clone(),
            status,
            amount: payment.amount,
            provider_reference: "test".to_owned(),
            paid_time: 1_701_388_800_000,
        };
        settle_payment(&self.ledger, &Policy::default(), Origin::default(), callback).await.unwrap();
    }
}

#[async_trait]
impl PaymentProvider for TestProvider {
    async fn start(&self, payment: &PaymentRequest) -> Result<ProviderPayment, ProviderError> {
        let settling = *self.settling.lock().unwrap();
        match settling {
            Settling::Away => return Err(ProviderError::Unavailable("out for lunch".to_owned())),
            Settling::AtOnce(status) => self.call_back(payment, status).await,
            Settling::Never => {}
        }
        self.started.lock().unwrap().push(payment.payment_id.clone());
        self.query(&payment.payment_id).await
    }

    async fn query(&self, payment_id: &PaymentId) -> Result<ProviderPayment, ProviderError> {
        let provider_reference = "test".to_owned();
        Ok(ProviderPayment {
            payment_id: payment_id.clone(),
            status: ProviderStatus::Pending,
            provider_reference,
            amount: None,
            paid_time: None,
        })
    }

    async fn refund(&self, payment_id: &PaymentId, amount: Money) -> Result<ProviderRefund, ProviderError> {
        let provider_reference = "test".to_owned();
        Ok(ProviderRefund { payment_id: payment_id.clone(), amount, provider_reference })
    }
}
