//! The callbackUrl of a payment is told how it ended: signed, until it has heard, and nobody else.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use domain::{OrderId, OrderStatus, PaymentId};
use processors::Policy;
use processors::payment_result::{AllowedHosts, PublicNames, ResultSender, ResultSenderConfig, forget_older_than};
use processors::provider::CallbackStatus::{self, Failed, Succeeded};
use processors::provider::PaymentCallback;
use reqwest::Certificate;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::ServerConfig;
use standardwebhooks::Webhook;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::receiver::{Call, Receiver};
use crate::support::{SECRET, Shop, install_crypto};

const HOST: &str = "merchant.example";
const RESULT: &str = "payment_result";

/// A merchant who wants to be told, behind real TLS.
struct Merchant {
    shop: Shop,
    receiver: Receiver,
    address: String,
}

impl Merchant {
    async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    async fn open_with(change: impl FnOnce(&mut ResultSenderConfig)) -> Self {
        install_crypto();
        let receiver = Receiver::default();
        let (port, root) = serve_tls(receiver.router("/paid")).await;
        let mut config = ResultSenderConfig {
            hosts: AllowedHosts::parse(&[format!("{HOST}:{port}")]).unwrap(),
            request_timeout_ms: 2_000,
            trusted_roots: vec![root],
            ..ResultSenderConfig::new(SECRET)
        };
        change(&mut config);
        let sender = ResultSender::new(config, Arc::new(ThisMachine)).unwrap();
        let shop = Shop::open_telling(10, Policy::default(), sender).await;
        Self { shop, receiver, address: format!("https://{HOST}:{port}/paid") }
    }

    async fn pay(&mut self) -> (OrderId, PaymentId) {
        let order_id = self.shop.place_and_lock(1).await;
        let payment_id = self.shop.pay_telling(&order_id, Some(&self.address)).await.unwrap();
        (order_id, payment_id)
    }

    async fn settled(&mut self, status: CallbackStatus) -> (OrderId, PaymentId) {
        let (order_id, payment_id) = self.pay().await;
        self.shop.call_back(&order_id, &payment_id, status).await.unwrap();
        (order_id, payment_id)
    }

    /// State, attempts, last error of the only result.
    async fn record(&self) -> (String, i32, Option<String>) {
        sqlx::query_as("SELECT state, attempts, last_error FROM processing.payment_result")
            .fetch_one(&self.shop.pool)
            .await
            .unwrap()
    }
}

fn told(call: &Call) -> PaymentCallback {
    Webhook::new(SECRET).unwrap().verify(&call.body, &call.headers).unwrap();
    serde_json::from_slice(&call.body).unwrap()
}

#[tokio::test]
async fn a_capture_is_told_signed_and_in_the_form_of_the_providers_callback() {
    let mut merchant = Merchant::open().await;
    let (order_id, payment_id) = merchant.settled(Succeeded).await;
    merchant.shop.act_on_deadlines().await;

    let calls = merchant.receiver.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(told(&calls[0]), merchant.shop.callback(&order_id, &payment_id, Succeeded).await);
    assert!(String::from_utf8_lossy(&calls[0].body).contains("\"amount\":149.50"));
    assert_eq!(merchant.shop.deadlines(RESULT).await, 0);
    assert_eq!(merchant.record().await, ("delivered".to_owned(), 1, None));
}

#[tokio::test]
async fn a_decline_and_a_provider_given_up_are_told_too() {
    let mut merchant = Merchant::open().await;
    let (_, declined) = merchant.settled(Failed).await;
    merchant.shop.act_on_deadlines().await;
    let calls = merchant.receiver.calls();
    let result = told(&calls[0]);
    assert_eq!((result.payment_id, result.status), (declined, Failed));

    let (order_id, silent) = merchant.pay().await;
    let origin = processors::commands::Origin::default();
    let key = processors::commands::PaymentKey { order_id, payment_id: silent.clone() };
    processors::commands::give_up_payment(&merchant.shop.ledger, origin, key).await.unwrap();
    merchant.shop.act_on_deadlines().await;
    let result = told(&merchant.receiver.calls()[1]);
    assert_eq!((result.payment_id, result.status), (silent, Failed));
}

#[tokio::test]
async fn who_does_not_answer_well_is_told_again_under_the_same_id_until_they_do() {
    let mut merchant = Merchant::open().await;
    merchant.receiver.answer_with([StatusCode::INTERNAL_SERVER_ERROR, StatusCode::NOT_FOUND]);
    merchant.settled(Succeeded).await;
    merchant.shop.act_on_deadlines().await;
    let error = Some("answered with status 500 Internal Server Error".to_owned());
    assert_eq!(merchant.record().await, ("trying".to_owned(), 1, error));
    assert_eq!(merchant.shop.deadlines(RESULT).await, 1);
    merchant.shop.let_time_pass(RESULT).await;
    merchant.shop.let_time_pass(RESULT).await;

    let calls = merchant.receiver.calls();
    assert_eq!(calls.len(), 3);
    for call in &calls {
        assert_eq!(told(call), told(&calls[0]));
        assert_eq!(call.headers["webhook-id"], calls[0].headers["webhook-id"]);
    }
    assert_eq!(merchant.record().await, ("delivered".to_owned(), 3, None));
    assert_eq!(merchant.shop.deadlines(RESULT).await, 0);
}

#[tokio::test]
async fn after_so_many_attempts_it_is_given_up_and_an_operator_sees_why() {
    let mut merchant = Merchant::open_with(|config| config.max_attempts = 2).await;
    merchant.receiver.answer_with([StatusCode::BAD_GATEWAY; 9]);
    let (order_id, _) = merchant.settled(Succeeded).await;
    merchant.shop.let_time_pass(RESULT).await;
    merchant.shop.let_time_pass(RESULT).await;
    assert_eq!(merchant.receiver.calls().len(), 2);
    let error = Some("answered with status 502 Bad Gateway".to_owned());
    assert_eq!(merchant.record().await, ("given_up".to_owned(), 2, error));
    assert_eq!(merchant.shop.deadlines(RESULT).await, 0);
    assert_eq!(merchant.shop.status(&order_id).await, OrderStatus::Paid, "the order does not care");
}

#[tokio::test]
async fn who_says_that_they_are_gone_is_not_told_again() {
    let mut merchant = Merchant::open().await;
    merchant.receiver.answer_with([StatusCode::GONE]);
    merchant.settled(Succeeded).await;
    merchant.shop.act_on_deadlines().await;
    assert_eq!(merchant.record().await.0, "given_up");
    assert_eq!(merchant.shop.deadlines(RESULT).await, 0);
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let mut merchant = Merchant::open().await;
    let elsewhere = (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, merchant.address.clone())]);
    merchant.receiver.answer_with([elsewhere]);
    merchant.settled(Succeeded).await;
    merchant.shop.act_on_deadlines().await;
    assert_eq!(merchant.receiver.calls().len(), 1);
    let error = Some("answered with status 307 Temporary Redirect".to_owned());
    assert_eq!(merchant.record().await, ("trying".to_owned(), 1, error));
}

#[tokio::test]
async fn an_answer_without_end_keeps_nobody() {
    let mut merchant = Merchant::open().await;
    let endless = futures_util::stream::repeat_with(|| Ok::<_, io::Error>(vec![b'x'; 65_536]));
    merchant.receiver.answer_with([Response::new(axum::body::Body::from_stream(endless)).into_response()]);
    merchant.settled(Succeeded).await;
    let telling = merchant.shop.act_on_deadlines();
    tokio::time::timeout(Duration::from_secs(20), telling).await.expect("the body is not read");
    assert_eq!(merchant.record().await.0, "delivered");
}

#[tokio::test]
async fn a_capture_after_a_failure_takes_the_place_of_the_failure() {
    let mut merchant = Merchant::open().await;
    let (order_id, payment_id) = merchant.settled(Failed).await;
    merchant.shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
    merchant.shop.act_on_deadlines().await;
    let results: Vec<CallbackStatus> = merchant.receiver.calls().iter().map(|call| told(call).status).collect();
    assert_eq!(results, [Succeeded]);
    assert_eq!(merchant.shop.deadlines(RESULT).await, 0);
}

#[tokio::test]
async fn nothing_is_sent_to_a_host_that_is_not_allowed_any_more() {
    let mut merchant = Merchant::open_with(|config| config.hosts = AllowedHosts::default()).await;
    merchant.settled(Succeeded).await;
    merchant.shop.act_on_deadlines().await;
    assert!(merchant.receiver.calls().is_empty());
    let error = Some("the address's host is not one of the configuration's".to_owned());
    assert_eq!(merchant.record().await, ("given_up".to_owned(), 1, error));
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_called() {
    let receiver = Receiver::default();
    install_crypto();
    let (port, root) = serve_tls(receiver.router("/paid")).await;
    let config = ResultSenderConfig {
        hosts: AllowedHosts::parse(&[format!("localhost:{port}")]).unwrap(),
        trusted_roots: vec![root],
        ..ResultSenderConfig::new(SECRET)
    };
    let sender = ResultSender::new(config, Arc::new(PublicNames)).unwrap();
    let shop = Shop::open_telling(10, Policy::default(), sender).await;
    let mut merchant = Merchant { shop, receiver, address: format!("https://localhost:{port}/paid") };
    merchant.settled(Succeeded).await;
    merchant.shop.act_on_deadlines().await;
    assert!(merchant.receiver.calls().is_empty());
    let (state, _, error) = merchant.record().await;
    assert_eq!(state, "trying");
    assert!(error.as_ref().is_some_and(|error| error.contains("does not lead to a public address")), "{error:?}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_not_trusted() {
    let mut merchant = Merchant::open_with(|config| config.trusted_roots.clear()).await;
    merchant.settled(Succeeded).await;
    merchant.shop.act_on_deadlines().await;
    assert!(merchant.receiver.calls().is_empty());
    assert_eq!(merchant.record().await.0, "trying");
}

#[tokio::test]
async fn nobody_is_told_who_did_not_ask() {
    let mut shop = Shop::open(10).await;
    let order_id = shop.place_and_lock(1).await;
    let payment_id = shop.pay(&order_id).await.unwrap();
    shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
    assert_eq!(shop.deadlines(RESULT).await, 0);
}

#[tokio::test]
async fn records_are_forgotten_once_they_are_old_and_done_with() {
    let mut merchant = Merchant::open().await;
    merchant.settled(Succeeded).await;
    merchant.shop.act_on_deadlines().await;
    let pool = &merchant.shop.pool;
    assert_eq!(forget_older_than(pool, Duration::from_secs(60), 10).await.unwrap(), 0);
    assert_eq!(forget_older_than(pool, Duration::ZERO, 10).await.unwrap(), 1);
}

/// Every name is this machine's: what the real resolver refuses.
struct ThisMachine;

impl Resolve for ThisMachine {
    fn resolve(&self, _: Name) -> Resolving {
        let here = [SocketAddr::from(([127, 0, 0, 1], 0))];
        Box::pin(async move { Ok(Box::new(here.into_iter()) as Addrs) })
    }
}

/// Serves on a free port behind a certificate of our own; the port, and what to trust.
async fn serve_tls(router: axum::Router) -> (u16, Certificate) {
    let names = [HOST.to_owned(), "localhost".to_owned()];
    let signed = rcgen::generate_simple_self_signed(names).unwrap();
    let root = Certificate::from_der(signed.cert.der()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![signed.cert.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let listener = TlsListener { listener, acceptor: TlsAcceptor::from(Arc::new(config)) };
    tokio::spawn(async move { axum::serve(listener, router).await });
    (port, root)
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            // Who does not trust us hangs up during the handshake.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
