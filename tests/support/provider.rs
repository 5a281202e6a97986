//! What a payment provider reports, signed with the instance's secret.

use serde_json::{Value, json};
use standardwebhooks::Webhook;
use uuid::Uuid;

use super::Instance;

/// Reports the outcome of a payment, as `{paymentId, orderId, amount}` tell it; gives the answer's status.
pub async fn callback(instance: &Instance, payment: &Value, status: &str) -> u16 {
    let info = instance.info();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let body = json!({
        "paymentId": payment["paymentId"],
        "orderId": payment["orderId"],
        "status": status,
        "amount": payment["amount"],
        "providerReference": "provider-1",
        "paidTime": now.as_millis() as u64,
    })
    .to_string();
    let (id, timestamp_s) = (format!("msg_{}", Uuid::new_v4().simple()), now.as_secs() as i64);
    let webhook = Webhook::new(info["payment_callback_secret"].as_str().unwrap()).unwrap();
    let signature = webhook.sign(&id, timestamp_s, body.as_bytes()).unwrap();
    let url = format!("{}/v1/payments/callback", info["http"].as_str().unwrap());
    for _ in 0..100 {
        let request = reqwest::Client::new()
            .post(&url)
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp_s.to_string())
            .header("webhook-signature", &signature)
            .body(body.clone());
        match request.send().await.map(|answer| answer.status().as_u16()) {
            // As a provider does that means it.
            Ok(429 | 503) | Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            Ok(status) => return status,
        }
    }
    panic!("the callback of {payment} was not answered");
}
