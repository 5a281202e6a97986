//! The contact book: where and how each user wants to be told.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use domain::UserId;
use sqlx::PgPool;

/// Where and how to reach one user.
#[derive(Clone, PartialEq, Eq)]
pub struct Contact {
    pub phone: Option<String>,
    pub email: Option<String>,
    pub language: Language,
    pub channels: Vec<Channel>,
}

/// The languages there are templates for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    #[default]
    Zh,
    En,
}

/// A way to tell a user something. The list of notifications in this system is always kept; naming it asks for nothing
/// more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    InApp,
    Sms,
    Email,
}

/// The contact of a user, if they left one.
pub async fn get(pool: &PgPool, user_id: UserId) -> Result<Option<Contact>, sqlx::Error> {
    Ok(get_many(pool, &[user_id]).await?.remove(&user_id))
}

/// The contacts of many users in one query.
pub async fn get_many(pool: &PgPool, user_ids: &[UserId]) -> Result<HashMap<UserId, Contact>, sqlx::Error> {
    let ids: Vec<i64> = user_ids.iter().map(|user_id| user_id.get()).collect();
    let rows: Vec<ContactRow> = sqlx::query_as(
        "SELECT user_id, phone, email, language, channels FROM processing.contact WHERE user_id = ANY($1)",
    )
    .bind(ids)
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(ContactRow::decode).collect()
}

/// Writes the contact of a user over whatever was there.
pub async fn put(pool: &PgPool, user_id: UserId, contact: &Contact) -> Result<(), sqlx::Error> {
    let channels: Vec<&str> = contact.channels.iter().map(|channel| channel.as_str()).collect();
    sqlx::query(include_str!("contact/put.sql"))
        .bind(user_id.get())
        .bind(&contact.phone)
        .bind(&contact.email)
        .bind(contact.language.as_str())
        .bind(channels)
        .execute(pool)
        .await?;
    Ok(())
}

impl Contact {
    /// The services that the user wants to hear from and left an address for.
    pub fn reachable_channels(&self) -> Vec<domain::Channel> {
        let reachable = |channel: &Channel| match channel {
            Channel::InApp => None,
            Channel::Sms => self.phone.as_ref().map(|_| domain::Channel::Sms),
            Channel::Email => self.email.as_ref().map(|_| domain::Channel::Email),
        };
        self.channels.iter().filter_map(reachable).collect()
    }
}

impl Language {
    /// The code that the contact book keeps.
    pub fn as_str(self) -> &'static str {
        match self {
            Language::Zh => "zh",
            Language::En => "en",
        }
    }
}

impl Channel {
    /// The name that the contact book and REST keep.
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::InApp => "in_app",
            Channel::Sms => "sms",
            Channel::Email => "email",
        }
    }
}

impl FromStr for Language {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "zh" => Ok(Language::Zh),
            "en" => Ok(Language::En),
            _ => Err(UnknownName(name.to_owned())),
        }
    }
}

impl FromStr for Channel {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "in_app" => Ok(Channel::InApp),
            "sms" => Ok(Channel::Sms),
            "email" => Ok(Channel::Email),
            _ => Err(UnknownName(name.to_owned())),
        }
    }
}

/// A language or channel that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown language or channel `{0}`")]
pub struct UnknownName(String);

#[derive(sqlx::FromRow)]
struct ContactRow {
    user_id: i64,
    phone: Option<String>,
    email: Option<String>,
    language: String,
    channels: Vec<String>,
}

impl ContactRow {
    fn decode(self) -> Result<(UserId, Contact), sqlx::Error> {
        let decoding = |error: UnknownName| sqlx::Error::Decode(Box::new(error));
        let user_id = UserId::new(self.user_id).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let channels = self.channels.iter().map(|name| name.parse()).collect::<Result<_, _>>().map_err(decoding)?;
        let language = self.language.parse().map_err(decoding)?;
        Ok((user_id, Contact { phone: self.phone, email: self.email, language, channels }))
    }
}

// Phone and e-mail never reach a log.
impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact")
            .field("language", &self.language)
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}
