use axum::http::StatusCode;
use domain::{Money, OrderId, PaymentId};
use processors::provider::{
    CallbackStatus, HttpProvider, HttpProviderConfig, PaymentCallback, PaymentProvider, PaymentRequest, ProviderError,
    ProviderStatus,
};
use processors::sandbox::{self, Sandbox, SandboxConfig};
use sqlx::PgPool;
use standardwebhooks::Webhook;

use crate::receiver::{Receiver, serve};
use crate::support::{SECRET, install_crypto, migrated_pool};

const API_KEY: &str = "sandbox-key";

#[tokio::test]
async fn a_payment_is_settled_and_called_back_signed() {
    let bank = Bank::open().await;
    let payment = payment("PAY202312250001", "ALIPAY");
    let started = bank.provider.start(&payment).await.unwrap();
    assert_eq!(started.status, ProviderStatus::Pending);
    bank.settle(1).await;

    let calls = bank.receiver.calls();
    assert_eq!(calls.len(), 1);
    Webhook::new(SECRET).unwrap().verify(&calls[0].body, &calls[0].headers).unwrap();
    let text = String::from_utf8(calls[0].body.to_vec()).unwrap();
    assert!(text.contains("\"amount\":299.00"), "{text}");
    let callback: PaymentCallback = serde_json::from_slice(&calls[0].body).unwrap();
    assert_eq!(callback.status, CallbackStatus::Succeeded);
    assert_eq!(callback.order_id, payment.order_id);
    assert_eq!(callback.provider_reference, started.provider_reference);
    let asked = bank.provider.query(&payment.payment_id).await.unwrap();
    assert_eq!(asked.status, ProviderStatus::Succeeded);
    assert_eq!((asked.amount, asked.paid_time), (Some(payment.amount), Some(callback.paid_time)));
}

#[tokio::test]
async fn the_method_chooses_the_outcome() {
    let bank = Bank::open().await;
    let declined = payment("PAY202312250001", sandbox::DECLINE);
    let silent = payment("PAY202312250002", sandbox::SILENT);
    bank.provider.start(&declined).await.unwrap();
    bank.provider.start(&silent).await.unwrap();
    bank.settle(1).await;

    let callback: PaymentCallback = serde_json::from_slice(&bank.receiver.calls()[0].body).unwrap();
    assert_eq!((callback.payment_id, callback.status), (declined.payment_id, CallbackStatus::Failed));
    assert_eq!(bank.provider.query(&silent.payment_id).await.unwrap().status, ProviderStatus::Pending);
    assert_eq!(bank.owed().await, 0);
}

#[tokio::test]
async fn a_payment_started_twice_is_one_payment() {
    let bank = Bank::open().await;
    let payment = payment("PAY202312250001", "ALIPAY");
    let first = bank.provider.start(&payment).await.unwrap();
    assert_eq!(bank.provider.start(&payment).await.unwrap(), first);
    let other = PaymentRequest { amount: Money::parse("1.00").unwrap(), ..payment };
    let refused = bank.provider.start(&other).await;
    assert!(matches!(refused, Err(ProviderError::Refused { status: 409, .. })), "{refused:?}");
    bank.settle(1).await;
    assert_eq!(bank.receiver.calls().len(), 1);
}

#[tokio::test]
async fn a_callback_is_repeated_with_one_id_until_it_is_answered() {
    let bank = Bank::open().await;
    bank.receiver.answer_with([StatusCode::SERVICE_UNAVAILABLE, StatusCode::NO_CONTENT]);
    bank.provider.start(&payment("PAY202312250001", "ALIPAY")).await.unwrap();
    bank.settle(2).await;
    let calls = bank.receiver.calls();
    assert_eq!(calls[0].headers["webhook-id"], calls[1].headers["webhook-id"]);
    assert_eq!(calls[0].body, calls[1].body);
    assert_eq!(bank.owed().await, 0);
}

#[tokio::test]
async fn a_callback_that_is_refused_for_good_is_not_repeated() {
    let bank = Bank::open().await;
    bank.receiver.answer_with([StatusCode::UNPROCESSABLE_ENTITY]);
    bank.provider.start(&payment("PAY202312250001", "ALIPAY")).await.unwrap();
    bank.settle(1).await;
    assert_eq!(bank.owed().await, 0);
}

#[tokio::test]
async fn a_sandbox_that_died_owes_its_callbacks_still() {
    let bank = Bank::open().await;
    bank.provider.start(&payment("PAY202312250001", "ALIPAY")).await.unwrap();
    // Another process on the same books; the first is as good as dead, it never steps.
    let successor = Sandbox::new(bank.pool.clone(), bank.config.clone()).unwrap();
    settle(&successor, &bank.receiver, 1).await;
    assert_eq!(bank.owed().await, 0);
}

#[tokio::test]
async fn captured_money_is_refunded_once() {
    let bank = Bank::open().await;
    let payment = payment("PAY202312250001", "ALIPAY");
    bank.provider.start(&payment).await.unwrap();
    let too_early = bank.provider.refund(&payment.payment_id, payment.amount).await;
    assert!(matches!(too_early, Err(ProviderError::Refused { status: 409, .. })), "{too_early:?}");
    bank.settle(1).await;
    let refund = bank.provider.refund(&payment.payment_id, payment.amount).await.unwrap();
    assert_eq!(refund.amount, payment.amount);
    assert_eq!(bank.provider.refund(&payment.payment_id, payment.amount).await.unwrap(), refund);
    let unknown = PaymentId::parse("PAY202312259999").unwrap();
    let refused = bank.provider.refund(&unknown, payment.amount).await;
    assert!(matches!(refused, Err(ProviderError::Refused { status: 404, .. })), "{refused:?}");
}

#[tokio::test]
async fn nobody_but_the_shop_may_use_the_sandbox() {
    let bank = Bank::open().await;
    let stranger = HttpProvider::new(HttpProviderConfig::new(bank.payments_url.clone(), "guess")).unwrap();
    let refused = stranger.start(&payment("PAY202312250001", "ALIPAY")).await;
    assert!(matches!(refused, Err(ProviderError::Refused { status: 401, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_unavailable() {
    let closed_port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    install_crypto();
    let config = HttpProviderConfig {
        max_attempts: 2,
        retry_pause_ms: 1,
        ..HttpProviderConfig::new(format!("http://{closed_port}/sandbox/v1/payments"), API_KEY)
    };
    let failed = HttpProvider::new(config).unwrap().start(&payment("PAY202312250001", "ALIPAY")).await;
    assert!(matches!(failed, Err(ProviderError::Unavailable(_))), "{failed:?}");
}

/// The sandbox behind a real port, and somebody to call back.
struct Bank {
    pool: PgPool,
    provider: HttpProvider,
    payments_url: String,
    sandbox: Sandbox,
    config: SandboxConfig,
    receiver: Receiver,
}

impl Bank {
    async fn open() -> Self {
        install_crypto();
        let pool = migrated_pool().await;
        let receiver = Receiver::default();
        let callback_url = format!("{}/v1/payments/callback", serve(receiver.router("/v1/payments/callback")).await);
        let config = SandboxConfig { settle_delay_ms: 1, ..SandboxConfig::new(callback_url, SECRET, API_KEY) };
        let sandbox = Sandbox::new(pool.clone(), config.clone()).unwrap();
        let payments_url = format!("{}/sandbox/v1/payments", serve(sandbox::router(sandbox.clone())).await);
        let provider = HttpProvider::new(HttpProviderConfig::new(payments_url.clone(), API_KEY)).unwrap();
        Self { pool, provider, payments_url, sandbox, config, receiver }
    }

    /// Steps until that many callbacks have arrived.
    async fn settle(&self, callbacks: usize) {
        settle(&self.sandbox, &self.receiver, callbacks).await;
    }

    async fn owed(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM processing.sandbox_payment WHERE callback_due_at IS NOT NULL")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }
}

async fn settle(sandbox: &Sandbox, receiver: &Receiver, callbacks: usize) {
    let mut polling = tokio::time::interval(std::time::Duration::from_millis(5));
    while receiver.calls().len() < callbacks {
        polling.tick().await;
        sandbox.step().await.unwrap();
    }
}

fn payment(payment_id: &str, payment_method: &str) -> PaymentRequest {
    PaymentRequest {
        payment_id: PaymentId::parse(payment_id).unwrap(),
        order_id: OrderId::parse("ORD202312250001").unwrap(),
        amount: Money::parse("299.00").unwrap(),
        payment_method: payment_method.to_owned(),
    }
}
