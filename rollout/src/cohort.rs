use domain::{Mode, UserId};

use crate::bucket::bucket_of;
use crate::in_force::InForce;

/// How an order is taken, and what chose so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    pub mode: Mode,
    pub cause: Cause,
}

/// What chose the mode of an order, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// An operator, for this order.
    Pin,
    /// The configuration of the process that took it.
    Instance,
    /// The broker is away.
    Fallback,
    /// One of the caller's groups.
    Group,
    /// The policy's mode and percentage.
    Policy,
}

/// What one `serve` process decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InstanceMode {
    /// What the policy says.
    #[default]
    Policy,
    /// Always this, whatever the policy says: for a gateway that switches by choosing among instances.
    Always(Mode),
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 5] = [Self::Pin, Self::Instance, Self::Fallback, Self::Group, Self::Policy];

    /// The name it has in samples and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pin => "pin",
            Self::Instance => "instance",
            Self::Fallback => "fallback",
            Self::Group => "group",
            Self::Policy => "policy",
        }
    }

    /// Whether the order belongs to the comparison: one that an operator or an outage took out of its cohort does not.
    pub const fn is_compared(self) -> bool {
        !matches!(self, Self::Pin | Self::Fallback)
    }
}

impl InstanceMode {
    /// The mode of that name: `policy`, `async` or `sync`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "policy" => Some(Self::Policy),
            name => Mode::parse(name).map(Self::Always),
        }
    }
}

impl InForce {
    /// How an order of this user is taken. Of several groups that the policy names, the first of the token counts.
    pub fn assign(&self, instance: InstanceMode, pin: Option<Mode>, user_id: UserId, groups: &[String]) -> Assignment {
        if let Some(mode) = pin {
            return Assignment { mode, cause: Cause::Pin };
        }
        if let InstanceMode::Always(mode) = instance {
            return Assignment { mode, cause: Cause::Instance };
        }
        if self.is_falling_back() {
            return Assignment { mode: Mode::Sync, cause: Cause::Fallback };
        }
        if let Some(mode) = groups.iter().find_map(|group| self.policy.groups.get(group)) {
            return Assignment { mode: *mode, cause: Cause::Group };
        }
        let is_async = bucket_of(user_id) < self.policy.effective_percent();
        Assignment { mode: if is_async { Mode::Async } else { Mode::Sync }, cause: Cause::Policy }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::policy::{Fallback, RolloutPolicy};

    const ANYONE: i64 = 12_345;

    fn in_force(json: &str, is_fallback_active: bool) -> InForce {
        let policy: RolloutPolicy = serde_json::from_str(json).unwrap();
        InForce { policy, version: 1, is_fallback_active }
    }

    fn assign(in_force: &InForce, pin: Option<Mode>, groups: &[&str]) -> (Mode, Cause) {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let user = UserId::new(ANYONE).unwrap();
        let assigned = in_force.assign(InstanceMode::Policy, pin, user, &groups);
        (assigned.mode, assigned.cause)
    }

    fn at_percent(percent: u8, user: i64) -> Mode {
        let policy = RolloutPolicy { async_percent: percent, ..RolloutPolicy::default() };
        let in_force = InForce { policy, version: 1, is_fallback_active: false };
        in_force.assign(InstanceMode::Policy, None, UserId::new(user).unwrap(), &[]).mode
    }

    #[test]
    fn the_stronger_cause_wins() {
        let json = r#"{"mode":"sync","groups":{"beta":"async","old":"sync"}}"#;
        let calm = in_force(json, false);
        assert_eq!(assign(&calm, None, &[]), (Mode::Sync, Cause::Policy));
        assert_eq!(assign(&calm, None, &["unknown", "beta", "old"]), (Mode::Async, Cause::Group));
        let broken = in_force(json, true);
        assert_eq!(assign(&broken, None, &["beta"]), (Mode::Sync, Cause::Fallback));
        assert_eq!(assign(&broken, Some(Mode::Async), &["beta"]), (Mode::Async, Cause::Pin));
        let always = calm.assign(InstanceMode::Always(Mode::Async), None, UserId::new(ANYONE).unwrap(), &[]);
        assert_eq!((always.mode, always.cause), (Mode::Async, Cause::Instance));
    }

    #[test]
    fn without_a_fallback_orders_wait_for_the_broker() {
        let waiting = in_force(r#"{"mode":"async","fallback":"none"}"#, true);
        assert_eq!(waiting.policy.fallback, Fallback::None);
        assert_eq!(assign(&waiting, None, &[]), (Mode::Async, Cause::Policy));
    }

    #[test]
    fn nobody_at_0_and_everybody_at_100() {
        for user in 1..1_000 {
            assert_eq!(at_percent(0, user), Mode::Sync);
            assert_eq!(at_percent(100, user), Mode::Async);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_share_of_async_users_is_the_percentage(percent in 0_u8..=100, first in 1_i64..1_000_000_000) {
            const USERS: i64 = 10_000;
            let users = first..first + USERS;
            let share = users.filter(|user| at_percent(percent, *user) == Mode::Async).count() as f64 / USERS as f64;
            // Five standard deviations of 10,000 draws.
            let tolerance = 5.0 * (0.25_f64 / USERS as f64).sqrt();
            prop_assert!((share - f64::from(percent) / 100.0).abs() <= tolerance, "{} at {} %", share, percent);
        }

        #[test]
        fn raising_the_percentage_takes_no_user_back_to_sync(low in 0_u8..=100, more in 0_u8..=100, user in 1_i64..) {
            let high = low.saturating_add(more).min(100);
            if at_percent(low, user) == Mode::Async {
                prop_assert_eq!(at_percent(high, user), Mode::Async);
            }
        }
    }
}
