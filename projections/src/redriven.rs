//! A projection's dead letters, applied after all.
//!
//! What a projection shows comes from the ledger; its messages only say when to look. One that became a dead letter (nobody
//! could read it) left nothing out of the read model, and neither did those behind it: to apply them is to remember their
//! ids once the read model has come to their events. That needs no lease, so any process may do it.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use messaging::{Effect, HandleError, Handler, ReceivedMessage, Topic, inbox};
use sqlx::PgPool;

use crate::checkpoint::checkpoint;
use crate::read_model::ReadModel;
use crate::{NotificationView, OrderView, ProjectionError, StockView};

/// Applies dead letters of each projection that has messages.
pub fn redrive_handlers(pool: &PgPool) -> Vec<Arc<dyn Handler>> {
    vec![
        Arc::new(Redriven::<OrderView>::new(pool)),
        Arc::new(Redriven::<StockView>::new(pool)),
        Arc::new(Redriven::<NotificationView>::new(pool)),
    ]
}

struct Redriven<M> {
    pool: PgPool,
    model: PhantomData<fn() -> M>,
}

impl<M: ReadModel> Redriven<M> {
    fn new(pool: &PgPool) -> Self {
        Self { pool: pool.clone(), model: PhantomData }
    }

    async fn apply(&self, message: &ReceivedMessage) -> Result<Option<Effect>, ProjectionError> {
        let mut transaction = self.pool.begin().await?;
        let reached = checkpoint(&mut transaction, M::NAME).await?;
        if message.position.is_some_and(|position| position > reached) {
            return Ok(None);
        }
        let claimed = inbox::claim(&mut transaction, M::CONSUMER, &[message.message_id]).await?;
        transaction.commit().await?;
        Ok(Some(if claimed.contains(&true) { Effect::Applied } else { Effect::Duplicate }))
    }
}

#[async_trait]
impl<M: ReadModel> Handler for Redriven<M> {
    fn name(&self) -> &'static str {
        M::CONSUMER
    }

    fn topics(&self) -> &'static [Topic] {
        M::TOPICS
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        let mut results = Vec::with_capacity(batch.len());
        for message in batch {
            results.push(match self.apply(message).await {
                Ok(Some(effect)) => Ok(effect),
                Ok(None) => {
                    Err(HandleError::Transient("the read model has not come to the message's event yet".into()))
                }
                Err(error) => Err(HandleError::Transient(error.to_string())),
            });
        }
        results
    }
}
