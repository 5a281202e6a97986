//! What dead letters are answered as.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use messaging::dead_letter::{Contacts, DeadLetter, Discarded, Group, HistoryEntry, Redriven, shown_body};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A dead letter.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetter)]
pub(crate) struct DeadLetterBody {
    id: i64,
    #[schema(example = "stock")]
    consumer: String,
    #[schema(example = "stock-lock")]
    topic: String,
    waiting_key: Option<String>,
    #[schema(value_type = Option<String>, format = "uuid")]
    message_id: Option<Uuid>,
    /// `dead`, `behind`, `redriven` or `discarded`.
    state: &'static str,
    /// What all that failed alike have in common.
    #[schema(example = "failed: rejected: unknown_ticket_type")]
    cause: String,
    /// The exact error.
    reason: String,
    attempts: i32,
    created_at: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
    resolved_by: Option<String>,
    properties: BTreeMap<String, String>,
}

/// A page of dead letters.
#[derive(ToSchema)]
#[schema(as = DeadLetterList)]
#[expect(dead_code, reason = "documents a ListBody of dead letters")]
pub(crate) struct DeadLetterListBody {
    items: Vec<DeadLetterBody>,
    /// Give it as `after` for the next page; null at the end.
    next: Option<String>,
}

/// A dead letter with its message and its past.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetterDetail)]
pub(crate) struct DeadLetterDetailBody {
    #[serde(flatten)]
    letter: DeadLetterBody,
    broker: String,
    queue: i32,
    queue_offset: i64,
    /// The message as it would be applied now.
    body: String,
    /// What came, where a person has replaced it.
    original_body: Option<String>,
    /// The oldest first.
    history: Vec<HistoryBody>,
}

/// Something that happened to a dead letter.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetterHistory)]
pub(crate) struct HistoryBody {
    at: DateTime<Utc>,
    /// Null: the consumer itself.
    actor: Option<String>,
    /// `parked`, `failed_again`, `edited`, `redriven` or `discarded`.
    #[schema(example = "failed_again")]
    action: String,
    reason: Option<String>,
    /// How often it had been tried by then.
    attempt: Option<i32>,
}

/// Dead letters of one consumer and topic that failed alike.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetterGroup)]
pub(crate) struct GroupBody {
    #[schema(example = "poison: version … is not supported, only 1.x is")]
    cause: String,
    consumer: String,
    topic: String,
    /// Of one of them.
    reason: String,
    /// Failed themselves.
    dead: i64,
    /// Wait for one of them.
    behind: i64,
    keys: i64,
    oldest_at: DateTime<Utc>,
    newest_at: DateTime<Utc>,
    sample_id: i64,
}

/// The groups of dead letters.
#[derive(ToSchema)]
#[schema(as = DeadLetterGroupList)]
#[expect(dead_code, reason = "documents a ListBody of groups")]
pub(crate) struct GroupListBody {
    items: Vec<GroupBody>,
    /// Null: there is one page.
    next: Option<String>,
}

/// What a redrive did.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Redriven)]
pub(crate) struct RedrivenBody {
    /// Messages of the same key that are delivered now.
    delivered: u32,
    /// The one that failed again; it and those behind it stay.
    stopped_at: Option<i64>,
    reason: Option<String>,
    /// Messages of the same key that are still undelivered. One call applies at most 1000: without `stoppedAt`, call again.
    left: i64,
}

/// What a discard left behind.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DiscardedDeadLetter)]
pub(crate) struct DiscardedBody {
    id: i64,
    #[schema(example = "discarded")]
    state: &'static str,
    /// Messages of the same key that are still undelivered.
    behind: i64,
    /// The redrive that was started for them; null where none waits, or another dead letter stands before them.
    #[schema(value_type = Option<String>, format = "uuid")]
    redrive_id: Option<Uuid>,
}

impl DeadLetterDetailBody {
    pub(crate) fn new(letter: DeadLetter, history: Vec<HistoryEntry>, contacts: Contacts) -> Self {
        Self {
            body: shown_body(&letter, &letter.body, contacts),
            original_body: letter.original_body.as_deref().map(|body| shown_body(&letter, body, contacts)),
            broker: letter.broker.clone(),
            queue: letter.queue,
            queue_offset: letter.queue_offset,
            history: history.into_iter().map(HistoryBody::from).collect(),
            letter: letter.into(),
        }
    }
}

impl DiscardedBody {
    pub(crate) fn new(id: i64, discarded: Discarded) -> Self {
        Self { id, state: "discarded", behind: discarded.behind, redrive_id: discarded.redrive_id }
    }
}

impl From<DeadLetter> for DeadLetterBody {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            consumer: letter.consumer,
            topic: letter.topic,
            waiting_key: letter.waiting_key,
            message_id: letter.message_id,
            state: letter.state.as_str(),
            cause: letter.cause,
            reason: letter.reason,
            attempts: letter.attempts,
            created_at: letter.created_at,
            resolved_at: letter.resolved_at,
            resolved_by: letter.resolved_by,
            properties: letter.properties.into_iter().collect(),
        }
    }
}

impl From<HistoryEntry> for HistoryBody {
    fn from(entry: HistoryEntry) -> Self {
        let HistoryEntry { at, actor, action, reason, attempt } = entry;
        Self { at, actor, action, reason, attempt }
    }
}

impl From<Group> for GroupBody {
    fn from(group: Group) -> Self {
        Self {
            cause: group.cause,
            consumer: group.consumer,
            topic: group.topic,
            reason: group.reason,
            dead: group.dead,
            behind: group.behind,
            keys: group.keys,
            oldest_at: group.oldest_at,
            newest_at: group.newest_at,
            sample_id: group.sample_id,
        }
    }
}

impl From<Redriven> for RedrivenBody {
    fn from(redriven: Redriven) -> Self {
        let (stopped_at, reason) = redriven.stopped_at.map(|at| (at.id, at.reason)).unzip();
        Self { delivered: redriven.delivered, stopped_at, reason, left: redriven.left }
    }
}
