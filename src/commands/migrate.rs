//! `order-ledger migrate`: brings the schema up to date; running it again changes nothing.

use anyhow::Context;

use super::{pool, runtime};
use crate::config::Config;
use crate::exit::Outcome;

pub fn run(config: Config) -> Outcome {
    runtime()?.block_on(migrate(&config))?;
    println!("the schema is up to date");
    Ok(())
}

pub async fn migrate(config: &Config) -> anyhow::Result<()> {
    let pool = pool(config).await?;
    event_store::migrate(&pool).await.context("the schema could not be brought up to date")?;
    pool.close().await;
    Ok(())
}
