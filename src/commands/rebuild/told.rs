//! Rebuilds in words, and as JSON with the names that REST has.

use projections::{ProjectionLag, Rebuild, RebuildState};
use serde_json::{Value, json};

/// How one ended, or where it was left.
pub fn ended(rebuild: &Rebuild) -> String {
    let Rebuild { name, version, position, .. } = rebuild;
    let mut told = match (rebuild.state, rebuild.dry_run, rebuild.differences.unwrap_or_default()) {
        (RebuildState::Running | RebuildState::Verifying, ..) => format!(
            "{name}: stopped at position {position} of {}; what is built is kept. `order-ledger rebuild {name}` goes on \
             with it, and so does a running `project`",
            rebuild.target
        ),
        (RebuildState::Failed, ..) => {
            let problem = rebuild.problem.as_deref().unwrap_or("for an unknown reason");
            format!("{name}: failed, and nothing is changed: {problem}")
        }
        (RebuildState::Done, true, 0) => format!("{name}: built from {position} events, equal to what is shown"),
        (RebuildState::Done, true, differences) => {
            format!("{name}: {differences} rows that are shown are not what the ledger says:")
        }
        (RebuildState::Done, false, 0) => {
            format!("{name}: version {version} is shown, built from {position} events and equal to the one before")
        }
        (RebuildState::Done, false, differences) => format!(
            "{name}: version {version} is shown, built from {position} events and verified; {differences} rows differed \
             before:"
        ),
    };
    for example in &rebuild.examples {
        told.push_str("\n  ");
        told.push_str(example);
    }
    told
}

/// What is shown, and the last rebuild.
pub fn status(lag: &ProjectionLag, rebuild: Option<&Rebuild>) -> String {
    let mut told = format!("{}: version {} is shown, {} events behind", lag.name, lag.active_version, lag.lag_events());
    if let Some(previous) = lag.previous_version {
        told += &format!("; --rollback shows version {previous} again");
    }
    if lag.is_rebuild_due() {
        told += &format!("; another version of the program built it: run `order-ledger rebuild {}`", lag.name);
    }
    if let Some(rebuild) = rebuild {
        told += &format!("\n  {} by {}", started(rebuild), rebuild.requested_by);
        told += &match (rebuild.is_open(), rebuild.events_per_second, rebuild.eta_seconds()) {
            (true, Some(rate), Some(eta)) => {
                let Rebuild { position, target, .. } = rebuild;
                format!(", {}: at {position} of {target}, {rate:.0} events/s, {eta:.0} s left", rebuild.state.as_str())
            }
            (true, ..) => format!(", {}: at {} of {}", rebuild.state.as_str(), rebuild.position, rebuild.target),
            (false, ..) => format!(", {}", rebuild.state.as_str()),
        };
        if let Some(problem) = &rebuild.problem {
            told += &format!(": {problem}");
        }
    }
    told
}

fn started(rebuild: &Rebuild) -> String {
    let what = if rebuild.dry_run { "dry run" } else { "rebuild" };
    format!("{what} to version {} of {}", rebuild.version, rebuild.started_at.format("%Y-%m-%d %H:%M:%S UTC"))
}

pub fn json(rebuild: &Rebuild) -> Value {
    json!({
        "name": rebuild.name,
        "state": rebuild.state.as_str(),
        "dryRun": rebuild.dry_run,
        "version": rebuild.version,
        "position": rebuild.position,
        "target": rebuild.target,
        "eventsPerSecond": rebuild.events_per_second,
        "etaSeconds": rebuild.eta_seconds(),
        "startedAt": rebuild.started_at,
        "endedAt": rebuild.ended_at,
        "requestedBy": rebuild.requested_by,
        "unchanged": rebuild.unchanged(),
        "differences": rebuild.differences,
        "examples": rebuild.examples,
        "problem": rebuild.problem,
    })
}

pub fn status_json(lag: &ProjectionLag, rebuild: Option<&Rebuild>) -> Value {
    json!({
        "name": lag.name,
        "activeVersion": lag.active_version,
        "codeVersion": lag.code_version,
        "rebuildDue": lag.is_rebuild_due(),
        "previousVersion": lag.previous_version,
        "position": lag.position,
        "head": lag.head,
        "lagEvents": lag.lag_events(),
        "lagSeconds": lag.lag_seconds,
        "rebuild": rebuild.map(json),
    })
}
