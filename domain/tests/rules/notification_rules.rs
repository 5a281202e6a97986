//! Each rule of notifications, and what repeats the past.

use domain::notification::DeliveryStatus;
use domain::{Channel, Decider, Notification, NotificationCommand, NotificationId, NotificationRejection};
use rstest::rstest;

use crate::support::{after, order_id, user_id};

pub fn request() -> NotificationCommand {
    NotificationCommand::Request {
        notification_id: NotificationId::parse("01938a3c-7b1e-7c0d-9e2f-3a4b5c6d7e8f").unwrap(),
        user_id: user_id(),
        order_id: order_id(1),
        template: "order_confirmed".to_owned(),
        title: "Your tickets".to_owned(),
        body: "Order ORD202412010001 is confirmed.".to_owned(),
    }
}

pub fn dispatch(channels: &[Channel]) -> NotificationCommand {
    NotificationCommand::Dispatch { channels: channels.to_vec() }
}

pub fn sent(channel: Channel) -> NotificationCommand {
    NotificationCommand::RecordSent { channel, provider_reference: "sms_1".to_owned() }
}

pub fn failed(channel: Channel) -> NotificationCommand {
    NotificationCommand::RecordFailed { channel, reason: "unreachable".to_owned() }
}

#[rstest]
#[case(dispatch(&[Channel::Sms]))]
#[case(sent(Channel::Sms))]
#[case(failed(Channel::Sms))]
fn not_found(#[case] command: NotificationCommand) {
    assert_eq!(NotificationRejection::NotFound.code(), "notification_not_found");
    assert_eq!(Notification::default().decide(command), Err(NotificationRejection::NotFound));
}

#[rstest]
#[case::not_yet(after([request()]), sent(Channel::Email))]
#[case::by_another_channel(after([request(), dispatch(&[Channel::Sms])]), sent(Channel::Email))]
#[case::by_none(after([request(), dispatch(&[])]), failed(Channel::Email))]
fn not_dispatched(#[case] given: Notification, #[case] command: NotificationCommand) {
    let expected = NotificationRejection::NotDispatched { channel: Channel::Email };

    assert_eq!(expected.code(), "notification_not_dispatched");
    assert_eq!(given.decide(command), Err(expected));
}

#[rstest]
#[case(&[], request())]
#[case(&[dispatch(&[])], dispatch(&[Channel::Sms]))]
#[case(&[dispatch(&[Channel::Sms]), sent(Channel::Sms)], sent(Channel::Sms))]
#[case(&[dispatch(&[Channel::Sms]), sent(Channel::Sms)], failed(Channel::Sms))]
#[case(&[dispatch(&[Channel::Sms]), failed(Channel::Sms)], failed(Channel::Sms))]
fn what_repeats_the_past_has_no_second_effect(
    #[case] since_requested: &[NotificationCommand],
    #[case] command: NotificationCommand,
) {
    let given: Notification = after(std::iter::once(request()).chain(since_requested.iter().cloned()));

    assert_eq!(given.decide(command), Ok(vec![]));
}

#[test]
fn each_channel_has_a_status_of_its_own() {
    let notification: Notification = after([
        request(),
        dispatch(&[Channel::Email, Channel::Sms, Channel::Email]),
        sent(Channel::Sms),
        failed(Channel::Email),
    ]);

    let requested = notification.requested.unwrap();
    assert_eq!(requested.delivery(Channel::Sms), Some(DeliveryStatus::Sent));
    assert_eq!(requested.delivery(Channel::Email), Some(DeliveryStatus::Failed));
    assert_eq!(requested.deliveries.unwrap().len(), 2);
}

#[test]
fn what_failed_may_be_sent_later() {
    let notification: Notification =
        after([request(), dispatch(&[Channel::Sms]), failed(Channel::Sms), sent(Channel::Sms)]);

    assert_eq!(notification.requested.unwrap().delivery(Channel::Sms), Some(DeliveryStatus::Sent));
}
