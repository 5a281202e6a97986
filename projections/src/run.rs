//! Running projectors: who wakes them, and what happens when one fails.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use event_store::span::{self, KeyValue, Span, SpanKind};
use messaging::runtime::{ConsumerRuntime, RuntimeConfig};
use messaging::{Broker, Effect, HandleError, Handler, ReceivedMessage, Topic, inbox};
use sqlx::PgPool;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::critical_time::CriticalTimes;
use crate::notifications::NotificationView;
use crate::orders::OrderView;
use crate::projector::{Projector, Step};
use crate::read_model::ReadModel;
use crate::sagas::SagaView;
use crate::stock::StockView;
use crate::{Checkpoints, ProjectionError, ProjectorConfig, head, lag};

const FORGET_INTERVAL: Duration = Duration::from_secs(600);

/// Everything the projectors of a process share.
#[derive(Clone)]
pub struct Projections {
    pub pool: PgPool,
    pub broker: Arc<dyn Broker>,
    pub checkpoints: Checkpoints,
    pub config: ProjectorConfig,
    pub consumer: RuntimeConfig,
}

impl Projections {
    /// Keeps all read models until `shutdown`. One that fails stops alone and tries again, the others go on.
    pub async fn run(self, shutdown: CancellationToken) {
        lag::describe_metrics();
        let (head_writer, head) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(forget_old_claims(self.pool.clone(), self.config.clone(), shutdown.clone()));
        tasks.spawn(head::follow(self.pool.clone(), head_writer, self.config.poll_interval, shutdown.clone()));
        tasks.spawn(lag::report(self.pool.clone(), shutdown.clone()));
        let (critical_times, measuring) = CriticalTimes::start(self.pool.clone(), shutdown.clone());
        tasks.spawn(measuring);
        let orders = self.projector::<OrderView>().with_critical_times(critical_times);
        let (stock, notifications) = (self.projector::<StockView>(), self.projector::<NotificationView>());
        let sagas = self.projector::<SagaView>();
        tasks.spawn(self.clone().keep(orders, head.clone(), shutdown.clone()));
        tasks.spawn(self.clone().keep(stock, head.clone(), shutdown.clone()));
        tasks.spawn(self.clone().keep(notifications, head.clone(), shutdown.clone()));
        tasks.spawn(self.keep(sagas, head, shutdown));
        tasks.join_all().await;
    }

    fn projector<M: ReadModel>(&self) -> Projector<M> {
        Projector::new(self.pool.clone(), self.checkpoints.clone(), self.config.clone())
    }

    async fn keep<M: ReadModel>(
        self,
        projector: Projector<M>,
        head: watch::Receiver<i64>,
        shutdown: CancellationToken,
    ) {
        let projector = Arc::new(Mutex::new(projector));
        let mut retry = Retry { delay: self.config.min_retry_delay, reason: None };
        loop {
            let outcome = self.work(&projector, head.clone(), &mut retry, &shutdown).await;
            // Failed or done, another instance may try, perhaps one that knows better.
            projector.lock().await.release().await;
            if shutdown.is_cancelled() {
                return;
            }
            if let Err(error) = outcome {
                stopped(M::NAME, true);
                retry.note(M::NAME, error.to_string());
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(retry.delay) => {}
            }
            retry.delay = (retry.delay * 2).min(self.config.max_retry_delay);
        }
    }

    /// Waits for the lease and works while it lasts. The consumer is a member of its group only meanwhile: an instance
    /// standing by would hold queues it may not take from.
    async fn work<M: ReadModel>(
        &self,
        projector: &Arc<Mutex<Projector<M>>>,
        mut head: watch::Receiver<i64>,
        retry: &mut Retry,
        shutdown: &CancellationToken,
    ) -> Result<(), ProjectionError> {
        let pause = self.config.lease_ttl / 3;
        while projector.lock().await.step(&[]).await? == Step::StandingBy {
            stopped(M::NAME, false);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
        stopped(M::NAME, false);
        *retry = Retry { delay: self.config.min_retry_delay, reason: None };
        tracing::info!(projection = M::NAME, "projection active");

        let leaving = shutdown.child_token();
        let consumer = self.consume(projector.clone(), leaving.clone());
        let outcome = follow_head(projector, &mut head, pause, shutdown).await;
        leaving.cancel();
        if let Err(error) = consumer.await {
            tracing::error!(projection = M::NAME, %error, "consumer ended badly");
        }
        outcome
    }

    fn consume<M: ReadModel>(
        &self,
        projector: Arc<Mutex<Projector<M>>>,
        leaving: CancellationToken,
    ) -> tokio::task::JoinHandle<()> {
        if M::TOPICS.is_empty() {
            return tokio::spawn(std::future::ready(()));
        }
        let runtime = ConsumerRuntime::new(
            self.broker.clone(),
            self.pool.clone(),
            Arc::new(DrivenByMessages { projector }),
            self.consumer.clone(),
        );
        tokio::spawn(runtime.run(leaving))
    }
}

/// Of a projection that fails.
struct Retry {
    delay: Duration,
    /// Why it failed last.
    reason: Option<String>,
}

impl Retry {
    /// The same failure again is no news: one event may keep it for days.
    fn note(&mut self, projection: &'static str, reason: String) {
        if self.reason.as_ref() != Some(&reason) {
            tracing::error!(projection, retry_ms = self.delay.as_millis() as u64, error = reason, "projection stopped");
            self.reason = Some(reason);
        }
    }
}

/// Steps whenever the ledger has moved beyond what is applied, and often enough to keep the lease.
/// Ends when the lease is lost.
async fn follow_head<M: ReadModel>(
    projector: &Mutex<Projector<M>>,
    head: &mut watch::Receiver<i64>,
    pause: Duration,
    shutdown: &CancellationToken,
) -> Result<(), ProjectionError> {
    loop {
        let applied = projector.lock().await.position();
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
            _ = head.wait_for(|head| *head > applied) => {}
        }
        let mut projector = projector.lock().await;
        // Messages may have brought it there meanwhile.
        if !projector.has_work(*head.borrow()) {
            continue;
        }
        match projector.step(&[]).await {
            Ok(Step::Applied(_)) => {}
            Ok(Step::StandingBy) | Err(ProjectionError::Fenced { .. }) => {
                tracing::warn!(projection = M::NAME, "another instance has taken over");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

/// Keeps the inbox from growing for ever: what can't come again need not be remembered.
async fn forget_old_claims(pool: PgPool, config: ProjectorConfig, shutdown: CancellationToken) {
    let max_rows = config.max_claims_forgotten_at_once;
    loop {
        let pause = match inbox::forget_older_than(&pool, config.inbox_retention, max_rows).await {
            Ok(forgotten) if forgotten as i64 == max_rows => Duration::from_millis(100),
            Ok(_) => FORGET_INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "old inbox claims not forgotten");
                FORGET_INTERVAL
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What the consumer runtime calls: the messages of a projection are reasons to look at the ledger.
struct DrivenByMessages<M> {
    projector: Arc<Mutex<Projector<M>>>,
}

#[async_trait]
impl<M: ReadModel> Handler for DrivenByMessages<M> {
    fn name(&self) -> &'static str {
        M::CONSUMER
    }

    fn topics(&self) -> &'static [Topic] {
        M::TOPICS
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        let ids: Vec<Uuid> = batch.iter().map(|message| message.message_id).collect();
        let mut span = apply_span::<M>(batch);
        // No message is at fault when the projection stops: it waits, it never becomes a dead letter.
        let refused = match self.projector.lock().await.step(&ids).await {
            Ok(Step::Applied(applied)) => {
                span.set("ledger.position", applied.to);
                span.set("ledger.events", applied.events as i64);
                return applied.effects.into_iter().map(Ok).collect();
            }
            Ok(Step::StandingBy) => "another instance is active".to_owned(),
            Err(error) => error.to_string(),
        };
        span.fail("not_applied", refused.clone());
        batch.iter().map(|_| Err(HandleError::Transient(refused.clone()))).collect()
    }
}

/// The step that a batch drives: below the first of its messages, linked to the others.
fn apply_span<M: ReadModel>(batch: &[ReceivedMessage]) -> Span {
    if !span::is_on() {
        return Span::none();
    }
    let mut causes = batch.iter().filter_map(|message| message.traceparent.as_deref());
    let attributes = vec![
        KeyValue::new("db.system.name", "postgresql"),
        KeyValue::new("db.collection.name", M::NAME),
        KeyValue::new("db.operation.name", "apply"),
    ];
    let Some(parent) = causes.next() else { return Span::none() };
    Span::begin(format!("apply {}", M::NAME), SpanKind::Client, Some(parent), causes, attributes)
}

fn stopped(projection: &'static str, stopped: bool) {
    metrics::gauge!("ledger_projection_stopped", "projection" => projection).set(u8::from(stopped));
}
