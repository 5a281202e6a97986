//! The rollout on a real Postgres: kept, followed, switched by itself, ramped and measured.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod following;
mod keeping;
mod measuring;
mod ramping;
mod support;
mod switching;
