//! What every read model is: a table whose rows are pure folds of one stream each.

use std::collections::HashMap;
use std::future::Future;

use chrono::{DateTime, Utc};
use domain::Decider;
use event_store::read::RecordedEvent;
use messaging::Topic;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::ProjectionError;
use crate::ledger;

/// Events folded before others of the process have a turn: those who read wait no longer than that.
const EVENTS_PER_TURN: usize = 100;

/// A row of a read model, how it follows from the events of its stream, and how rows are read and written in batches.
pub trait ReadModel: Clone + Send + Sync + 'static {
    /// Its name in commands, metrics and `projection.read_model`.
    const NAME: &'static str;
    /// The version of this fold. Raise it when rows come out differently: tables built before then need a rebuild.
    const CODE_VERSION: i32;
    /// The topics whose messages drive it; with none, only the ledger's head does, and it has no consumer.
    const TOPICS: &'static [Topic];
    /// The name of its consumer; the last part of its group.
    const CONSUMER: &'static str;
    /// The column that is the id in its streams' names.
    const KEY_COLUMN: &'static str;
    /// The aggregate whose streams it shows.
    type Aggregate: Decider;

    /// The row after the first event of a stream; `None` where a stream can't start with that event.
    fn begin(event: &<Self::Aggregate as cqrs_es::Aggregate>::Event, recorded: &RecordedEvent) -> Option<Self>;
    /// Any later event.
    fn apply(&mut self, event: &<Self::Aggregate as cqrs_es::Aggregate>::Event);

    /// The version of the last event applied to the row.
    fn version(&self) -> i64;
    /// Notes the event applied last.
    fn stamp(&mut self, version: i64, position: i64);
    /// Notes when the event applied last was recorded, for rows that show since when.
    fn note_time(&mut self, _recorded_at: DateTime<Utc>) {}
    /// The id of the stream the row is a fold of.
    fn stream_id(&self) -> String;

    /// The rows with these ids, as far as there are any.
    fn load(
        connection: &mut PgConnection,
        table: &Table,
        ids: &[&str],
    ) -> impl Future<Output = Result<Vec<Self>, sqlx::Error>> + Send;
    /// Writes whole rows over what is there.
    fn upsert(
        connection: &mut PgConnection,
        table: &Table,
        rows: &[Self],
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// Folds one event into a row. An event the row already has changes nothing; one that leaves a gap is refused.
pub fn fold<M: ReadModel>(row: &mut Option<M>, recorded: &RecordedEvent) -> Result<(), ProjectionError> {
    let known = row.as_ref().map_or(0, M::version);
    if recorded.version <= known {
        return Ok(());
    }
    if recorded.version != known + 1 {
        let reason = format!("the row is at version {known}");
        return Err(bad_event::<M>(recorded, reason));
    }
    let event = recorded.decode::<M::Aggregate>().map_err(|error| bad_event::<M>(recorded, error.to_string()))?;
    match row {
        Some(row) => row.apply(&event),
        None => *row = M::begin(&event, recorded),
    }
    match row {
        Some(row) => {
            row.stamp(recorded.version, recorded.position);
            row.note_time(recorded.recorded_at);
            Ok(())
        }
        None => {
            let reason = "a stream can't start with it".to_owned();
            Err(bad_event::<M>(recorded, reason))
        }
    }
}

/// Applies the events in `(after, upto]` to a table, at most `batch` positions at a time, and answers how many of them
/// were of this read model's streams. Live and rebuilt tables go this way alike.
pub(crate) async fn apply_range<M: ReadModel>(
    connection: &mut PgConnection,
    table: &Table,
    after: i64,
    upto: i64,
    batch: i64,
) -> Result<usize, ProjectionError> {
    let mut events = 0;
    let mut from = after;
    while from < upto {
        let to = upto.min(from + batch);
        events += apply_batch::<M>(connection, table, from, to).await?;
        from = to;
    }
    Ok(events)
}

async fn apply_batch<M: ReadModel>(
    connection: &mut PgConnection,
    table: &Table,
    after: i64,
    upto: i64,
) -> Result<usize, ProjectionError> {
    let events = ledger::category_range(connection, M::Aggregate::CATEGORY, after, upto).await?;
    apply_events::<M>(connection, table, &events).await?;
    Ok(events.len())
}

/// Folds events of this read model's streams in memory, and writes each touched row once.
pub(crate) async fn apply_events<M: ReadModel>(
    connection: &mut PgConnection,
    table: &Table,
    events: &[RecordedEvent],
) -> Result<(), ProjectionError> {
    // A stream whose first event is here needs no row to start from.
    let mut rows: HashMap<&str, Option<M>> = HashMap::new();
    let mut to_load = Vec::new();
    for event in events {
        rows.entry(&event.stream_id).or_insert_with(|| {
            if event.version > 1 {
                to_load.push(id_of::<M>(&event.stream_id));
            }
            None
        });
    }
    if !to_load.is_empty() {
        for row in M::load(connection, table, &to_load).await? {
            if let Some(slot) = rows.get_mut(row.stream_id().as_str()) {
                *slot = Some(row);
            }
        }
    }
    for events in events.chunks(EVENTS_PER_TURN) {
        for event in events {
            if let Some(row) = rows.get_mut(event.stream_id.as_str()) {
                fold(row, event)?;
            }
        }
        tokio::task::yield_now().await;
    }
    let rows: Vec<M> = rows.into_values().flatten().collect();
    if !rows.is_empty() {
        M::upsert(connection, table, &rows).await?;
    }
    Ok(())
}

/// One version of a read model's table, or a private copy of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    name: String,
}

impl Table {
    /// `projection.<name>_v<version>`.
    pub fn of<M: ReadModel>(version: i32) -> Self {
        Self::named(M::NAME, version)
    }

    /// The same by the read model's name.
    pub(crate) fn named(name: &'static str, version: i32) -> Self {
        Self { name: format!("projection.{name}_v{version}") }
    }

    /// The table of the version that queries see.
    pub(crate) async fn active<M: ReadModel>(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let version = sqlx::query_scalar("select active_version from projection.read_model where name = $1")
            .bind(M::NAME)
            .fetch_one(pool)
            .await?;
        Ok(Self::of::<M>(version))
    }

    /// The view of the version that queries see.
    pub(crate) fn shown<M: ReadModel>() -> Self {
        Self::view(M::NAME)
    }

    /// The same by the read model's name.
    pub(crate) fn view(name: &'static str) -> Self {
        Self { name: format!("read_models.{name}") }
    }

    /// A temporary table of the connection.
    pub(crate) fn temporary<M: ReadModel>() -> Self {
        Self { name: format!("pg_temp.{}_rebuilt", M::NAME) }
    }

    /// Makes the table, with the columns and indexes of another.
    pub(crate) async fn create_like(&self, connection: &mut PgConnection, other: &Self) -> Result<(), sqlx::Error> {
        let statement = format!("create table {} (like {} including all)", self.name, other.name);
        sqlx::query(AssertSqlSafe(statement)).execute(connection).await?;
        Ok(())
    }

    /// Makes the table, with the columns and settings of another, and with no index but the primary key's, to be filled.
    pub(crate) async fn create_bare(
        &self,
        connection: &mut PgConnection,
        other: &Self,
        key_column: &str,
    ) -> Result<(), sqlx::Error> {
        let create = format!("create table {} (like {} including all excluding indexes)", self.name, other.name);
        sqlx::query(AssertSqlSafe(create)).execute(&mut *connection).await?;
        let key = format!("alter table {} add primary key ({key_column})", self.name);
        sqlx::query(AssertSqlSafe(key)).execute(&mut *connection).await?;
        // `like` does not take a table's settings along: fillfactor, above all.
        let settings: Option<String> =
            sqlx::query_scalar("select array_to_string(reloptions, ', ') from pg_class where oid = to_regclass($1)")
                .bind(&other.name)
                .fetch_one(&mut *connection)
                .await?;
        if let Some(settings) = settings {
            let set = format!("alter table {} set ({settings})", self.name);
            sqlx::query(AssertSqlSafe(set)).execute(connection).await?;
        }
        Ok(())
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A statement of ours with `{table}` replaced. Safe: the name is made of constants and a number.
    pub(crate) fn sql(&self, template: &'static str) -> AssertSqlSafe<String> {
        AssertSqlSafe(template.replace("{table}", &self.name))
    }
}

/// What the streams' names of this read model begin with.
pub(crate) fn category_prefix<M: ReadModel>() -> String {
    M::Aggregate::stream_id("")
}

/// The id in a stream's name.
pub(crate) fn id_of<M: ReadModel>(stream_id: &str) -> &str {
    stream_id.get(M::Aggregate::CATEGORY.len() + 1..).unwrap_or_default()
}

pub(crate) fn bad_event<M: ReadModel>(recorded: &RecordedEvent, reason: String) -> ProjectionError {
    ProjectionError::BadEvent {
        projection: M::NAME,
        position: recorded.position,
        stream_id: recorded.stream_id.clone(),
        version: recorded.version,
        event_type: recorded.event_type.clone(),
        reason,
    }
}
