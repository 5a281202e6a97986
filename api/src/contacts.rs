//! Where and how a user wants to be told. Phone and e-mail live in the contact book only, never in an event.

use axum::Json;
use axum::extract::State;
use domain::UserId;
use processors::contact::{self, Channel, Contact, Language};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::extract::{JsonBody, PathId};
use crate::openapi::{BodyProblems, CallerProblems};
use crate::problem::Problem;
use crate::refusals::database_away;
use crate::state::ApiState;

/// A user's contact, as it is read and written.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ContactBody {
    /// E.164.
    #[schema(example = "+8613800138000", max_length = 16)]
    phone: Option<String>,
    #[schema(example = "someone@example.com", max_length = 254)]
    email: Option<String>,
    /// `zh` or `en`.
    #[serde(default = "default_language")]
    #[schema(example = "en")]
    language: String,
    /// `in_app`, `sms`, `email`.
    #[serde(default)]
    channels: Vec<String>,
}

fn default_language() -> String {
    Language::default().as_str().to_owned()
}

/// A user's contact; empty where they left none.
#[utoipa::path(
    get,
    path = "/v1/users/{userId}/contact",
    tag = "users",
    params(("userId" = i64, Path, minimum = 1)),
    responses((status = 200, description = "The contact", body = ContactBody), CallerProblems)
)]
pub(crate) async fn get(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(user): PathId<UserId>,
) -> Result<Json<ContactBody>, Problem> {
    require_owner(&caller, user)?;
    let contact = contact::get(&api.queries, user).await.map_err(database_away)?;
    Ok(Json(contact.map_or_else(ContactBody::empty, ContactBody::from)))
}

/// Replaces a user's contact.
#[utoipa::path(
    put,
    path = "/v1/users/{userId}/contact",
    tag = "users",
    params(("userId" = i64, Path, minimum = 1)),
    request_body = ContactBody,
    responses((status = 200, description = "The contact as it is now", body = ContactBody), CallerProblems, BodyProblems)
)]
pub(crate) async fn put(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(user): PathId<UserId>,
    JsonBody(body): JsonBody<ContactBody>,
) -> Result<Json<ContactBody>, Problem> {
    require_owner(&caller, user)?;
    let contact = body.validate()?;
    contact::put(&api.queries, user, &contact).await.map_err(database_away)?;
    Ok(Json(contact.into()))
}

fn require_owner(caller: &Caller, user: UserId) -> Result<(), Problem> {
    if caller.may_act_for(user) { Ok(()) } else { Err(Problem::forbidden("a contact is for its user only")) }
}

const MAX_EMAIL_CHARS: usize = 254;

impl ContactBody {
    fn empty() -> Self {
        Self { phone: None, email: None, language: default_language(), channels: Vec::new() }
    }

    fn validate(self) -> Result<Contact, Problem> {
        if self.phone.as_deref().is_some_and(|phone| !is_phone(phone)) {
            return Err(Problem::invalid_value("phone", "`+` and 5 to 15 digits (E.164)"));
        }
        if self.email.as_deref().is_some_and(|email| !is_email(email)) {
            return Err(Problem::invalid_value("email", "not an e-mail address"));
        }
        let language = self.language.parse().map_err(|_| Problem::invalid_value("language", "`zh` or `en`"))?;
        let mut channels: Vec<Channel> = Vec::new();
        for name in &self.channels {
            let channel = name.parse().map_err(|_| Problem::invalid_value("channels", "`in_app`, `sms` or `email`"))?;
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
        Ok(Contact { phone: self.phone, email: self.email, language, channels })
    }
}

impl From<Contact> for ContactBody {
    fn from(contact: Contact) -> Self {
        Self {
            phone: contact.phone,
            email: contact.email,
            language: contact.language.as_str().to_owned(),
            channels: contact.channels.iter().map(|channel| channel.as_str().to_owned()).collect(),
        }
    }
}

fn is_phone(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (5..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Only what would surely not arrive, or would be a second header, is refused: the rest the receiving server decides.
fn is_email(text: &str) -> bool {
    let printable = text.chars().all(|c| !c.is_whitespace() && !c.is_control());
    let halves = text.rsplit_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    printable && halves && text.len() <= MAX_EMAIL_CHARS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_could_not_arrive_is_refused() {
        assert!(is_phone("+8613800138000"));
        assert!(!is_phone("13800138000"));
        assert!(!is_phone("+12a45"));
        assert!(is_email("a@b.example"));
        assert!(!is_email("a@b.example\r\nBcc: c@d.example"));
        assert!(!is_email("@b.example"));
        assert!(!is_email("nobody"));
    }
}
