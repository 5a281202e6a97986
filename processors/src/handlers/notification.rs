use std::collections::HashMap;

use async_trait::async_trait;
use domain::{NotificationId, UserId};
use event_store::Ledger;
use messaging::message::{OrderStatusUpdate, UserNotification};
use messaging::{Effect, HandleError, Handler, ReceivedMessage, Topic};

use super::inbox::{self, Submitted, submitted};
use crate::commands::{self, Origin};
use crate::contact::{self, Contact};

const NAME: &str = "notification";

/// Turns changes of status into notifications, and hands notifications to the services of their channels.
pub struct NotificationHandler {
    ledger: Ledger,
}

enum Task {
    Request(OrderStatusUpdate),
    Dispatch(UserNotification),
}

impl NotificationHandler {
    /// A handler that decides on this ledger and looks contacts up beside it.
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }

    fn submit(
        &self,
        message: &ReceivedMessage,
        task: Result<Task, HandleError>,
        contacts: &HashMap<UserId, Contact>,
    ) -> Submitted {
        let origin = Origin::of_message(message, NAME);
        match task? {
            // The id of what is told is the id of the message that says it, so that it is told once.
            Task::Request(update) => {
                let contact = contacts.get(&update.user_id);
                let id = NotificationId::from(message.message_id);
                submitted(commands::request_notification(&self.ledger, origin, id, update, contact))
            }
            Task::Dispatch(notification) => {
                let contact = contacts.get(&notification.user_id);
                submitted(commands::dispatch_notification(&self.ledger, origin, notification, contact))
            }
        }
    }
}

#[async_trait]
impl Handler for NotificationHandler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::OrderStatusUpdate, Topic::UserNotification]
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        let tasks: Vec<_> = batch.iter().map(Task::of).collect();
        let mut users: Vec<UserId> = tasks.iter().flatten().map(Task::user_id).collect();
        users.sort_unstable();
        users.dedup();
        let contacts = match contact::get_many(self.ledger.pool(), &users).await {
            Ok(contacts) => contacts,
            Err(error) => {
                let away = HandleError::Transient(format!("the contact book cannot be read: {error}"));
                return batch.iter().map(|_| Err(away.clone())).collect();
            }
        };
        let tasks = batch.iter().zip(tasks);
        inbox::all(tasks.map(|(message, task)| self.submit(message, task, &contacts)).collect()).await
    }
}

impl Task {
    fn of(message: &ReceivedMessage) -> Result<Self, HandleError> {
        if message.topic == Topic::OrderStatusUpdate {
            return Ok(Self::Request(message.decode()?));
        }
        Ok(Self::Dispatch(message.decode()?))
    }

    fn user_id(&self) -> UserId {
        match self {
            Self::Request(update) => update.user_id,
            Self::Dispatch(notification) => notification.user_id,
        }
    }
}
