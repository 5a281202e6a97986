//! The notification read model: what a user was told, and how far it got on each channel.

use chrono::{DateTime, Utc};
use domain::{Channel, Decider, Notification, NotificationEvent, NotificationId, OrderId, UserId};
use event_store::read::RecordedEvent;
use messaging::Topic;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};

use crate::columns::column;
use crate::page::{self, Cursor, Page};
use crate::read_model::{ReadModel, Table};
use crate::{ProjectionError, checkpoint, current};

const CURSOR: Cursor = Cursor::of_list('n');

/// A notification as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotificationView {
    pub notification_id: NotificationId,
    pub user_id: UserId,
    pub order_id: OrderId,
    pub template: String,
    pub title: String,
    pub body: String,
    pub status: NotificationStatus,
    /// In the order of dispatch; empty before that.
    pub channels: Vec<ChannelView>,
    pub requested_at: DateTime<Utc>,
    /// Ledger position of its first event: its place in lists.
    #[serde(skip)]
    pub requested_position: i64,
    /// The version of its stream that is shown.
    pub version: i64,
    /// Ledger position of the last event that is shown.
    pub position: i64,
}

/// How far a notification is, all its channels together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NotificationStatus {
    Requested,
    /// On its way over at least one channel, or there is no channel.
    Dispatched,
    /// Sent over every channel.
    Sent,
    /// Nothing is on its way any more, and at least one channel failed.
    Failed,
}

/// One channel of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelView {
    pub channel: Channel,
    pub status: ChannelStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How far a notification is over one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ChannelStatus {
    Dispatched,
    Sent,
    Failed,
}

/// The notification as the ledger has it now, whether the projection runs or not.
pub async fn get(pool: &PgPool, id: &NotificationId) -> Result<Option<NotificationView>, ProjectionError> {
    current::read(pool, &Notification::stream_id(&id.to_string())).await
}

/// A page of a user's notifications, newest first, as far as they are projected.
pub async fn of_user(
    pool: &PgPool,
    user_id: UserId,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<NotificationView>, ProjectionError> {
    let below = CURSOR.read(after)?;
    let rows = page::rows(limit);
    let mut connection = pool.acquire().await?;
    // Before the rows, so that they are never older than the position that is promised.
    let position = checkpoint::checkpoint(&mut connection, NotificationView::NAME).await?;
    let notifications = sqlx::query_as(include_str!("../sql/list_notifications.sql"))
        .bind(user_id.get())
        .bind(below)
        .bind(i64::from(rows) + 1)
        .fetch_all(&mut *connection)
        .await?;
    Ok(CURSOR.page(notifications, rows, position, |row: &NotificationView| row.requested_position))
}

/// A user's notifications after a ledger position, oldest first, as far as they are projected. They become visible in
/// the order of their positions, so that nothing is missed by going on after the last one.
pub async fn after(
    pool: &PgPool,
    user_id: UserId,
    position: i64,
    limit: i64,
) -> Result<Vec<NotificationView>, ProjectionError> {
    let query = sqlx::query_as(include_str!("../sql/notifications_after.sql"));
    Ok(query.bind(user_id.get()).bind(position).bind(limit).fetch_all(pool).await?)
}

/// The ledger position up to which notifications are projected.
pub async fn position(pool: &PgPool) -> Result<i64, ProjectionError> {
    checkpoint::checkpoint(&mut *pool.acquire().await?, NotificationView::NAME).await
}

/// Those of the users who got a notification after one position and up to another.
pub async fn users_with_news(
    pool: &PgPool,
    user_ids: &[UserId],
    after: i64,
    upto: i64,
) -> Result<Vec<UserId>, ProjectionError> {
    let ids: Vec<i64> = user_ids.iter().map(|user_id| user_id.get()).collect();
    let found: Vec<i64> = sqlx::query_scalar(include_str!("../sql/users_with_news.sql"))
        .bind(ids)
        .bind(after)
        .bind(upto)
        .fetch_all(pool)
        .await?;
    Ok(user_ids.iter().copied().filter(|user_id| found.contains(&user_id.get())).collect())
}

impl NotificationView {
    fn settle(&mut self, channel: Channel, change: impl FnOnce(&mut ChannelView)) {
        if let Some(settled) = self.channels.iter_mut().find(|one| one.channel == channel) {
            change(settled);
        }
    }
}

impl NotificationStatus {
    /// The status as REST and SQL spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::Dispatched => "DISPATCHED",
            Self::Sent => "SENT",
            Self::Failed => "FAILED",
        }
    }

    /// The status spelt like this, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Requested, Self::Dispatched, Self::Sent, Self::Failed].into_iter().find(|status| status.as_str() == text)
    }

    fn of_dispatched(channels: &[ChannelView]) -> Self {
        let any = |status| channels.iter().any(|channel| channel.status == status);
        if channels.is_empty() || any(ChannelStatus::Dispatched) {
            Self::Dispatched
        } else if any(ChannelStatus::Failed) {
            Self::Failed
        } else {
            Self::Sent
        }
    }
}

impl ReadModel for NotificationView {
    const NAME: &'static str = "notifications";
    const CODE_VERSION: i32 = 1;
    const KEY_COLUMN: &'static str = "notification_id";
    const TOPICS: &'static [Topic] = &[Topic::UserNotification];
    const CONSUMER: &'static str = "notification-projection";
    type Aggregate = Notification;

    fn begin(event: &NotificationEvent, recorded: &RecordedEvent) -> Option<Self> {
        match event {
            NotificationEvent::NotificationRequested { notification_id, user_id, order_id, template, title, body } => {
                Some(Self {
                    notification_id: *notification_id,
                    user_id: *user_id,
                    order_id: order_id.clone(),
                    template: template.clone(),
                    title: title.clone(),
                    body: body.clone(),
                    status: NotificationStatus::Requested,
                    channels: Vec::new(),
                    requested_at: recorded.recorded_at,
                    requested_position: recorded.position,
                    version: 0,
                    position: 0,
                })
            }
            _ => None,
        }
    }

    fn apply(&mut self, event: &NotificationEvent) {
        match event {
            NotificationEvent::NotificationRequested { .. } => return,
            NotificationEvent::NotificationDispatched { channels } => {
                self.channels = channels.iter().map(|channel| ChannelView::dispatched(*channel)).collect();
            }
            NotificationEvent::NotificationSent { channel, provider_reference } => self.settle(*channel, |sent| {
                sent.status = ChannelStatus::Sent;
                sent.provider_reference = Some(provider_reference.clone());
                sent.reason = None;
            }),
            NotificationEvent::NotificationFailed { channel, reason } => self.settle(*channel, |failed| {
                failed.status = ChannelStatus::Failed;
                failed.reason = Some(reason.clone());
            }),
        }
        self.status = NotificationStatus::of_dispatched(&self.channels);
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn stamp(&mut self, version: i64, position: i64) {
        self.version = version;
        self.position = position;
    }

    fn stream_id(&self) -> String {
        Notification::stream_id(&self.notification_id.to_string())
    }

    async fn load(connection: &mut PgConnection, table: &Table, ids: &[&str]) -> Result<Vec<Self>, sqlx::Error> {
        sqlx::query_as(table.sql(include_str!("../sql/load_notifications.sql"))).bind(ids).fetch_all(connection).await
    }

    async fn upsert(connection: &mut PgConnection, table: &Table, rows: &[Self]) -> Result<(), sqlx::Error> {
        fn all<'a, T>(rows: &'a [NotificationView], value: impl Fn(&'a NotificationView) -> T) -> Vec<T> {
            rows.iter().map(value).collect()
        }
        let channels: Result<Vec<String>, _> = rows.iter().map(|row| serde_json::to_string(&row.channels)).collect();
        let channels = channels.map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        sqlx::query(table.sql(include_str!("../sql/upsert_notifications.sql")))
            .bind(all(rows, |row| row.notification_id.to_string()))
            .bind(all(rows, |row| row.user_id.get()))
            .bind(all(rows, |row| row.order_id.as_str()))
            .bind(all(rows, |row| row.template.as_str()))
            .bind(all(rows, |row| row.title.as_str()))
            .bind(all(rows, |row| row.body.as_str()))
            .bind(all(rows, |row| row.status.as_str()))
            .bind(channels)
            .bind(all(rows, |row| row.requested_at))
            .bind(all(rows, |row| row.requested_position))
            .bind(all(rows, |row| row.version))
            .bind(all(rows, |row| row.position))
            .execute(connection)
            .await?;
        Ok(())
    }
}

impl ChannelView {
    fn dispatched(channel: Channel) -> Self {
        Self { channel, status: ChannelStatus::Dispatched, provider_reference: None, reason: None }
    }
}

impl FromRow<'_, PgRow> for NotificationView {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            notification_id: column(row, "notification_id", NotificationId::parse)?,
            user_id: column(row, "user_id", UserId::new)?,
            order_id: column(row, "order_id", OrderId::parse)?,
            template: row.try_get("template")?,
            title: row.try_get("title")?,
            body: row.try_get("body")?,
            status: column(row, "status", |text: &str| NotificationStatus::parse(text).ok_or("no status"))?,
            channels: column(row, "channels", |text: &str| serde_json::from_str(text))?,
            requested_at: row.try_get("requested_at")?,
            requested_position: row.try_get("requested_position")?,
            version: row.try_get("version")?,
            position: row.try_get("position")?,
        })
    }
}
