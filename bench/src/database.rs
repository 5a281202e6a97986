//! A database of its own for each run, on the server that is measured; dropped at the end.

use anyhow::Context;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool};
use uuid::Uuid;

pub struct BenchDatabase {
    server: PgConnectOptions,
    options: PgConnectOptions,
    name: String,
}

impl BenchDatabase {
    pub async fn create(server_url: &str) -> anyhow::Result<Self> {
        let server: PgConnectOptions = server_url.parse().context("database url")?;
        let name = format!("order_ledger_bench_{}", Uuid::new_v4().simple());
        let mut connection = server.connect().await.context("cannot reach Postgres")?;
        sqlx::query(sqlx::AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await?;
        connection.close().await?;
        let options = server.clone().database(&name);
        Ok(Self { server, options, name })
    }

    pub async fn pool(&self, max_connections: u32) -> anyhow::Result<PgPool> {
        Ok(PgPoolOptions::new().max_connections(max_connections).connect_with(self.options.clone()).await?)
    }

    pub fn url(&self) -> String {
        self.options.to_url_lossy().to_string()
    }

    pub async fn drop(self) -> anyhow::Result<()> {
        let mut connection = self.server.connect().await?;
        let statement = format!("drop database {} with (force)", self.name);
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }
}

/// Between contestants: the one before must not leave its dirty pages to the next.
pub(crate) async fn settle(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::query("checkpoint").execute(pool).await?;
    Ok(())
}
