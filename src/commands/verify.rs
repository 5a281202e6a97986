//! `order-ledger verify`: checks the invariants, on a live system too, and names each violation.

use std::time::Duration;

use sqlx::PgPool;
use watch::missing::Checked;
use watch::verification::{self, MadeBy};

use super::{broker, missing_config, pool, runtime};
use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::metrics::watched_consumers;

const OVERDUE: Duration = Duration::from_secs(120);
/// The one that needs the broker's word.
const DELIVERY: &str = "I1";
const CHECKED: [&str; 7] = [DELIVERY, "I2", "I3", "I5", "I6", "I7", "I8"];

pub fn run(config: Config, json: bool) -> Outcome {
    let found = runtime()?.block_on(async {
        let pool = pool(&config).await?;
        let position = event_store::read::head(&pool).await?;
        let found = check_all(&config, &pool).await?;
        // It says what was found; a database that takes no note of it takes nothing from that.
        if let Err(error) =
            verification::record(&pool, MadeBy::Verify, &judged(&found), position, &found.violations).await
        {
            tracing::warn!(%error, "the check is not on record");
        }
        anyhow::Ok(found)
    })?;
    match json {
        true => print_json(&found)?,
        false => print_text(&found),
    }
    if found.violations.is_empty() { Ok(()) } else { Err(Failure::Told) }
}

async fn check_all(config: &Config, pool: &PgPool) -> anyhow::Result<Checked> {
    let Checked { mut violations, not_judged } = missing(config, pool).await?;
    violations.extend(watch::invariants::delivery(pool).await?);
    violations.extend(event_store::verify::ledger(pool).await?);
    violations.extend(projections::verify::stock(pool).await?);
    violations.extend(projections::verify::versions(pool).await?);
    violations.extend(projections::verify::money(pool).await?);
    violations.extend(projections::verify::read_models(pool).await?);
    violations.extend(projections::verify::deadlines(pool, OVERDUE).await?);
    Ok(Checked { violations, not_judged })
}

/// What was judged only in part does not count: an earlier check's word on it stands.
fn judged(found: &Checked) -> Vec<&'static str> {
    CHECKED.into_iter().filter(|invariant| *invariant != DELIVERY || found.not_judged.is_empty()).collect()
}

/// I1, the consumers' side: what they have passed, as far as the broker says that they have.
async fn missing(config: &Config, pool: &PgPool) -> anyhow::Result<Checked> {
    // The ledger can be judged where there is no broker, or none yet.
    let Ok(broker) = broker(config) else {
        return Ok(Checked {
            not_judged: vec!["the consumers: no broker is configured".to_owned()],
            ..Checked::default()
        });
    };
    let found = watch::missing::check_all(pool, &*broker, &watched_consumers(config), &missing_config(config)).await;
    broker.close().await;
    Ok(found?)
}

fn print_text(found: &Checked) {
    for violation in &found.violations {
        println!("{}: {}", violation.invariant, violation.message);
    }
    for unknown in &found.not_judged {
        println!("{DELIVERY} not judged: {unknown}");
    }
    match found.violations.len() {
        0 => println!("{} hold", judged(found).join(", ")),
        1 => println!("1 violation"),
        many => println!("{many} violations"),
    }
}

fn print_json(found: &Checked) -> anyhow::Result<()> {
    let violations: Vec<_> = found
        .violations
        .iter()
        .map(|violation| serde_json::json!({ "invariant": violation.invariant, "message": violation.message }))
        .collect();
    let told = serde_json::json!({ "checked": judged(found), "violations": violations, "notJudged": found.not_judged });
    println!("{}", serde_json::to_string_pretty(&told)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_all_be_judged_counts_as_not_judged() {
        let mut found = Checked::default();
        assert_eq!(judged(&found), CHECKED);
        found.not_judged.push("a group of a topic".to_owned());
        assert_eq!(judged(&found), CHECKED[1..]);
    }
}
