use std::collections::BTreeMap;

use domain::Mode;
use serde::{Deserialize, Serialize};

/// Who is taken which way. Everything that is not said has the value of the default: async for all, sync when the broker is
/// away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutPolicy {
    /// `sync`: everyone is. `async`: the percentage says who is, and the rest is sync.
    pub mode: Mode,
    /// 0 to 100.
    #[serde(default = "everyone")]
    pub async_percent: u8,
    /// Members of these groups have this mode, whatever the percentage says.
    #[serde(default)]
    pub groups: BTreeMap<String, Mode>,
    #[serde(default)]
    pub fallback: Fallback,
}

/// What new orders do while the broker takes no messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// They go around it.
    #[default]
    Sync,
    /// They wait for it.
    None,
}

impl Fallback {
    /// The name it has in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::None => "none",
        }
    }

    /// The fallback of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Sync, Self::None].into_iter().find(|fallback| fallback.as_str() == name)
    }
}

/// A policy that is none, and which of its fields is why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidPolicy {
    pub field: String,
    pub reason: String,
}

pub(crate) const MAX_GROUPS: usize = 64;
const MAX_GROUP_NAME_CHARS: usize = 64;

const fn everyone() -> u8 {
    100
}

impl Default for RolloutPolicy {
    fn default() -> Self {
        Self { mode: Mode::Async, async_percent: everyone(), groups: BTreeMap::new(), fallback: Fallback::Sync }
    }
}

impl RolloutPolicy {
    /// Refuses what the types let through.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        if self.async_percent > 100 {
            return Err(InvalidPolicy::new("asyncPercent", "must be between 0 and 100"));
        }
        if self.groups.len() > MAX_GROUPS {
            return Err(InvalidPolicy::new("groups", format!("at most {MAX_GROUPS} groups")));
        }
        match self.groups.keys().find(|name| !is_group_name(name)) {
            Some(name) => {
                let reason =
                    format!("a group's name has 1 to {MAX_GROUP_NAME_CHARS} characters, none of them a control");
                Err(InvalidPolicy::new(format!("groups.{}", name.escape_debug()), reason))
            }
            None => Ok(()),
        }
    }

    /// How many of a hundred users the percentage makes async.
    pub fn effective_percent(&self) -> u8 {
        match self.mode {
            Mode::Async => self.async_percent,
            Mode::Sync => 0,
        }
    }
}

impl InvalidPolicy {
    /// This field, for this reason.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

fn is_group_name(name: &str) -> bool {
    (1..=MAX_GROUP_NAME_CHARS).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn refused_field(json: &str) -> String {
        let policy: RolloutPolicy = serde_json::from_str(json).unwrap();
        policy.validate().unwrap_err().field
    }

    #[test]
    fn what_is_not_said_has_the_value_of_the_default() {
        assert_eq!(serde_json::from_str::<RolloutPolicy>(r#"{"mode":"async"}"#).unwrap(), RolloutPolicy::default());
        assert!(RolloutPolicy::default().validate().is_ok());
    }

    #[test]
    fn a_policy_is_refused_by_the_field_that_is_wrong() {
        assert_eq!(refused_field(r#"{"mode":"async","asyncPercent":101}"#), "asyncPercent");
        assert_eq!(refused_field(r#"{"mode":"async","groups":{"":"sync"}}"#), "groups.");
        assert_eq!(refused_field(r#"{"mode":"async","groups":{"a\u0000":"sync"}}"#), "groups.a\\0");
        let many: BTreeMap<String, Mode> = (0..65).map(|n| (format!("g{n}"), Mode::Sync)).collect();
        let policy = RolloutPolicy { groups: many, ..RolloutPolicy::default() };
        assert_eq!(policy.validate().unwrap_err().field, "groups");
        for unreadable in [
            r#"{"mode":"async","groups":{"beta":"maybe"}}"#,
            r#"{"mode":"async","percent":10}"#,
            r#"{"mode":"half"}"#,
            r#"{"mode":"async","asyncPercent":-1}"#,
            r#"{"mode":"async","fallback":"async"}"#,
            "{}",
        ] {
            assert!(serde_json::from_str::<RolloutPolicy>(unreadable).is_err(), "{unreadable}");
        }
    }
}
