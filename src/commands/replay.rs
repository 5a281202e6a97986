//! `order-ledger replay`: sends messages of the past again, with the same ids and `replay=true`.

mod print;

use std::sync::Arc;

use anyhow::anyhow;
use clap::{ArgGroup, Args};
use domain::{Decider, Order};
use event_store::select::Selection;
use messaging::{Broker, Topic};
use outbox_relay::replay::{
    self, Plan, Progress, Replay, ReplayConfig, ReplayError, ReplayParts, ReplayRequest, Target,
};
use processors::audit::{self, Action};
use processors::handlers::QUIET_ON_REPLAY;
use serde_json::json;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::range::RangeArgs;
use super::{broker, pool, runtime};
use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::metrics::consumers_of;
use crate::roles::cancel_on_signal;
use print::Shown;

/// How the record of actions names who asked for it from here.
const ACTOR: &str = "cli";
const LISTED: i64 = 50;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["topic", "list", "resume"])))]
pub struct ReplayArgs {
    /// The topic whose messages are sent again.
    #[arg(long, value_name = "TOPIC", value_parser = parse_topic)]
    topic: Option<Topic>,
    #[command(flatten)]
    range: RangeArgs,
    /// Messages of this stream's events only.
    #[arg(long, value_name = "ID", requires = "topic")]
    stream: Option<String>,
    /// Messages of this key only: an order, or whatever the topic is ordered by.
    #[arg(long, value_name = "KEY", requires = "topic", conflicts_with = "stream")]
    key: Option<String>,
    /// Send them to another topic, which must exist.
    #[arg(long, value_name = "TOPIC", requires = "topic")]
    to_topic: Option<String>,
    /// For one consumer only, such as stock; the others let them pass. Not for payment, sms and email, which call others and
    /// stay quiet on a replay: see `dead-letters take-in`.
    #[arg(long, value_name = "CONSUMER", requires = "topic", conflicts_with = "to_topic")]
    group: Option<String>,
    /// At most so many messages a second.
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Count, and send nothing.
    #[arg(long, requires = "topic")]
    dry_run: bool,
    /// Leave out what is no longer in the outbox.
    #[arg(long, requires = "topic")]
    skip_expired: bool,
    /// Go on with a replay that was interrupted.
    #[arg(long, value_name = "REPLAY", conflicts_with_all = ["from", "to", "since", "until"])]
    resume: Option<i64>,
    /// The replays there were, the newest first.
    #[arg(long)]
    list: bool,
    /// Print JSON; while it runs, a line of progress a second.
    #[arg(long)]
    json: bool,
}

pub fn run(config: Config, args: &ReplayArgs) -> Outcome {
    runtime()?.block_on(async {
        let pool = pool(&config).await?;
        if args.list {
            return Ok(print::list(&replay::list(&pool, LISTED).await?, args.json)?);
        }
        let broker = broker(&config)?;
        let outcome = replay(&config, args, &pool, &broker).await;
        broker.close().await;
        outcome
    })
}

async fn replay(config: &Config, args: &ReplayArgs, pool: &PgPool, broker: &Arc<dyn Broker>) -> Outcome {
    let parts = ReplayParts { pool: pool.clone(), broker: broker.clone(), config: ReplayConfig::default() };
    let replay = match (args.resume, args.topic) {
        (Some(replay_id), _) => Replay::resume(parts, replay_id, args.rate).await?,
        (None, Some(topic)) => {
            let request = request(config, args, pool, topic).await?;
            let plan = replay::plan(&mut *pool.acquire().await?, &request).await?;
            if args.dry_run {
                check_target(&**broker, &request).await?;
                return Ok(print::plan(&request, &plan, args.json)?);
            }
            refuse_what_is_gone(args, &plan)?;
            if plan.messages == 0 {
                return nothing_to_send(&request, args.json);
            }
            begin(parts, request, &plan, args.rate).await?
        }
        // The arguments name one of the three.
        (None, None) => return Err(Failure::Usage("--topic, --resume or --list".to_owned())),
    };
    send(replay, args.json).await
}

async fn request(config: &Config, args: &ReplayArgs, pool: &PgPool, topic: Topic) -> Result<ReplayRequest, Failure> {
    let target = target(config, args, topic)?;
    let range = args.range.resolve(pool, false).await?;
    let upto = range.upto.unwrap_or(range.head);
    let after = range.after.max(first_of_interest(args, pool, range.head).await? - 1).min(upto);
    Ok(ReplayRequest { topic, target, stream_id: args.stream.clone(), key: args.key.clone(), after, upto })
}

fn target(config: &Config, args: &ReplayArgs, topic: Topic) -> Result<Target, Failure> {
    if let Some(name) = args.to_topic.as_deref().filter(|name| *name != topic.name()) {
        if Topic::parse(name).is_some() {
            let why = format!("{name} carries its own messages: to its consumers those of {topic} would be poison");
            return Err(Failure::Usage(why));
        }
        return Ok(Target::Topic(name.to_owned()));
    }
    let Some(group) = args.group.as_deref() else { return Ok(Target::Everybody) };
    let prefix = format!("{}-", config.rocketmq.consumer.group);
    let name = group.strip_prefix(&prefix).unwrap_or(group);
    let readers: Vec<&str> =
        consumers_of(config).filter(|(_, topics)| topics.contains(&topic)).map(|(name, _)| *name).collect();
    if QUIET_ON_REPLAY.contains(&name) {
        return Err(Failure::Usage(format!(
            "{name} calls others, and stays quiet on a replay so that nobody is called twice: a copy brings it nothing. What \
             it is missing becomes dead letters with `order-ledger dead-letters take-in {name}`, to be redriven or discarded"
        )));
    }
    if readers.contains(&name) {
        return Ok(Target::Consumer(name.to_owned()));
    }
    Err(Failure::Usage(format!("{group} does not read {topic}: {} do", readers.join(", "))))
}

/// Nothing of a stream, or of an order, lies before its first event: what expired before that is none of it.
async fn first_of_interest(args: &ReplayArgs, pool: &PgPool, head: i64) -> Result<i64, Failure> {
    let stream_id = match (&args.stream, &args.key) {
        (Some(stream), _) => stream.clone(),
        (None, Some(key)) => Order::stream_id(key),
        (None, None) => return Ok(1),
    };
    let selection = Selection { stream_id: Some(stream_id.clone()), ..Selection::default() };
    match selection.page(pool, 0, head, 1).await?.events.first() {
        Some(first) => Ok(first.position),
        None if args.stream.is_some() => Err(anyhow!("there is no stream {stream_id}").into()),
        None => Ok(1),
    }
}

async fn check_target(broker: &dyn Broker, request: &ReplayRequest) -> Result<(), Failure> {
    let Target::Topic(name) = &request.target else { return Ok(()) };
    match broker.topic_queues(name).await? {
        Some(_) => Ok(()),
        None => Err(ReplayError::NoSuchTopic(name.clone()).into()),
    }
}

fn refuse_what_is_gone(args: &ReplayArgs, plan: &Plan) -> Result<(), Failure> {
    let Some(through) = plan.expired_through.filter(|_| plan.expired > 0 && !args.skip_expired) else { return Ok(()) };
    let up_to = if plan.expired_is_bound { "up to " } else { "" };
    Err(anyhow!(
        "{up_to}{} messages of this range are no longer in the outbox, and can't be made again: begin behind them with \
         --from {through}, or leave them out with --skip-expired",
        plan.expired
    )
    .into())
}

fn nothing_to_send(request: &ReplayRequest, json: bool) -> Outcome {
    if let Some(key) = &request.key {
        return Err(anyhow!("no message of {} has the key {key} in this range", request.topic).into());
    }
    if json {
        println!("{}", json!({ "request": Shown::of(request), "state": "done", "messages": 0, "sent": 0 }));
    } else {
        println!("nothing to send: no message of {} in this range", request.topic);
    }
    Ok(())
}

async fn begin(
    parts: ReplayParts,
    request: ReplayRequest,
    plan: &Plan,
    rate: Option<u32>,
) -> Result<Replay, ReplayError> {
    let shown = Shown::of(&request);
    let messages = plan.messages;
    Replay::begin(parts, (request, plan), rate, ACTOR, async |connection: &mut sqlx::PgConnection, replay_id| {
        let detail =
            json!({ "replayId": replay_id, "request": shown, "messages": messages, "messagesPerSecond": rate });
        let action = Action { actor: ACTOR, action: "replay.begin", subject: shown.topic, detail };
        audit::record(connection, action).await
    })
    .await
}

async fn send(replay: Replay, json: bool) -> Outcome {
    let shutdown = CancellationToken::new();
    cancel_on_signal(shutdown.clone())?;
    let mut meter = print::Meter::new(replay.progress(), json);
    let replay_id = replay.progress().replay_id;
    let ended: Result<Progress, ReplayError> = replay.run(&shutdown, |progress| meter.show(progress)).await;
    meter.finish();
    match ended {
        Ok(progress) if progress.is_done => Ok(print::done(progress, json)?),
        Ok(_) => Err(anyhow!("interrupted: go on with `order-ledger replay --resume {replay_id}`").into()),
        Err(problem @ (ReplayError::Refused(_) | ReplayError::Overtaken { .. })) => Err(problem.into()),
        Err(problem) => Err(anyhow!("{problem}; go on with `order-ledger replay --resume {replay_id}`").into()),
    }
}

fn parse_topic(text: &str) -> Result<Topic, String> {
    Topic::parse(text).ok_or_else(|| format!("no such topic: one of {}", Topic::ALL.map(Topic::name).join(", ")))
}
