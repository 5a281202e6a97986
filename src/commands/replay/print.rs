//! What `replay` shows: the plan, the way it goes, the replays there were.

use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use outbox_relay::replay::{Plan, Progress, ReplayRecord, ReplayRequest, Target};
use serde::Serialize;
use serde_json::{Value, json};

const LINE_EVERY: Duration = Duration::from_secs(1);

/// A request, for people and for the record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    pub topic: &'static str,
    to_topic: Option<String>,
    for_consumer: Option<String>,
    stream_id: Option<String>,
    key: Option<String>,
    after_position: i64,
    upto_position: i64,
}

impl Shown {
    pub(super) fn of(request: &ReplayRequest) -> Shown {
        let (to_topic, for_consumer) = match &request.target {
            Target::Everybody => (None, None),
            Target::Topic(name) => (Some(name.clone()), None),
            Target::Consumer(name) => (None, Some(name.clone())),
        };
        Shown {
            topic: request.topic.name(),
            to_topic,
            for_consumer,
            stream_id: request.stream_id.clone(),
            key: request.key.clone(),
            after_position: request.after,
            upto_position: request.upto,
        }
    }

    fn target(&self) -> String {
        match (&self.to_topic, &self.for_consumer) {
            (Some(topic), _) => format!("to topic {topic}"),
            (None, Some(consumer)) => format!("for {consumer}"),
            (None, None) => "for everybody".to_owned(),
        }
    }
}

/// What a dry run found.
pub(super) fn plan(request: &ReplayRequest, plan: &Plan, json: bool) -> anyhow::Result<()> {
    let shown = Shown::of(request);
    if json {
        let types: Vec<Value> = plan
            .event_types
            .iter()
            .map(|count| json!({ "type": count.event_type, "messages": count.messages }))
            .collect();
        let found = json!({
            "dryRun": true, "request": shown, "messages": plan.messages, "firstPosition": plan.first_position,
            "lastPosition": plan.last_position, "eventTypes": types, "unsent": plan.unsent, "parked": plan.parked,
            "expired": plan.expired, "expiredIsBound": plan.expired_is_bound, "expiredThrough": plan.expired_through,
        });
        println!("{}", serde_json::to_string_pretty(&found)?);
        return Ok(());
    }
    let (after, upto) = (shown.after_position, shown.upto_position);
    println!("{} {}, positions {} to {upto}", shown.topic, shown.target(), after + 1);
    println!("{:>12} messages to send", plan.messages);
    for count in &plan.event_types {
        println!("{:>12} of {}", count.messages, count.event_type);
    }
    if let (Some(first), Some(last)) = (plan.first_position, plan.last_position) {
        println!("{first:>12} the first, {last} the last position");
    }
    println!("{:>12} not sent yet: they leave by themselves", plan.unsent);
    println!("{:>12} parked instead of sent", plan.parked);
    let bound = if plan.expired_is_bound { " at most" } else { "" };
    match plan.expired_through.filter(|_| plan.expired > 0) {
        Some(through) => {
            println!("{:>12} expired{bound}: no longer in the outbox through position {through}", plan.expired)
        }
        None => println!("{:>12} expired", plan.expired),
    }
    Ok(())
}

pub(super) fn list(replays: &[ReplayRecord], json: bool) -> anyhow::Result<()> {
    if json {
        let items: Vec<Value> = replays.iter().map(as_json).collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "items": items }))?);
        return Ok(());
    }
    println!("{:>6} {:<12} {:<20} {:<24} {:>10} {:>10}  started", "id", "state", "topic", "target", "sent", "messages");
    for replay in replays {
        let target = match &replay.for_consumer {
            Some(consumer) => format!("for {consumer}"),
            None => replay.to_topic.clone(),
        };
        let (id, state, topic) = (replay.replay_id, replay.shown_state(), &replay.topic);
        let (sent, messages, started) = (replay.sent_messages, replay.messages, replay.started_at.to_rfc3339());
        println!("{id:>6} {state:<12} {topic:<20} {target:<24} {sent:>10} {messages:>10}  {started}");
        if let Some(problem) = &replay.problem {
            println!("{:>6} {problem}", "");
        }
    }
    Ok(())
}

fn as_json(replay: &ReplayRecord) -> Value {
    json!({
        "replayId": replay.replay_id, "state": replay.shown_state(), "topic": replay.topic, "toTopic": replay.to_topic,
        "forConsumer": replay.for_consumer, "streamId": replay.stream_id, "key": replay.message_key,
        "afterPosition": replay.after_position, "uptoPosition": replay.upto_position,
        "messagesPerSecond": replay.messages_per_second, "messages": replay.messages, "sent": replay.sent_messages,
        "problem": replay.problem, "requestedBy": replay.requested_by, "startedAt": replay.started_at,
        "endedAt": replay.ended_at,
    })
}

/// Progress, rate and time left: a bar on a terminal, a line a second for a program.
pub(super) struct Meter {
    bar: Option<ProgressBar>,
    since: Instant,
    told_at: Option<Instant>,
}

impl Meter {
    pub(super) fn new(progress: Progress, json: bool) -> Meter {
        let bar = (!json).then(|| {
            let template = "replay {msg} [{bar:40}] {pos}/{len} {per_sec} eta {eta}";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(progress.messages.unsigned_abs()).with_style(style.progress_chars("=> "));
            bar.with_message(progress.replay_id.to_string()).with_position(progress.sent.unsigned_abs())
        });
        if let Some(bar) = &bar {
            // What was sent before this process is no part of its rate: seen first, and forgotten then, because `reset_eta` keeps
            // the position that was seen last.
            bar.tick();
            bar.reset_eta();
        }
        Meter { bar, since: Instant::now(), told_at: None }
    }

    pub(super) fn show(&mut self, progress: Progress) {
        if let Some(bar) = &self.bar {
            bar.set_position(progress.sent.unsigned_abs());
            return;
        }
        if self.told_at.is_some_and(|at| at.elapsed() < LINE_EVERY) {
            return;
        }
        self.told_at = Some(Instant::now());
        let elapsed_s = self.since.elapsed().as_secs_f64();
        let rate = (progress.sent_here > 0 && elapsed_s > 0.0).then(|| progress.sent_here as f64 / elapsed_s);
        let left = (progress.messages - progress.sent).max(0);
        let line = json!({
            "replayId": progress.replay_id, "sent": progress.sent, "messages": progress.messages,
            "messagesPerSecond": rate, "etaSeconds": rate.map(|rate| left as f64 / rate),
        });
        let mut out = std::io::stdout().lock();
        // Nobody reads it any more: the replay goes on.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

pub(super) fn done(progress: Progress, json: bool) -> anyhow::Result<()> {
    if json {
        println!(
            "{}",
            json!({ "replayId": progress.replay_id, "sent": progress.sent, "messages": progress.messages, "state": "done" })
        );
    } else {
        println!("replay {}: {} messages sent", progress.replay_id, progress.sent);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_before_is_no_part_of_the_rate() {
        let resumed = Progress { replay_id: 1, sent: 1_000_000, messages: 2_000_000, sent_here: 0, is_done: false };
        let mut meter = Meter::new(resumed, false);
        meter.show(resumed);
        let rate = meter.bar.as_ref().map(ProgressBar::per_sec);
        assert!(rate.is_some_and(|rate| rate < 1.0), "nothing was sent here, at {rate:?} a second");
    }
}
