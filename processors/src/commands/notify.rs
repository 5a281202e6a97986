use std::future::Future;

use domain::{Channel, Notification, NotificationCommand, NotificationId};
use event_store::{CommandError, Committed, Ledger, Refusal, UnitOfWork};
use messaging::message::{EmailNotification, OrderStatusUpdate, SmsNotification, UserNotification};

use super::effects::publish;
use super::{Origin, measured};
use crate::contact::Contact;
use crate::templates::Template;

/// Tells a user, in this system and by message, that their order moved on, if that is worth telling.
pub fn request_notification(
    ledger: &Ledger,
    origin: Origin,
    notification_id: NotificationId,
    update: OrderStatusUpdate,
    contact: Option<&Contact>,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    let mode = origin.mode();
    let message = user_notification(notification_id, update, contact);
    let mut command = origin.command();
    if message.is_some() {
        command = command.begin::<Notification>(&notification_id.to_string());
    }
    let requesting = ledger.submit(command, move |uow| match &message {
        Some(message) => request(uow, message),
        None => Ok(()),
    });
    measured("request_notification", mode, requesting)
}

/// Hands a notification to the services of the channels its user can be reached by.
pub fn dispatch_notification(
    ledger: &Ledger,
    origin: Origin,
    message: UserNotification,
    contact: Option<&Contact>,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    let mode = origin.mode();
    let contact = contact.cloned();
    let command = origin.command().read::<Notification>(&message.notification_id.to_string());
    let dispatching = ledger.submit(command, move |uow| dispatch(uow, &message, contact.as_ref()));
    measured("dispatch_notification", mode, dispatching)
}

/// Writes down that a service sent a notification.
pub fn record_sent(
    ledger: &Ledger,
    origin: Origin,
    notification_id: NotificationId,
    channel: Channel,
    provider_reference: String,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    record(ledger, origin, notification_id, NotificationCommand::RecordSent { channel, provider_reference })
}

/// Writes down that a service could not send a notification and will not try again.
pub fn record_failed(
    ledger: &Ledger,
    origin: Origin,
    notification_id: NotificationId,
    channel: Channel,
    reason: String,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    record(ledger, origin, notification_id, NotificationCommand::RecordFailed { channel, reason })
}

fn user_notification(
    notification_id: NotificationId,
    update: OrderStatusUpdate,
    contact: Option<&Contact>,
) -> Option<UserNotification> {
    let template = Template::for_change(update.from_status, update.to_status)?;
    let text = template.render(contact.map(|contact| contact.language).unwrap_or_default(), &update.order_id);
    let channels = contact.map(Contact::reachable_channels).unwrap_or_default();
    Some(UserNotification {
        notification_id,
        user_id: update.user_id,
        order_id: update.order_id,
        template: template.name().to_owned(),
        title: text.title,
        body: text.body,
        channels,
    })
}

fn request(uow: &mut UnitOfWork<'_>, message: &UserNotification) -> Result<(), Refusal> {
    let request = NotificationCommand::Request {
        notification_id: message.notification_id,
        user_id: message.user_id,
        order_id: message.order_id.clone(),
        template: message.template.clone(),
        title: message.title.clone(),
        body: message.body.clone(),
    };
    if uow.handle::<Notification>(&message.notification_id.to_string(), request)?.is_empty() {
        return Ok(());
    }
    publish(uow, message)
}

fn dispatch(uow: &mut UnitOfWork<'_>, message: &UserNotification, contact: Option<&Contact>) -> Result<(), Refusal> {
    let wanted = |channel: &Channel| message.channels.contains(channel);
    let channels = contact.map(Contact::reachable_channels).unwrap_or_default();
    let channels: Vec<Channel> = channels.into_iter().filter(wanted).collect();
    let dispatch = NotificationCommand::Dispatch { channels: channels.clone() };
    if uow.handle::<Notification>(&message.notification_id.to_string(), dispatch)?.is_empty() {
        return Ok(());
    }
    let Some(contact) = contact else { return Ok(()) };
    for channel in channels {
        send(uow, message, contact, channel)?;
    }
    Ok(())
}

fn send(
    uow: &mut UnitOfWork<'_>,
    message: &UserNotification,
    contact: &Contact,
    channel: Channel,
) -> Result<(), Refusal> {
    let notification_id = message.notification_id;
    let user_id = message.user_id;
    match (channel, &contact.phone, &contact.email) {
        (Channel::Sms, Some(phone), _) => {
            let body = message.body.clone();
            publish(uow, &SmsNotification { notification_id, user_id, phone: phone.clone(), body })
        }
        (Channel::Email, _, Some(email)) => {
            let (subject, body) = (message.title.clone(), message.body.clone());
            publish(uow, &EmailNotification { notification_id, user_id, email: email.clone(), subject, body })
        }
        _ => Ok(()),
    }
}

fn record(
    ledger: &Ledger,
    origin: Origin,
    notification_id: NotificationId,
    command: NotificationCommand,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<> {
    let mode = origin.mode();
    let id = notification_id.to_string();
    let declared = origin.command().read::<Notification>(&id);
    let recording = ledger.submit(declared, move |uow| uow.handle::<Notification>(&id, command.clone()).map(drop));
    measured("record_delivery", mode, recording)
}
