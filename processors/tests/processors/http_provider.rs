//! The generic provider against a real server that fails, hangs, answers late, or says what it must not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use domain::{Money, OrderId, PaymentId};
use processors::provider::{
    HttpProvider, HttpProviderConfig, PaymentProvider, PaymentRequest, ProviderError, ProviderStatus,
};

use crate::receiver::serve;
use crate::support::install_crypto;

const API_KEY: &str = "provider-key";
/// Long enough for an answer on a busy machine, short enough to wait for.
const TIMEOUT_MS: u64 = 1_500;

/// What the server does with a call.
#[derive(Clone)]
enum Does {
    Answer(StatusCode, String),
    Redirect(&'static str),
    /// Takes the call and says nothing.
    Hang,
    /// Answers with a body that does not end in time.
    AnswerForever,
}

struct Asked {
    method: Method,
    path: String,
    idempotency_key: Option<String>,
    authorization: String,
}

#[derive(Clone, Default)]
struct Bank {
    script: Arc<Mutex<Vec<Does>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Bank {
    /// A bank that does this with the calls to come, and the provider that calls it.
    async fn that(script: impl IntoIterator<Item = Does>) -> (Self, HttpProvider) {
        install_crypto();
        let script: Vec<Does> = script.into_iter().collect();
        let hangs = script.iter().any(|does| matches!(does, Does::Hang | Does::AnswerForever));
        let bank = Self { script: Arc::new(Mutex::new(script)), ..Self::default() };
        let router = Router::new().fallback(answer).with_state(bank.clone());
        let config = HttpProviderConfig {
            request_timeout_ms: if hangs { TIMEOUT_MS } else { 30_000 },
            max_attempts: 3,
            retry_pause_ms: 1,
            ..HttpProviderConfig::new(format!("{}/v1/payments", serve(router).await), API_KEY)
        };
        (bank, HttpProvider::new(config).unwrap())
    }

    fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn idempotency_keys(&self) -> Vec<Option<String>> {
        self.asked.lock().unwrap().iter().map(|asked| asked.idempotency_key.clone()).collect()
    }
}

async fn answer(State(bank): State<Bank>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    bank.asked.lock().unwrap().push(Asked {
        method,
        path: uri.path().to_owned(),
        idempotency_key: text("idempotency-key"),
        authorization: text("authorization").unwrap_or_default(),
    });
    let does = bank.script.lock().unwrap().remove(0);
    match does {
        Does::Answer(status, body) => (status, body).into_response(),
        Does::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Does::Hang => std::future::pending().await,
        Does::AnswerForever => {
            let pieces = futures_util::stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Some((Ok::<_, std::io::Error>(vec![b' '; 1_024]), ()))
            });
            axum::body::Body::from_stream(pieces).into_response()
        }
    }
}

fn pending() -> Does {
    let body = r#"{"paymentId": "PAY202312250001", "status": "PENDING", "providerReference": "bank-1", "new": {}}"#;
    Does::Answer(StatusCode::OK, body.to_owned())
}

fn says(status: u16) -> Does {
    Does::Answer(StatusCode::from_u16(status).unwrap(), format!("status {status}"))
}

fn payment() -> PaymentRequest {
    PaymentRequest {
        payment_id: PaymentId::parse("PAY202312250001").unwrap(),
        order_id: OrderId::parse("ORD202312250001").unwrap(),
        amount: Money::parse("299.00").unwrap(),
        payment_method: "ALIPAY".to_owned(),
    }
}

#[tokio::test]
async fn what_means_not_now_is_repeated_under_the_same_key_until_it_is_answered() {
    for not_now in [500, 502, 503, 429, 408] {
        let (bank, provider) = Bank::that([says(not_now), says(not_now), pending()]).await;
        let started = provider.start(&payment()).await.unwrap();
        assert_eq!((started.status, started.provider_reference.as_str()), (ProviderStatus::Pending, "bank-1"));
        assert_eq!(bank.idempotency_keys(), vec![Some("PAY202312250001".to_owned()); 3], "{not_now}");
    }
}

#[tokio::test]
async fn a_call_is_made_so_often_and_no_more() {
    let (bank, provider) = Bank::that([says(503), says(503), says(503)]).await;
    let failed = provider.start(&payment()).await;
    assert!(matches!(failed, Err(ProviderError::Unavailable(_))), "{failed:?}");
    assert_eq!(bank.calls(), 3);
}

#[tokio::test]
async fn a_definite_no_is_not_repeated() {
    for no in [400, 401, 404, 409, 422] {
        let (bank, provider) = Bank::that([says(no)]).await;
        let refused = provider.query(&payment().payment_id).await;
        let Err(ProviderError::Refused { status, message }) = refused else { panic!("{refused:?}") };
        assert_eq!((status, message), (no, format!("status {no}")));
        assert_eq!(bank.calls(), 1);
    }
}

#[tokio::test]
async fn a_bank_that_hangs_is_asked_again_when_the_time_is_over() {
    let (bank, provider) = Bank::that([Does::Hang, pending()]).await;
    provider.start(&payment()).await.unwrap();
    assert_eq!(bank.calls(), 2);

    let (bank, provider) = Bank::that([Does::Hang, Does::Hang, Does::Hang]).await;
    let failed = provider.start(&payment()).await;
    assert!(matches!(failed, Err(ProviderError::Unavailable(_))), "{failed:?}");
    assert_eq!(bank.calls(), 3);
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_none() {
    let garbage = || Does::Answer(StatusCode::OK, "<html>maintenance</html>".to_owned());
    let huge = || Does::Answer(StatusCode::OK, " ".repeat(100_000));
    for unreadable in [garbage(), huge(), Does::AnswerForever] {
        let (bank, provider) = Bank::that([unreadable, pending()]).await;
        provider.query(&payment().payment_id).await.unwrap();
        assert_eq!(bank.calls(), 2);
    }
}

#[tokio::test]
async fn the_key_to_the_bank_goes_nowhere_else() {
    let (bank, provider) = Bank::that([Does::Redirect("/elsewhere")]).await;
    let refused = provider.query(&payment().payment_id).await;
    assert!(matches!(refused, Err(ProviderError::Refused { status: 302, .. })), "{refused:?}");
    let asked = bank.asked.lock().unwrap();
    assert_eq!(asked.len(), 1, "the redirect was not followed");
    assert_eq!(asked[0].authorization, format!("Bearer {API_KEY}"));
}

#[tokio::test]
async fn a_refund_has_a_key_of_its_own() {
    let refunded = r#"{"paymentId": "PAY202312250001", "amount": 299.00, "providerReference": "back-1"}"#;
    let (bank, provider) = Bank::that([says(503), Does::Answer(StatusCode::OK, refunded.to_owned())]).await;
    let refund = provider.refund(&payment().payment_id, payment().amount).await.unwrap();
    assert_eq!((refund.amount, refund.provider_reference.as_str()), (payment().amount, "back-1"));
    assert_eq!(bank.idempotency_keys(), vec![Some("refund-PAY202312250001".to_owned()); 2]);
    let asked = bank.asked.lock().unwrap();
    assert_eq!((&asked[0].method, asked[0].path.as_str()), (&Method::POST, "/v1/payments/PAY202312250001/refunds"));
}
