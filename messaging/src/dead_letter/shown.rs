//! A letter's body as a person may see it.

use serde_json::Value;

use super::DeadLetter;
use crate::topic::Topic;

const HIDDEN: &str = "•••";
const CONTACT_MEMBERS: [&str; 2] = ["phone", "email"];

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
        Value::Object(members) => {
            for (name, member) in members {
                if CONTACT_MEMBERS.contains(&name.to_lowercase().as_str()) {
                    *member = HIDDEN.into();
                } else {
                    hide(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}
