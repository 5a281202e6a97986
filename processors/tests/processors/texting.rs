//! Text messages, against a real HTTP server.

use domain::UserId;
use processors::senders::{HttpSmsConfig, HttpSmsSender, SendFailure, Sms, SmsSender};
use serde_json::json;

use crate::sms_provider::SmsProvider;
use crate::support::USER;

#[tokio::test]
async fn a_text_is_posted_with_its_key_and_the_providers_name_for_it_is_kept() {
    let provider = SmsProvider::open().await;
    let sent = sender(&provider).send(&sms()).await.unwrap();
    assert_eq!(sent.provider_reference, "sms-0190-sms");
    let calls = provider.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].idempotency_key, "0190-sms");
    assert_eq!(calls[0].authorization, "Bearer sms-key");
    assert_eq!(calls[0].body, json!({"to": "+8613800138000", "text": "您的门票已锁定"}));
}

#[tokio::test]
async fn a_provider_that_stumbles_is_asked_again_with_the_same_key() {
    let provider = SmsProvider::open().await;
    provider.answer_next(&[503, 429]);
    sender(&provider).send(&sms()).await.unwrap();
    let keys: Vec<String> = provider.calls().into_iter().map(|call| call.idempotency_key).collect();
    assert_eq!(keys, ["0190-sms", "0190-sms", "0190-sms"]);
    assert_eq!(provider.sent().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_final_and_does_not_name_the_phone() {
    let provider = SmsProvider::open().await;
    provider.answer_next(&[422]);
    let refused = sender(&provider).send(&sms()).await.unwrap_err();
    assert!(matches!(&refused, SendFailure::Refused(reason) if reason == "status 422"), "{refused}");
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn a_key_that_is_not_taken_refuses_no_text() {
    let provider = SmsProvider::open().await;
    provider.answer_next(&[401, 401, 401]);
    let failure = sender(&provider).send(&sms()).await.unwrap_err();
    assert!(matches!(&failure, SendFailure::Unavailable(reason) if reason == "status 401"), "{failure}");
}

#[tokio::test]
async fn a_provider_that_is_silent_or_away_is_unavailable() {
    let provider = SmsProvider::open().await;
    provider.set_silent(true);
    let silent = sender_within(&provider, 200).send(&sms()).await.unwrap_err();
    assert!(matches!(silent, SendFailure::Unavailable(_)), "{silent}");

    let nobody = HttpSmsConfig { max_attempts: 1, ..HttpSmsConfig::new("http://127.0.0.1:1/messages") };
    let away = HttpSmsSender::new(nobody).unwrap().send(&sms()).await.unwrap_err();
    assert!(matches!(&away, SendFailure::Unavailable(reason) if !reason.contains("13800138000")), "{away}");
}

fn sender(provider: &SmsProvider) -> HttpSmsSender {
    sender_within(provider, 30_000)
}

fn sender_within(provider: &SmsProvider, request_timeout_ms: u64) -> HttpSmsSender {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = HttpSmsConfig {
        api_key: Some("sms-key".to_owned()),
        request_timeout_ms,
        retry_pause_ms: 1,
        ..HttpSmsConfig::new(&provider.url)
    };
    HttpSmsSender::new(config).unwrap()
}

fn sms() -> Sms {
    Sms {
        idempotency_key: "0190-sms".to_owned(),
        user_id: UserId::new(USER).unwrap(),
        phone: "+8613800138000".to_owned(),
        body: "您的门票已锁定".to_owned(),
    }
}
