//! Channels that fail, with everything running: the consumers on a broker, a real SMTP server, a real SMS provider.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::notification::NotificationEvent;
use domain::{Channel, Notification, UserId};
use messaging::{
    Broker, ConsumerRuntime, InMemoryBroker, OutgoingMessage, Producer, QUEUES_PER_TOPIC, RuntimeConfig, Topic,
    lane_parts, property,
};
use processors::contact::{self, Contact, Language};
use processors::handlers::{self, ProcessorParts};
use processors::senders::{HttpSmsConfig, HttpSmsSender, SmtpConfig, SmtpSender};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::sms_provider::SmsProvider;
use crate::smtp_server::{FULL, NOBODY, SmtpServer};
use crate::support::{Shop, USER};

const OTHER_USER: i64 = 99;
const PHONE: &str = "+8613800138000";
const EMAIL: &str = "buyer@example.com";

#[tokio::test]
async fn with_the_mail_server_away_only_mail_waits_and_catches_up() {
    let mut office = Office::open().await;
    office.smtp.close();
    office.register(USER, Some(PHONE), Some(EMAIL)).await;

    office.shop.place(1).await;
    office.shop.place(1).await;
    office.until("both texts left", |office| office.sms.sent().len() == 2).await;
    office.until_outcomes(Channel::Sms, 2, 0).await;
    assert_eq!(office.outcomes(Channel::Email).await, (0, 0));
    assert!(office.smtp.mails().is_empty());

    office.smtp.open();
    office.until_outcomes(Channel::Email, 2, 0).await;
    assert_eq!(office.smtp.mails().len(), 2);
    assert_eq!(office.sms.sent().len(), 2, "nobody's phone rang again");
}

#[tokio::test]
async fn with_the_sms_provider_away_only_texts_wait_and_catch_up() {
    let mut office = Office::open().await;
    office.sms.set_silent(true);
    office.register(USER, Some(PHONE), Some(EMAIL)).await;

    office.shop.place(1).await;
    office.until_outcomes(Channel::Email, 1, 0).await;
    assert_eq!(office.smtp.mails().len(), 1);
    assert_eq!(office.outcomes(Channel::Sms).await, (0, 0));

    office.sms.set_silent(false);
    office.until_outcomes(Channel::Sms, 1, 0).await;
    assert_eq!(office.sms.sent().len(), 1);
}

#[tokio::test]
async fn a_mailbox_that_is_full_for_now_holds_up_nobody_else() {
    let mut office = Office::open().await;
    office.register(USER, None, Some(FULL)).await;
    office.register(OTHER_USER, None, Some(EMAIL)).await;
    office.shop.place(1).await;
    office.shop.place_for(OTHER_USER, 1).await;
    office.until_outcomes(Channel::Email, 1, 0).await;
    assert_eq!(office.smtp.mails()[0].to, [EMAIL]);
}

#[tokio::test]
async fn a_refusal_is_recorded_and_names_no_address() {
    let mut office = Office::open().await;
    office.sms.answer_next(&[422]);
    office.register(USER, Some(PHONE), Some(NOBODY)).await;
    office.shop.place(1).await;
    office.until_outcomes(Channel::Email, 0, 1).await;
    office.until_outcomes(Channel::Sms, 0, 1).await;
    let events = event_store::read::after(&office.shop.pool, 0, 10_000, None).await.unwrap();
    let leaks = |text: &str| text.contains(NOBODY) || text.contains(PHONE) || text.contains("13800138000");
    assert!(!events.iter().any(|event| leaks(&event.payload) || leaks(&event.metadata)));
}

/// A shop whose messages travel by a broker to consumers of their own.
struct Office {
    shop: Shop,
    smtp: SmtpServer,
    sms: SmsProvider,
    producer: Box<dyn Producer>,
    relayed_upto: i64,
    shutdown: CancellationToken,
    _consumers: JoinSet<()>,
}

impl Office {
    async fn open() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let shop = Shop::open(100).await;
        let (smtp, sms) = (SmtpServer::start(), SmsProvider::open().await);
        let provider = HttpSmsConfig { request_timeout_ms: 2_000, max_attempts: 1, ..HttpSmsConfig::new(&sms.url) };
        let parts = ProcessorParts {
            sms: Arc::new(HttpSmsSender::new(provider).unwrap()),
            email: Arc::new(SmtpSender::new(&SmtpConfig::new(smtp.url(), "hello@tickets.example")).unwrap()),
            ..shop.parts.clone()
        };
        let broker = Arc::new(InMemoryBroker::default());
        broker.create_topics(&Topic::ALL.map(Topic::name), QUEUES_PER_TOPIC).await.unwrap();
        let shutdown = CancellationToken::new();
        let mut consumers = JoinSet::new();
        for handler in handlers::handlers(&shop.ledger, &parts) {
            let impatient = RuntimeConfig { backoff_initial_ms: 10, backoff_max_ms: 50, ..RuntimeConfig::default() };
            let consumer = ConsumerRuntime::new(broker.clone(), shop.pool.clone(), handler, impatient);
            consumers.spawn(consumer.run(shutdown.clone()));
        }
        let producer = broker.producer().await.unwrap();
        Self { shop, smtp, sms, producer, relayed_upto: 0, shutdown, _consumers: consumers }
    }

    async fn register(&self, user: i64, phone: Option<&str>, email: Option<&str>) {
        let contact = Contact {
            phone: phone.map(str::to_owned),
            email: email.map(str::to_owned),
            language: Language::En,
            channels: vec![contact::Channel::Sms, contact::Channel::Email],
        };
        contact::put(&self.shop.pool, UserId::new(user).unwrap(), &contact).await.unwrap();
    }

    /// How often a channel sent and failed, by the ledger.
    async fn outcomes(&self, of: Channel) -> (usize, usize) {
        let events = event_store::read::after(&self.shop.pool, 0, 10_000, None).await.unwrap();
        let events = events.iter().filter(|event| event.stream_id.starts_with("notification-"));
        let (mut sent, mut failed) = (0, 0);
        for event in events {
            match event.decode::<Notification>().unwrap() {
                NotificationEvent::NotificationSent { channel, .. } if channel == of => sent += 1,
                NotificationEvent::NotificationFailed { channel, .. } if channel == of => failed += 1,
                _ => {}
            }
        }
        (sent, failed)
    }

    async fn until_outcomes(&mut self, channel: Channel, sent: usize, failed: usize) {
        let give_up_at = Instant::now() + Duration::from_secs(30);
        loop {
            self.relay().await;
            let outcomes = self.outcomes(channel).await;
            if outcomes == (sent, failed) {
                return;
            }
            assert!(Instant::now() < give_up_at, "{channel} is at {outcomes:?}, not at ({sent}, {failed})");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let give_up_at = Instant::now() + Duration::from_secs(30);
        while !condition(self) {
            assert!(Instant::now() < give_up_at, "waited for {what}");
            self.relay().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends what is new in the outbox.
    async fn relay(&mut self) {
        let rows: Vec<(i16, i64, String, String, String, uuid::Uuid, String)> = sqlx::query_as(
            "select lane, position, ordering_key, business_id, event_type, message_id, body
             from store.outbox where position > $1 order by position, n",
        )
        .bind(self.relayed_upto)
        .fetch_all(&self.shop.pool)
        .await
        .unwrap();
        for (lane, position, ordering_key, business_id, event_type, message_id, body) in rows {
            let (topic, queue) = lane_parts(lane).unwrap();
            let properties = vec![(property::POSITION, position.to_string())];
            let message = OutgoingMessage { message_id, business_id, event_type, ordering_key, body, properties };
            self.producer.send(topic.name(), queue, &[message]).await.unwrap();
            self.relayed_upto = position;
        }
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
