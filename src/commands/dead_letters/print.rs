//! Dead letters and redrives as JSON (as the REST interface has them) or for people.

use messaging::dead_letter::redrives::{Plan, Redrive, StoppedKey};
use messaging::dead_letter::{Contacts, DeadLetter, Discarded, Group, HistoryEntry, shown_body};
use serde_json::{Value, json};
use watch::missing::Lost;

use crate::exit::Outcome;

const NO_KEY: &str = "(none)";

pub fn letters(letters: &[DeadLetter], next: Option<i64>, json: bool) -> Outcome {
    if json {
        let items: Vec<Value> = letters.iter().map(item).collect();
        return as_json(&json!({ "items": items, "next": next.map(|id| id.to_string()) }));
    }
    if letters.is_empty() {
        println!("no dead letters");
        return Ok(());
    }
    println!("{:>10}  {:<10} {:<20} {:<20} {:<28} cause", "id", "state", "consumer", "topic", "key");
    for letter in letters {
        let key = letter.waiting_key.as_deref().unwrap_or(NO_KEY);
        let (state, consumer) = (letter.state.as_str(), &letter.consumer);
        println!("{:>10}  {state:<10} {consumer:<20} {:<20} {key:<28} {}", letter.id, letter.topic, letter.cause);
    }
    if let Some(next) = next {
        println!("more with --after {next}");
    }
    Ok(())
}

pub fn groups(groups: &[Group], json: bool) -> Outcome {
    if json {
        let items: Vec<Value> = groups.iter().map(group).collect();
        return as_json(&json!({ "items": items, "next": null }));
    }
    if groups.is_empty() {
        println!("no dead letters");
        return Ok(());
    }
    println!("{:>8} {:>8} {:>8}  {:<20} {:<20} {:>10}  cause", "dead", "behind", "keys", "consumer", "topic", "sample");
    for group in groups {
        let Group { dead, behind, keys, consumer, topic, sample_id, cause, .. } = group;
        println!("{dead:>8} {behind:>8} {keys:>8}  {consumer:<20} {topic:<20} {sample_id:>10}  {cause}");
    }
    Ok(())
}

pub fn letter(letter: &DeadLetter, history: &[HistoryEntry], contacts: Contacts, json: bool) -> Outcome {
    let body = shown_body(letter, &letter.body, contacts);
    let original_body = letter.original_body.as_deref().map(|original| shown_body(letter, original, contacts));
    if json {
        let mut detail = item(letter);
        detail["broker"] = json!(letter.broker);
        detail["queue"] = json!(letter.queue);
        detail["queueOffset"] = json!(letter.queue_offset);
        detail["body"] = json!(body);
        detail["originalBody"] = json!(original_body);
        detail["history"] = history.iter().map(entry).collect();
        return as_json(&detail);
    }
    println!("dead letter {} of {} ({}), {}", letter.id, letter.consumer, letter.topic, letter.state.as_str());
    println!("cause       {}", letter.cause);
    println!("error       {}", letter.reason);
    println!("key         {}", letter.waiting_key.as_deref().unwrap_or(NO_KEY));
    println!("message     {}", letter.message_id.map_or_else(|| NO_KEY.into(), |id| id.to_string()));
    println!("place       {}/{}/{} offset {}", letter.topic, letter.broker, letter.queue, letter.queue_offset);
    let mut properties: Vec<_> = letter.properties.iter().collect();
    properties.sort();
    for (name, value) in properties {
        println!("            {name}={value}");
    }
    println!("body        {body}");
    if let Some(original_body) = original_body {
        println!("as it came  {original_body}");
    }
    for HistoryEntry { at, actor, action, reason, attempt } in history {
        let actor = actor.as_deref().unwrap_or("the consumer");
        let attempt = attempt.map(|attempt| format!(" (tried {attempt} times)")).unwrap_or_default();
        let reason = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        println!("{}  {action} by {actor}{attempt}{reason}", at.to_rfc3339());
    }
    Ok(())
}

pub fn plan(plan: &Plan, json: bool) -> Outcome {
    if json {
        let groups: Vec<Value> = plan
            .groups
            .iter()
            .map(|group| {
                json!({
                    "cause": group.cause,
                    "consumer": group.consumer,
                    "topic": group.topic,
                    "messages": group.messages,
                    "keys": group.keys,
                })
            })
            .collect();
        return as_json(&json!({ "dryRun": true, "messages": plan.messages, "keys": plan.keys, "groups": groups }));
    }
    println!("would apply {} messages of {} keys; nothing was changed", plan.messages, plan.keys);
    for group in &plan.groups {
        println!("{:>8}  {:<20} {:<20} {}", group.messages, group.consumer, group.topic, group.cause);
    }
    Ok(())
}

pub fn redrives(redrives: &[Redrive], json: bool) -> Outcome {
    if json {
        let items: Vec<Value> = redrives.iter().map(redrive_json).collect();
        return as_json(&json!({ "items": items, "next": null }));
    }
    println!(
        "{:<36}  {:<10} {:>10} {:>10} {:>8}  {:<28} by",
        "redrive", "state", "selected", "delivered", "stopped", "started"
    );
    for redrive in redrives {
        let Redrive { redrive_id, state, selected, delivered, stopped_keys, started_by, .. } = redrive;
        let started_at = redrive.started_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        println!(
            "{redrive_id}  {state:<10} {selected:>10} {delivered:>10} {stopped_keys:>8}  {started_at:<28} {started_by}"
        );
    }
    Ok(())
}

pub fn redrive(redrive: &Redrive, stopped: &[StoppedKey], json: bool) -> Outcome {
    if json {
        let mut value = redrive_json(redrive);
        value["stopped"] = stopped
            .iter()
            .map(|key| json!({ "consumer": key.consumer, "key": key.waiting_key, "reason": key.reason }))
            .collect();
        return as_json(&value);
    }
    let Redrive { redrive_id, state, selected, delivered, keys, stopped_keys, .. } = redrive;
    println!(
        "redrive {redrive_id} is {state}: {delivered} of {selected} messages delivered, {stopped_keys} of {keys} keys stopped"
    );
    // Those of a key that stopped are still there.
    if state == "done" && *stopped_keys == 0 && delivered < selected {
        println!("  {} were redriven or discarded by others meanwhile", selected - delivered);
    }
    for key in stopped {
        println!("  {} {}: {}", key.consumer, key.waiting_key.as_deref().unwrap_or(NO_KEY), key.reason);
    }
    Ok(())
}

pub fn discarded(id: i64, discarded: &Discarded, json: bool) -> Outcome {
    let Discarded { behind, redrive_id } = discarded;
    if json {
        return as_json(&json!({ "id": id, "state": "discarded", "behind": behind, "redriveId": redrive_id }));
    }
    match redrive_id {
        Some(redrive_id) => println!("discarded {id}; the {behind} behind it go on by redrive {redrive_id}"),
        None if *behind > 0 => println!("discarded {id}; {behind} of its key still wait behind another dead letter"),
        None => println!("discarded {id}; nothing waited behind it"),
    }
    Ok(())
}

pub fn missing(consumer: &str, lost: &Lost, json: bool) -> Outcome {
    let (missing, gone) = (lost.messages.len(), lost.gone);
    if json {
        return as_json(&json!({ "dryRun": true, "consumer": consumer, "missing": missing, "gone": gone }));
    }
    println!("{missing} messages that are missing of {consumer} would become dead letters");
    tell_gone(gone);
    Ok(())
}

pub fn taken_in(consumer: &str, lost: &Lost, letters: u64, json: bool) -> Outcome {
    if json {
        return as_json(&json!({ "consumer": consumer, "letters": letters, "gone": lost.gone }));
    }
    println!("{letters} messages are dead letters of {consumer} now: redrive or discard them");
    tell_gone(lost.gone);
    Ok(())
}

pub fn given_up(consumer: &str, messages: usize, json: bool) -> Outcome {
    if json {
        return as_json(&json!({ "consumer": consumer, "givenUp": messages }));
    }
    println!("{messages} messages of {consumer} count as lost");
    Ok(())
}

fn tell_gone(gone: i64) {
    if gone > 0 {
        println!("{gone} more are no longer in the outbox: --give-up-gone has them count as lost");
    }
}

fn item(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id,
        "consumer": letter.consumer,
        "topic": letter.topic,
        "waitingKey": letter.waiting_key,
        "messageId": letter.message_id,
        "state": letter.state.as_str(),
        "cause": letter.cause,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "createdAt": letter.created_at,
        "resolvedAt": letter.resolved_at,
        "resolvedBy": letter.resolved_by,
        "properties": letter.properties,
    })
}

fn group(group: &Group) -> Value {
    json!({
        "cause": group.cause,
        "consumer": group.consumer,
        "topic": group.topic,
        "reason": group.reason,
        "dead": group.dead,
        "behind": group.behind,
        "keys": group.keys,
        "oldestAt": group.oldest_at,
        "newestAt": group.newest_at,
        "sampleId": group.sample_id,
    })
}

fn entry(entry: &HistoryEntry) -> Value {
    json!({
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "reason": entry.reason,
        "attempt": entry.attempt,
    })
}

fn redrive_json(redrive: &Redrive) -> Value {
    json!({
        "redriveId": redrive.redrive_id,
        "state": redrive.state,
        "selected": redrive.selected,
        "delivered": redrive.delivered,
        "keys": redrive.keys,
        "stoppedKeys": redrive.stopped_keys,
        "ratePerSecond": redrive.rate_per_second,
        "startedAt": redrive.started_at,
        "endedAt": redrive.ended_at,
        "startedBy": redrive.started_by,
        "worker": redrive.worker,
        "selection": redrive.selection,
    })
}

fn as_json(value: &Value) -> Outcome {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
