//! A connection of the appender's own, and what its failures mean for an append that was on the way.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgDatabaseError};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::timeout;

use crate::ledger::LedgerConfig;

/// Makes the appender's connections.
#[derive(Clone)]
pub(crate) struct Connector {
    options: Arc<PgConnectOptions>,
    connect_timeout: Duration,
}

impl Connector {
    pub(crate) fn new(pool: &PgPool, config: &LedgerConfig) -> Self {
        Self {
            options: Arc::new(append_options(pool, config)),
            connect_timeout: Duration::from_millis(config.append_timeout_ms),
        }
    }

    pub(crate) fn unopened(&self) -> AppendConnection {
        AppendConnection { connector: self.clone(), open: None }
    }
}

/// Opens when it is first needed and again after it was given up.
pub(crate) struct AppendConnection {
    connector: Connector,
    open: Option<PgConnection>,
}

impl AppendConnection {
    pub(crate) async fn get(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        let connection = match self.open.take() {
            Some(connection) => connection,
            None => timeout(self.connector.connect_timeout, PgConnection::connect_with(&self.connector.options))
                .await
                .map_err(|_| timed_out("connecting"))??,
        };
        Ok(self.open.insert(connection))
    }

    /// Never cancels what runs on it: a cancelled wait for a synchronous standby reports success.
    pub(crate) fn give_up(&mut self) {
        self.open = None;
    }
}

pub(crate) fn timed_out(doing: &str) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, format!("timed out {doing}")))
}

fn append_options(pool: &PgPool, config: &LedgerConfig) -> PgConnectOptions {
    let lock_timeout = config.lock_timeout_ms.to_string();
    pool.connect_options().as_ref().clone().application_name("order-ledger append").options([
        ("lock_timeout", lock_timeout.as_str()),
        // The server must not cancel an append; the client waits for a bounded time instead.
        ("statement_timeout", "0"),
        ("default_transaction_isolation", "read committed"),
        // As in store.append: look-ups by index, planned once, even if a table was empty at the time.
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("jit", "off"),
    ])
}

/// What a failure means for the append it happened to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing was appended, and the same data will be refused again.
    Data { constraint: Option<String>, message: String },
    /// Nothing was appended; it may be sent again at once.
    Retry(String),
    /// Nothing was appended, and nothing can be for now.
    Refused(String),
    /// It may have been appended.
    Unknown(String),
    /// Nothing was appended, and the program or the schema is wrong.
    Defect(String),
}

impl Failure {
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(database) => match database.try_downcast_ref::<PgDatabaseError>() {
                Some(error) => Self::of_code(error),
                None => Self::Unknown(database.to_string()),
            },
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => Self::Unknown(error.to_string()),
            sqlx::Error::WorkerCrashed | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
                Self::Unknown(error.to_string())
            }
            other => Self::Defect(other.to_string()),
        }
    }

    fn of_code(error: &PgDatabaseError) -> Self {
        let message = format!("{} ({})", error.message(), error.code());
        match error.code() {
            // Lock time-out, and a standby or a recovering server that takes no writes.
            "55P03" | "25006" | "57P03" => Self::Refused(message),
            // Deadlock and serialisation failure.
            "40001" | "40P01" => Self::Retry(message),
            // Shut down or cancelled, perhaps after the local commit.
            code if code.starts_with("57") || code.starts_with("08") => Self::Unknown(message),
            // Data, constraints, cardinality, and rows too large for an index.
            code if ["21", "22", "23", "54"].iter().any(|class| code.starts_with(class)) => {
                Self::Data { constraint: error.constraint().map(str::to_owned), message }
            }
            // Out of disk, memory or connections; IO errors of the server.
            code if code.starts_with("53") || code.starts_with("58") => Self::Refused(message),
            _ => Self::Defect(message),
        }
    }
}
