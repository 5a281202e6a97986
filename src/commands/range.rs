//! A part of the ledger as people name it: by positions, by times, or both.

use std::time::Duration;

use anyhow::anyhow;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use event_store::{read, select};
use sqlx::PgPool;

use super::rollout::parse_duration;
use crate::exit::Failure;

#[derive(Debug, Clone, Default, Args)]
pub struct RangeArgs {
    /// Begin behind this ledger position.
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(0..))]
    pub from: Option<i64>,
    /// The last ledger position.
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(0..))]
    pub to: Option<i64>,
    /// Recorded at this time or later: RFC 3339, or so long ago (90s, 15m, 2h, 1d).
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub since: Option<Moment>,
    /// Recorded at this time or before.
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub until: Option<Moment>,
}

/// A point in time, or a distance from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    At(DateTime<Utc>),
    Ago(Duration),
}

/// Positions in `(after, upto]`; without an end it is the ledger's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub after: i64,
    pub upto: Option<i64>,
    /// The ledger's last position when the range was looked up.
    pub head: i64,
}

impl RangeArgs {
    /// The range in positions. What can't be is refused; what lies beyond the head only where nobody waits for it.
    pub async fn resolve(&self, pool: &PgPool, waits_for_more: bool) -> Result<Range, Failure> {
        let now: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()").fetch_one(pool).await?;
        let (since, until) = (self.since.map(|moment| moment.at(now)), self.until.map(|moment| moment.at(now)));
        self.check_order(since, until)?;
        if since.is_some_and(|since| since > now && !waits_for_more) {
            return Err(
                anyhow!("--since lies in the future: by the database's clock it is {}", now.to_rfc3339()).into()
            );
        }
        let head = read::head(pool).await?;
        for (name, position) in [("--from", self.from), ("--to", self.to)] {
            if let Some(position) = position.filter(|position| *position > head && !waits_for_more) {
                return Err(anyhow!("{name} {position} is beyond the ledger's last position, {head}").into());
            }
        }
        let mut range = Range { after: self.from.unwrap_or(0), upto: self.to, head };
        if let Some(since) = since {
            range.after = range.after.max(select::position_before(pool, since).await?);
        }
        if let Some(until) = until {
            let through = select::position_through(pool, until).await?;
            range.upto = Some(range.upto.map_or(through, |upto| upto.min(through)));
        }
        if range.upto.is_some_and(|upto| range.after > upto) {
            return Err(Failure::Usage("the range is empty: it ends before it begins".to_owned()));
        }
        Ok(range)
    }

    fn check_order(&self, since: Option<DateTime<Utc>>, until: Option<DateTime<Utc>>) -> Result<(), Failure> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from > to
        {
            return Err(Failure::Usage(format!("--from {from} is behind --to {to}: nothing lies between them")));
        }
        if since.is_some_and(|since| until.is_some_and(|until| since > until)) {
            return Err(Failure::Usage("--since is after --until: nothing lies between them".to_owned()));
        }
        Ok(())
    }
}

impl Moment {
    fn at(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Moment::At(time) => time,
            Moment::Ago(distance) => TimeDelta::from_std(distance)
                .ok()
                .and_then(|distance| now.checked_sub_signed(distance))
                .unwrap_or(DateTime::UNIX_EPOCH),
        }
    }
}

fn parse_moment(text: &str) -> Result<Moment, String> {
    if let Ok(distance) = parse_duration(text) {
        return Ok(Moment::Ago(distance));
    }
    DateTime::parse_from_rfc3339(text)
        .map(|time| Moment::At(time.to_utc()))
        .map_err(|_| "a time like 2026-11-23T08:00:00Z, or 15m for so long ago".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_a_distance() {
        let nine = DateTime::parse_from_rfc3339("2026-11-23T09:00:00Z").unwrap().to_utc();
        assert_eq!(parse_moment("2026-11-23T10:00:00+01:00").unwrap(), Moment::At(nine));
        assert_eq!(parse_moment("15m").unwrap().at(nine), nine - TimeDelta::minutes(15));
        assert_eq!(parse_moment("99999999999d").unwrap().at(nine), DateTime::UNIX_EPOCH, "before everything");
        for wrong in ["", "yesterday", "2026-11-23", "15"] {
            assert!(parse_moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_is_a_usage_error() {
        let backwards = RangeArgs { from: Some(9), to: Some(3), ..RangeArgs::default() };
        assert!(matches!(backwards.check_order(None, None), Err(Failure::Usage(_))));
        let (early, late) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + TimeDelta::seconds(1));
        assert!(matches!(RangeArgs::default().check_order(Some(late), Some(early)), Err(Failure::Usage(_))));
        assert!(RangeArgs::default().check_order(Some(early), Some(late)).is_ok());
    }
}
