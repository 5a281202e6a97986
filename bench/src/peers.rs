//! Other people's event stores, driving the same aggregate.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use domain::order::{Order, OrderCommand};
use uuid::Uuid;

use crate::append::{order_id, place_command};
use crate::load::{Load, Sample};

const SCHEMA: &str = include_str!("../sql/postgres_es_schema.sql");

/// postgres-es 0.5: one transaction a command, events only. First placing, then loading and cancelling.
pub async fn postgres_es(url: &str, callers: usize, round: Duration) -> anyhow::Result<(Sample, Sample)> {
    let pool = sqlx08::postgres::PgPoolOptions::new().max_connections(callers as u32).connect(url).await?;
    sqlx08::raw_sql(SCHEMA).execute(&pool).await?;
    let framework = Arc::new(postgres_es::postgres_cqrs::<Order>(pool.clone(), vec![], ()));
    let load = Load { callers, duration: round };
    let run = Uuid::new_v4().simple().to_string();

    let (place_with, place_run) = (framework.clone(), run.clone());
    let placed = load
        .run(move |caller, n| {
            let (framework, id) = (place_with.clone(), order_id(&place_run, caller, n));
            async move {
                let command = place_command(&id, Utc::now()).map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
                framework.execute(&id, command).await?;
                Ok(true)
            }
        })
        .await;

    let existing = placed.calls_by_caller.clone();
    let loaded = load
        .run(move |caller, n| {
            let (framework, id, exists) = (framework.clone(), order_id(&run, caller, n), n < existing[caller]);
            async move {
                if exists {
                    framework.execute(&id, OrderCommand::Cancel { reason: "changed my mind".into() }).await?;
                }
                Ok(exists)
            }
        })
        .await;
    pool.close().await;
    Ok((placed, loaded))
}
