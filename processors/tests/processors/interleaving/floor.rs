//! What all cases share: a database, a ledger, the handlers, and one reader that tells each case what it wrote.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{Decider, Fulfilment, Order, OrderEvent, Payment, PaymentEvent, Stock, StockEvent};
use event_store::read::{self, RecordedEvent};
use event_store::{Ledger, LedgerConfig, Metadata};
use messaging::{Effect, HandleError, Handler, ReceivedMessage, Topic, property};
use processors::Policy;
use processors::catalogue::Catalogue;
use processors::commands::deadline_kind;
use processors::deadlines::{DeadlineConfig, DeadlineParts, DeadlineRunner};
use processors::handlers::{self, ProcessorParts};
use sqlx::PgPool;

use super::case::{Case, Due};
use crate::support::{RecordingProvider, migrated_pool, tells_nobody};

const EVENTS_AT_ONCE: i64 = 20_000;
/// Many more commands wait here than in any process that serves people.
const PATIENCE_MS: u64 = 120_000;

pub struct Floor {
    pub ledger: Ledger,
    pub catalogue: Catalogue,
    pool: PgPool,
    deadlines: DeadlineRunner,
    terms: Vec<Terms>,
}

/// The switches of the business that change what is decided, and the processors that follow them.
#[derive(Clone)]
pub struct Terms {
    pub policy: Policy,
    handlers: Arc<Vec<Arc<dyn Handler>>>,
}

impl Floor {
    pub async fn open() -> Self {
        let pool = migrated_pool().await;
        let config = LedgerConfig { max_wait_ms: PATIENCE_MS, ..LedgerConfig::default() };
        let ledger = Ledger::start(pool.clone(), config).await.unwrap();
        let provider = Arc::new(RecordingProvider::default());
        let deadlines = DeadlineRunner::new(DeadlineParts {
            ledger: ledger.clone(),
            policy: Policy::default(),
            provider: provider.clone(),
            results: tells_nobody(),
            config: DeadlineConfig::default(),
        });
        // A short lock is renewed by each payment.
        let policies =
            [(false, 300), (false, 30), (true, 300), (true, 30)].map(|(cancel_confirmed, lock_time_seconds)| Policy {
                cancel_confirmed,
                lock_time_seconds,
                ..Policy::default()
            });
        let terms = policies.map(|policy| {
            let parts = ProcessorParts::new(policy.clone(), provider.clone());
            Terms { policy, handlers: Arc::new(handlers::handlers(&ledger, &parts)) }
        });
        Self { catalogue: Catalogue::new(), deadlines, terms: terms.to_vec(), pool, ledger }
    }

    pub fn terms_count(&self) -> usize {
        self.terms.len()
    }

    pub fn terms(&self, index: usize) -> Terms {
        self.terms[index].clone()
    }

    /// Messages of one topic, as one batch.
    pub async fn deliver(&self, terms: &Terms, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        let handler = terms.handlers.iter().find(|handler| handler.topics().contains(&batch[0].topic)).unwrap();
        handler.handle(batch).await
    }

    pub async fn act_on(&self, due: &Due) -> Result<(), String> {
        let report = self.deadlines.act_on(due.kind, due.key.clone(), due.due_at).await;
        if report.done == 1 {
            Ok(())
        } else {
            Err(format!("the deadline {} {} could not be acted on", due.kind, due.key))
        }
    }

    /// Takes the deadlines of the cases before out of the next ones' way.
    pub async fn clear(&self) {
        sqlx::query("DELETE FROM store.deadline").execute(&self.pool).await.unwrap();
    }
}

/// Reads what was written since the last time, for all cases at once.
pub struct Reader<'a> {
    floor: &'a Floor,
    position: i64,
    /// Which case a stream belongs to.
    streams: HashMap<String, usize>,
}

/// A case, and what it broke.
pub type Broken = (usize, String);

impl<'a> Reader<'a> {
    pub async fn from_here(floor: &'a Floor) -> Self {
        Self { floor, position: read::head(&floor.pool).await.unwrap(), streams: HashMap::new() }
    }

    pub async fn read(&mut self, cases: &mut [Case]) -> Result<(), Broken> {
        loop {
            let events = read::after(&self.floor.pool, self.position, EVENTS_AT_ONCE, None).await.unwrap();
            let Some(last) = events.last() else { break };
            let upto = last.position;
            let origins = self.apply(cases, events)?;
            self.hand_out_messages(cases, &origins, upto).await?;
            self.position = upto;
        }
        self.hand_out_deadlines(cases).await;
        Ok(())
    }

    fn apply(&mut self, cases: &mut [Case], events: Vec<RecordedEvent>) -> Result<HashMap<i64, Cause>, Broken> {
        let mut causes = HashMap::new();
        for event in events {
            let case = self.case_of(cases, &event);
            let metadata: Metadata = serde_json::from_str(&event.metadata).unwrap();
            let step = cases[case].history.len();
            cases[case].world.apply(&event, &metadata, step).map_err(|broken| (case, broken))?;
            causes.insert(event.position, Cause { case, metadata, event });
        }
        Ok(causes)
    }

    /// A stream's first event says whose it is.
    fn case_of(&mut self, cases: &[Case], event: &RecordedEvent) -> usize {
        if let Some(case) = self.streams.get(&event.stream_id) {
            return *case;
        }
        let of_ticket_type = |id| cases.iter().position(|case| case.ticket_type == id).unwrap();
        let (category, id) = event.stream_id.split_once('-').unwrap();
        let case = if category == Stock::CATEGORY {
            match event.decode::<Stock>().unwrap() {
                StockEvent::TicketTypePutOnSale { ticket_type_id, .. } => of_ticket_type(ticket_type_id),
                other => panic!("a stock begins with {other:?}"),
            }
        } else if category == Order::CATEGORY {
            match event.decode::<Order>().unwrap() {
                OrderEvent::OrderPlaced { ticket_type_id, .. } => of_ticket_type(ticket_type_id),
                other => panic!("an order begins with {other:?}"),
            }
        } else if category == Payment::CATEGORY {
            match event.decode::<Payment>().unwrap() {
                PaymentEvent::PaymentRequested { order_id, .. } => self.streams[&Order::stream_id(order_id.as_str())],
                other => panic!("a payment begins with {other:?}"),
            }
        } else if category == Fulfilment::CATEGORY {
            self.streams[&Order::stream_id(id)]
        } else {
            panic!("nobody here writes to {}", event.stream_id)
        };
        self.streams.insert(event.stream_id.clone(), case);
        case
    }

    async fn hand_out_messages(
        &self,
        cases: &mut [Case],
        causes: &HashMap<i64, Cause>,
        upto: i64,
    ) -> Result<(), Broken> {
        let rows: Vec<(i64, String, String, String)> = sqlx::query_as(
            "SELECT position, topic, ordering_key, body FROM store.outbox WHERE position > $1 AND position <= $2 ORDER BY position, n",
        )
        .bind(self.position)
        .bind(upto)
        .fetch_all(&self.floor.pool)
        .await
        .unwrap();
        for (position, topic, ordering_key, body) in rows {
            let cause = &causes[&position];
            let message =
                ReceivedMessage::from_parts(&topic, body.as_bytes(), &cause.properties(ordering_key)).unwrap();
            let case = &mut cases[cause.case];
            case.world.told(&message).map_err(|broken| (cause.case, broken))?;
            if is_for_those_who_decide(message.topic) {
                case.waiting.push(message);
            }
        }
        Ok(())
    }

    async fn hand_out_deadlines(&self, cases: &mut [Case]) {
        let rows: Vec<(String, String, DateTime<Utc>)> =
            sqlx::query_as("SELECT kind, key, due_at FROM store.deadline").fetch_all(&self.floor.pool).await.unwrap();
        let mut due: Vec<Vec<Due>> = vec![vec![]; cases.len()];
        for (kind, key, due_at) in rows {
            due[self.case_of_deadline(&key)].push(Due { kind: known_kind(&kind), key, due_at });
        }
        for (case, due) in cases.iter_mut().zip(due) {
            case.keep_deadlines(due);
        }
    }

    /// Every deadline names its order or its payment.
    fn case_of_deadline(&self, key: &str) -> usize {
        let streams = key.split('/').flat_map(|part| [Order::stream_id(part), Payment::stream_id(part)]);
        streams
            .filter_map(|stream| self.streams.get(&stream))
            .copied()
            .next()
            .unwrap_or_else(|| panic!("whose is {key}?"))
    }
}

/// The event that a message left with.
struct Cause {
    case: usize,
    metadata: Metadata,
    event: RecordedEvent,
}

impl Cause {
    /// As the relay sends them.
    fn properties(&self, ordering_key: String) -> HashMap<String, String> {
        let event = &self.event;
        let mut properties = HashMap::from([
            (property::ORDERING_KEY.to_owned(), ordering_key),
            (property::STREAM_ID.to_owned(), event.stream_id.clone()),
            (property::STREAM_VERSION.to_owned(), event.version.to_string()),
            (property::POSITION.to_owned(), event.position.to_string()),
        ]);
        if let Some(mode) = self.metadata.mode {
            properties.insert(property::MODE.to_owned(), mode.to_string());
        }
        properties
    }
}

/// The others only tell; who follows them is judged by what they were told.
fn is_for_those_who_decide(topic: Topic) -> bool {
    use Topic::{OrderCancel, OrderCreate, OrderPayment, StockDeduct, StockLock, StockRollback};
    matches!(topic, OrderCreate | OrderPayment | OrderCancel | StockLock | StockDeduct | StockRollback)
}

fn known_kind(kind: &str) -> &'static str {
    let kinds =
        [deadline_kind::ORDER_EXPIRY, deadline_kind::LOCK_LAPSE, deadline_kind::REFUND, deadline_kind::PAYMENT_QUERY];
    kinds.into_iter().find(|known| *known == kind).unwrap_or_else(|| panic!("{kind} is not among the kinds tried here"))
}
