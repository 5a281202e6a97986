//! A letter's body as a person may see it.

use serde_json::Value;

use super::DeadLetter;
use crate::topic::Topic;

pub(super) const HIDDEN: &str = "•••";
/// What names nobody. A dead letter may have its members misnamed, so all others are hidden.
const SHOWN_MEMBERS: [&str; 12] = [
    "messageId",
    "eventType",
    "timestamp",
    "source",
    "version",
    "notificationId",
    "userId",
    "orderId",
    "template",
    "subject",
    "title",
    "body",
];

/// Whether phone numbers and addresses are for whoever looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contacts {
    Shown,
    Hidden,
}

/// Whether the letter may hold a phone number or an address; of a topic nobody knows, any may.
pub fn may_name_contacts(letter: &DeadLetter) -> bool {
    Topic::parse(&letter.topic).is_none_or(Topic::names_contacts)
}

/// A body of the letter (the present or the original one) as text.
pub fn shown_body(letter: &DeadLetter, body: &[u8], contacts: Contacts) -> String {
    if contacts == Contacts::Shown || !may_name_contacts(letter) {
        return String::from_utf8_lossy(body).into_owned();
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(mut message) if message.is_object() => {
            hide(&mut message);
            message.to_string()
        }
        // What can't be read can't be told apart.
        _ => format!("{HIDDEN} ({} bytes that may name somebody)", body.len()),
    }
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(members) => members.iter_mut().for_each(|(name, member)| hide_member(name, member)),
        Value::Array(items) => items.iter_mut().for_each(|item| hide_member("", item)),
        _ => {}
    }
}

fn hide_member(name: &str, member: &mut Value) {
    match member {
        Value::Object(_) | Value::Array(_) => hide(member),
        Value::Null | Value::Bool(_) => {}
        _ if SHOWN_MEMBERS.contains(&name) => {}
        _ => *member = HIDDEN.into(),
    }
}
