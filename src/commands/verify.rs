//! `order-ledger verify`: checks the invariants, on a live system too, and names each violation.

use std::time::Duration;

use event_store::verify::Violation;
use sqlx::PgPool;

use super::{pool, runtime};
use crate::config::Config;
use crate::exit::{Failure, Outcome};

/// What is not sent by then counts as lost until it is.
const UNSENT_DEADLINE_MS: i64 = 120_000;
const OVERDUE: Duration = Duration::from_secs(120);
const CHECKED: [&str; 7] = ["I1", "I2", "I3", "I5", "I6", "I7", "I8"];

pub fn run(config: Config, json: bool) -> Outcome {
    let violations = runtime()?.block_on(async {
        let pool = pool(&config).await?;
        check_all(&pool).await
    })?;
    match json {
        true => print_json(&violations)?,
        false => print_text(&violations),
    }
    if violations.is_empty() { Ok(()) } else { Err(Failure::Told) }
}

async fn check_all(pool: &PgPool) -> anyhow::Result<Vec<Violation>> {
    let mut violations = delivery(pool).await?;
    violations.extend(event_store::verify::ledger(pool).await?);
    violations.extend(projections::verify::stock(pool).await?);
    violations.extend(projections::verify::versions(pool).await?);
    violations.extend(projections::verify::money(pool).await?);
    violations.extend(projections::verify::read_models(pool).await?);
    violations.extend(projections::verify::deadlines(pool, OVERDUE).await?);
    Ok(violations)
}

/// I1, the ledger's side: what was appended is on its way.
async fn delivery(pool: &PgPool) -> anyhow::Result<Vec<Violation>> {
    let lag = outbox_relay::lag::measure(pool).await?;
    let mut violations = Vec::new();
    for topic in &lag.topics {
        if let Some(age_ms) = topic.oldest_unsent_age_ms.filter(|age_ms| *age_ms > UNSENT_DEADLINE_MS) {
            let message = format!("{}: a message has been unsent for {} s", topic.topic, age_ms / 1_000);
            violations.push(Violation { invariant: "I1", message });
        }
    }
    if lag.parked_messages > 0 {
        let message = format!("{} messages are parked: they cannot be sent as they are", lag.parked_messages);
        violations.push(Violation { invariant: "I1", message });
    }
    Ok(violations)
}

fn print_text(violations: &[Violation]) {
    for violation in violations {
        println!("{}: {}", violation.invariant, violation.message);
    }
    match violations.len() {
        0 => println!("{} hold", CHECKED.join(", ")),
        1 => println!("1 violation"),
        many => println!("{many} violations"),
    }
}

fn print_json(violations: &[Violation]) -> anyhow::Result<()> {
    let violations: Vec<_> = violations
        .iter()
        .map(|violation| serde_json::json!({ "invariant": violation.invariant, "message": violation.message }))
        .collect();
    println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "checked": CHECKED, "violations": violations }))?);
    Ok(())
}
