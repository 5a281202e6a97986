//! For those who run the shop: how far behind everything is, and what could not be delivered,
//! and which orders hang.

pub(crate) mod audit;
pub(crate) mod charts;
pub(crate) mod dead_letters;
pub(crate) mod events;
pub(crate) mod history;
pub(crate) mod lag;
pub(crate) mod parked;
pub(crate) mod projections;
pub(crate) mod redrives;
pub(crate) mod rollout;
pub(crate) mod sagas;
pub(crate) mod updates;

use crate::auth::{Caller, Role};
use crate::problem::Problem;

/// Who may look behind the counter.
fn require_staff(caller: &Caller) -> Result<(), Problem> {
    caller.require_any(&[Role::Operator, Role::Auditor, Role::Admin])
}

/// Who may set something right there.
fn require_operator(caller: &Caller) -> Result<(), Problem> {
    caller.require_any(&[Role::Operator, Role::Admin])
}
