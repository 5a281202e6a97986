//! The gateway of `ops/gateway` in a real nginx: what it sends where, what it sends twice, and what it keeps out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::auth::{Role, TokenKey, mint_token};
use domain::UserId;
use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use support::gateway::{Behaviour, Gateway, StandIn};
use support::{Instance, eventually};
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(10);
const OPERATOR: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OUTSIDER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_executed_is_sent_again_only_where_that_is_harmless() {
    for (method, path, header, times_sent) in [
        (Method::GET, "/v1/orders/ORD202601010001", None, 2),
        (Method::PUT, "/v1/users/1/contact", None, 2),
        (Method::POST, "/v1/orders", Some(("idempotency-key", "k-1")), 2),
        (Method::POST, "/v1/orders/ORD202601010001/payments", Some(("idempotency-key", "k-1")), 2),
        (Method::POST, "/v1/payments/callback", Some(("webhook-id", "msg_1")), 2),
        (Method::POST, "/v1/orders", None, 1),
        (Method::POST, "/v1/orders/ORD202601010001/cancel", None, 1),
        // No key is kept for these: sent twice, they would happen twice.
        (Method::POST, "/v1/ticket-types/2001/capacity", Some(("idempotency-key", "k-1")), 1),
        (Method::POST, "/v1/orders", Some(("webhook-id", "msg_1")), 1),
    ] {
        let (first, second) = (StandIn::start("1", Behaviour::Vanish), StandIn::start("2", Behaviour::Vanish));
        let pool = format!("{} {}", first.address, second.address);
        let Some(gateway) = Gateway::start_if_available(&[("GATEWAY_POLICY", &pool)]) else { return };
        let mut request = caller(OPERATOR).request(method.clone(), gateway.url(path)).body("{}");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }

        let answer = request.send().await.unwrap();

        let sent = first.received().len() + second.received().len();
        assert_eq!(sent, times_sent, "{method} {path} with {header:?}");
        assert_problem(answer, 503, "no_answer").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_down_costs_no_request_not_even_one_that_must_not_be_repeated() {
    let (up, down) = (StandIn::start("up", Behaviour::Answer), format!("127.0.0.1:{}", support::free_port()));
    let pool = format!("{down} {}", up.address);
    let Some(gateway) = Gateway::start_if_available(&[("GATEWAY_POLICY", &pool)]) else { return };

    for _ in 0..20 {
        let answer = caller(OPERATOR).post(gateway.url("/v1/orders")).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(up.received().len(), 20, "each was sent once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_the_callers_stays_the_same_callers() {
    let Some((gateway, _instances)) = gateway_with_pools() else { return };
    assert!(gateway.switch(&["percent", "30"]));
    let users = 1..=300;

    let mut in_async = BTreeSet::new();
    for user in users.clone() {
        let today = pool_of(&gateway, &token(user, 3_600)).await;
        assert_eq!(pool_of(&gateway, &token(user, 7_200)).await, today, "a new token of user {user}");
        if today == "async" {
            in_async.insert(user);
        }
    }
    assert!((60..=120).contains(&in_async.len()), "30% of 300 are {}", in_async.len());

    assert!(gateway.switch(&["percent", "60"]));
    for user in users {
        let pool = pool_of(&gateway, &token(user, 3_600)).await;
        assert!(pool == "async" || !in_async.contains(&user), "user {user} was in at 30% and is not at 60%");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_where_it_is_sent_whatever_the_share_says() {
    let Some((gateway, _instances)) = gateway_with_pools() else { return };
    assert!(gateway.switch(&["percent", "0"]));
    assert!(gateway.switch(&["group", "beta", "async"]));

    let asked = |name: &'static str, value: &'static str| {
        let request = caller(OPERATOR).get(gateway.url("/v1/orders")).header(name, value);
        async move { request.send().await.unwrap().text().await.unwrap() }
    };
    assert_eq!(asked("x-canary-group", "beta").await, "async");
    assert_eq!(asked("cookie", "canary_group=beta").await, "async");
    assert_eq!(asked("x-canary-group", "another").await, "sync");

    assert!(gateway.switch(&["group", "beta", "none"]));
    assert_eq!(asked("x-canary-group", "beta").await, "sync");
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_is_switched_at_run_time_and_a_wrong_switch_changes_nothing() {
    let Some((gateway, _instances)) = gateway_with_pools() else { return };
    for pool in ["async", "sync", "policy"] {
        assert!(gateway.switch(&[pool]));
        assert_eq!(pool_of(&gateway, &token(1, 3_600)).await, pool);
    }
    for wrong in [
        vec!["percent", "101"],
        vec!["percent", "some"],
        vec!["group", "beta", "nowhere"],
        vec!["group", "be\";ta", "sync"],
        vec!["canary"], // has no instances
        vec![],
    ] {
        assert!(!gateway.switch(&wrong), "{wrong:?} was accepted");
    }
    assert_eq!(pool_of(&gateway, &token(1, 3_600)).await, "policy");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outsider_neither_chooses_the_mode_nor_sees_the_instances() {
    let instance = StandIn::start("policy", Behaviour::Answer);
    let Some(gateway) = Gateway::start_if_available(&[("GATEWAY_POLICY", &instance.address)]) else { return };

    for (from, mode, upstream, metrics) in
        [(OPERATOR, Some("sync"), Some(instance.address.as_str()), 200), (OUTSIDER, None, None, 404)]
    {
        let answer = caller(from).get(gateway.url("/v1/orders")).header("x-order-mode", "sync").send().await.unwrap();
        assert_eq!(header(answer.headers(), "x-upstream"), upstream);
        assert_eq!(instance.received().last().unwrap().header("x-order-mode"), mode);
        assert_eq!(caller(from).get(gateway.url("/metrics")).send().await.unwrap().status(), metrics);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_out_as_it_comes_and_a_stream_is_resumed_where_it_was() {
    let instance = StandIn::start("policy", Behaviour::Stream);
    let Some(gateway) = Gateway::start_if_available(&[("GATEWAY_POLICY", &instance.address)]) else { return };
    let updates = gateway.url("/v1/orders/ORD202601010001/updates");

    let mut answer = caller(OPERATOR).get(updates).header("last-event-id", "3").send().await.unwrap();

    assert_eq!(header(answer.headers(), "content-type"), Some("text/event-stream"));
    let first = answer.chunk().await.unwrap().expect("an event, though the stream has not ended");
    assert_eq!(first, "id: 4\ndata: {}\n\n");
    assert_eq!(instance.received()[0].header("last-event-id"), Some("3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_refused_the_way_the_api_refuses_it() {
    let instance = StandIn::start("policy", Behaviour::Answer);
    let settings = [("GATEWAY_POLICY", instance.address.as_str()), ("GATEWAY_RATE", "1")];
    let Some(gateway) = Gateway::start_if_available(&settings) else { return };
    let large = "x".repeat(65_537);

    let answer = caller(OPERATOR).post(gateway.url("/v1/orders")).body(large).send().await.unwrap();
    assert_problem(answer, 413, "body_too_large").await;

    let mut last = None;
    for _ in 0..5 {
        last = Some(caller(OPERATOR).get(gateway.url("/v1/orders")).send().await.unwrap());
    }
    let answer = last.unwrap();
    assert_eq!(header(answer.headers(), "retry-after"), Some("1"));
    assert_problem(answer, 429, "too_many_requests").await;
    let another = caller(OPERATOR).get(gateway.url("/v1/orders")).bearer_auth(token(1, 3_600)).send().await.unwrap();
    assert_eq!(another.status(), 200, "the limit is the caller's");
}

const BUYERS: i64 = 8;
const TICKET_TYPE: i64 = 2001;
const ASYNC: (&str, &str) = ("LEDGER__ROLLOUT__INSTANCE_MODE", "async");
const SYNC: (&str, &str) = ("LEDGER__ROLLOUT__INSTANCE_MODE", "sync");

#[tokio::test(flavor = "multi_thread")]
async fn traffic_is_switched_between_the_modes_and_an_order_ends_in_the_one_it_began_in() {
    let instance = Instance::start(&[]);
    let (asynchronous, synchronous) = (instance.extra_serve(&[ASYNC]), instance.extra_serve(&[SYNC]));
    let pools = [("GATEWAY_ASYNC", asynchronous.address.as_str()), ("GATEWAY_SYNC", synchronous.address.as_str())];
    let Some(gateway) = Gateway::start_if_available(&pools) else { return };
    let admin = instance.info()["admin_token"].as_str().unwrap().to_owned();
    let client = instance.client();
    assert!(gateway.switch(&["async"]));
    client.put_on_sale(TICKET_TYPE, 10).await;

    let begun_async = place(&gateway, &admin, 1, 202, "async").await;
    client.await_status(&begun_async, &["AWAITING_PAYMENT"], SOON * 3).await;
    assert!(gateway.switch(&["sync"]));
    let begun_sync = place(&gateway, &admin, 2, 201, "sync").await;
    assert_eq!(client.status(&begun_sync).await, "AWAITING_PAYMENT", "decided in the request");

    let updates = gateway.url(&format!("/v1/orders/{begun_async}/updates"));
    let updates = caller(OPERATOR).get(updates).bearer_auth(&admin).header("last-event-id", "1").send().await.unwrap();
    for order in [&begun_async, &begun_sync] {
        let mode_before = client.get(&format!("/v1/orders/{order}")).await.body["mode"].clone();
        client.pay(order, "ALIPAY").await;
        client.await_status(order, &["CONFIRMED"], SOON * 3).await;
        assert_eq!(client.get(&format!("/v1/orders/{order}")).await.body["mode"], mode_before);
    }
    // It ends by itself when the order is over.
    let told = updates.text().await.unwrap();
    assert!(told.contains("event: CONFIRMED") && !told.contains("event: PENDING"), "{told}");
    instance.assert_settled();
}

/// Over a new connection: the gateway closes kept ones when it is switched.
async fn place(gateway: &Gateway, token: &str, user: i64, status: u16, mode: &str) -> String {
    let body = json!({"userId": user, "showId": 1001, "ticketTypeId": TICKET_TYPE, "quantity": 1});
    let key = Uuid::new_v4().to_string();
    let request = caller(OPERATOR).post(gateway.url("/v1/orders")).bearer_auth(token).header("idempotency-key", key);
    let answer = request.json(&body).send().await.unwrap();
    assert_eq!(header(answer.headers(), "x-gateway-pool"), Some(mode), "{answer:?}");
    assert_eq!(answer.status(), status);
    let placed: Value = answer.json().await.unwrap();
    assert_eq!(placed["mode"], mode, "{placed}");
    placed["orderId"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_share_the_work_and_one_that_is_killed_costs_no_request() {
    let instance = Instance::start(&[]);
    let (mut first, second) = (instance.extra_serve(&[ASYNC]), instance.extra_serve(&[ASYNC]));
    let pool = format!("{} {}", first.address, second.address);
    let Some(gateway) = Gateway::start_if_available(&[("GATEWAY_POLICY", &pool)]) else { return };
    instance.client().put_on_sale(TICKET_TYPE, 10_000).await;

    let load = Load::start(&gateway, &instance);
    load.until_answered_by(&[&first.address, &second.address]).await;
    first.kill();
    load.forget_who_answered();
    load.until_answered_by(&[&second.address]).await;
    let sent_on = format!("upstream={}, {}", first.address, second.address);
    eventually("a request to meet the dead instance and be sent on", SOON, || {
        gateway.access_log().contains(&sent_on).then_some(())
    });
    first.up();
    load.until_answered_by(&[&first.address, &second.address]).await;
    let failed = load.stop().await;

    assert!(failed.is_empty(), "{failed:?}");
    instance.assert_settled();
}

/// Buyers at the gateway, each placing an order and reading it, again and again.
struct Load {
    stopped: Arc<AtomicBool>,
    answered_by: Arc<Mutex<BTreeMap<String, usize>>>,
    buyers: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(gateway: &Gateway, instance: &Instance) -> Self {
        let (stopped, answered_by) = (Arc::<AtomicBool>::default(), Arc::<Mutex<BTreeMap<_, _>>>::default());
        let admin = instance.info()["admin_token"].as_str().unwrap().to_owned();
        let buy = |user: i64| {
            let (stopped, answered_by, admin) = (stopped.clone(), answered_by.clone(), admin.clone());
            let orders = gateway.url("/v1/orders");
            tokio::spawn(async move {
                let http = caller(OPERATOR);
                let mut failed = Vec::new();
                while !stopped.load(Ordering::SeqCst) {
                    let body = json!({"userId": user, "showId": 1001, "ticketTypeId": TICKET_TYPE, "quantity": 1});
                    let key = Uuid::new_v4().to_string();
                    let place = http.post(&orders).bearer_auth(&admin).header("idempotency-key", key).json(&body);
                    let placed = note(place.send().await, 202, &answered_by, &mut failed).await;
                    if let Some(order) = placed["orderId"].as_str() {
                        let read = http.get(format!("{orders}/{order}")).bearer_auth(&admin).send().await;
                        note(read, 200, &answered_by, &mut failed).await;
                    }
                }
                failed
            })
        };
        let buyers = (1..=BUYERS).map(buy).collect();
        Self { stopped, answered_by, buyers }
    }

    async fn until_answered_by(&self, instances: &[&String]) {
        let since = Instant::now();
        loop {
            let counts = self.answered_by.lock().unwrap().clone();
            if instances.iter().all(|instance| counts.get(*instance).is_some_and(|count| *count >= 20)) {
                return;
            }
            assert!(since.elapsed() < SOON * 3, "wanted {instances:?}, answered by {counts:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn forget_who_answered(&self) {
        self.answered_by.lock().unwrap().clear();
    }

    /// What was not answered as it should be.
    async fn stop(self) -> Vec<String> {
        self.stopped.store(true, Ordering::SeqCst);
        let mut failed = Vec::new();
        for buyer in self.buyers {
            failed.extend(buyer.await.unwrap());
        }
        failed
    }
}

async fn note(
    answer: reqwest::Result<Response>,
    wanted: u16,
    answered_by: &Mutex<BTreeMap<String, usize>>,
    failed: &mut Vec<String>,
) -> Value {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            failed.push(format!("{error:?}"));
            return Value::Null;
        }
    };
    // Where a first instance did not answer, the one that did is named last.
    let upstream = header(answer.headers(), "x-upstream").unwrap_or_default().rsplit(", ").next().unwrap().to_owned();
    *answered_by.lock().unwrap().entry(upstream).or_insert(0) += 1;
    if answer.status() != wanted {
        failed.push(format!("{} instead of {wanted}", answer.status()));
    }
    answer.json().await.unwrap_or(Value::Null)
}

/// The pools policy, async and sync, each of one instance that answers with the pool's name.
fn gateway_with_pools() -> Option<(Gateway, Vec<StandIn>)> {
    let instances: Vec<StandIn> =
        ["policy", "async", "sync"].map(|name| StandIn::start(name, Behaviour::Answer)).into_iter().collect();
    let gateway = Gateway::start_if_available(&[
        ("GATEWAY_POLICY", &instances[0].address),
        ("GATEWAY_ASYNC", &instances[1].address),
        ("GATEWAY_SYNC", &instances[2].address),
    ])?;
    Some((gateway, instances))
}

/// A new connection each time.
fn caller(from: IpAddr) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().local_address(from).pool_max_idle_per_host(0).timeout(SOON).build().unwrap()
}

fn token(user: i64, ttl_s: u64) -> String {
    let key = TokenKey::from_secret(&[7; 32]).unwrap();
    mint_token(&key, UserId::new(user).unwrap(), &[Role::User], &[], Duration::from_secs(ttl_s)).unwrap()
}

async fn pool_of(gateway: &Gateway, token: &str) -> String {
    let answer = caller(OPERATOR).get(gateway.url("/v1/orders")).bearer_auth(token).send().await.unwrap();
    let pool = header(answer.headers(), "x-gateway-pool").unwrap().to_owned();
    assert_eq!(answer.text().await.unwrap(), pool, "the pool's instance answers");
    pool
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

async fn assert_problem(answer: Response, status: u16, code: &str) {
    assert_eq!(answer.status(), status);
    assert_eq!(header(answer.headers(), "content-type"), Some("application/problem+json"));
    let body: Value = answer.json().await.unwrap();
    assert_eq!((&body["status"], &body["code"]), (&status.into(), &code.into()), "{body}");
}
