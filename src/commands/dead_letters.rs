//! `order-ledger dead-letters`: messages that could not be applied, by what is wrong with them, and what is done about it.

mod print;
mod watch;

use std::path::PathBuf;

use ::watch::missing;
use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use messaging::dead_letter::redrives::{self, DEFAULT_RATE_PER_SECOND, MAX_RATE_PER_SECOND, Selection};
use messaging::dead_letter::{self, Contacts, DeadLetterState, Filter};
use processors::audit::{self, Action};
use processors::dead_letters::{self, Edit};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::{pool, runtime};
use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::metrics::consumers_of;

/// How what is done here is recorded: who may run this has the database anyway.
const ACTOR: &str = "cli";
const MAX_REASON_CHARS: usize = 200;
/// Of one call; the next takes the rest.
const MAX_TAKEN_IN: i64 = 1_000;

#[derive(Debug, Args)]
pub struct DeadLettersArgs {
    #[command(subcommand)]
    command: Option<DeadLettersCommand>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum DeadLettersCommand {
    /// List them in the order they came (the default).
    List(ListArgs),
    /// What is wrong, and with how many.
    Groups(WhichArgs),
    /// One with its message, its history and the exact error.
    Show(ShowArgs),
    /// Apply them after all, key by key in the order they came. `process` does it; this watches.
    Redrive(RedriveArgs),
    /// Make dead letters of what a consumer is missing: messages that were sent and that it passed without a trace. `lag`
    /// counts them. At most 1000 a call, the oldest first. Redrive or discard them then; a redrive of payment, sms or email does
    /// call outside.
    TakeIn(TakeInArgs),
    /// Redrives, the newest first.
    Redrives,
    /// End a redrive after the messages that are being applied.
    Cancel {
        #[arg(value_name = "REDRIVE")]
        redrive_id: Uuid,
    },
    /// Give one up. Those that waited behind it go on by themselves.
    Discard {
        id: i64,
        /// Why; kept with it.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Clone, Default, Args)]
struct WhichArgs {
    /// Of this consumer: order, stock, payment, notification, sms, …
    #[arg(long)]
    consumer: Option<String>,
    #[arg(long)]
    topic: Option<String>,
    /// As `groups` shows it.
    #[arg(long)]
    cause: Option<String>,
    /// What waits behind it: an order's or a user's id.
    #[arg(long)]
    key: Option<String>,
}

#[derive(Debug, Clone, Args)]
struct ListArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// dead, behind, redriven or discarded. Default: dead and behind.
    #[arg(long, value_parser = state)]
    state: Option<DeadLetterState>,
    /// Behind this id, for the next page.
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
}

#[derive(Debug, Args)]
struct ShowArgs {
    id: i64,
    /// Show phone numbers and addresses in the message, too.
    #[arg(long)]
    contacts: bool,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("selection").required(true).multiple(true)
    .args(["id", "like", "consumer", "topic", "cause", "key", "all"])))]
struct RedriveArgs {
    /// The key of this letter, from its first message on.
    #[arg(conflicts_with_all = ["like", "consumer", "topic", "cause", "key", "all"])]
    id: Option<i64>,
    /// All of the same consumer, topic and cause as this letter.
    #[arg(long, value_name = "ID", conflicts_with_all = ["consumer", "topic", "cause", "all"])]
    like: Option<i64>,
    #[command(flatten)]
    which: WhichArgs,
    /// Everything there is.
    #[arg(long)]
    all: bool,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Messages a second.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_RATE_PER_SECOND,
        value_parser = clap::value_parser!(i32).range(1..=i64::from(MAX_RATE_PER_SECOND)))]
    rate: i32,
    /// Apply this message in the letter's place; the one that came is kept.
    #[arg(long, value_name = "FILE", requires = "id", requires = "reason", conflicts_with = "dry_run")]
    edit: Option<PathBuf>,
    /// Why it is edited; kept with it.
    #[arg(long, value_name = "TEXT", requires = "edit")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
struct TakeInArgs {
    /// payment, sms, email, stock, …
    consumer: String,
    /// Why; kept with it.
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    reason: Option<String>,
    /// Only count those that one call would take in.
    #[arg(long)]
    dry_run: bool,
    /// Instead: have those that are no longer in the outbox count as lost, so that they are missed no longer.
    #[arg(long, conflicts_with = "dry_run")]
    give_up_gone: bool,
}

pub fn run(config: Config, args: DeadLettersArgs) -> Outcome {
    runtime()?.block_on(async {
        let pool = pool(&config).await?;
        match args.command.unwrap_or(DeadLettersCommand::List(ListArgs::default())) {
            DeadLettersCommand::List(list) => self::list(&pool, list, args.json).await,
            DeadLettersCommand::Groups(which) => {
                let groups = dead_letter::groups(&pool, &which.filter()).await?;
                print::groups(&groups, args.json)
            }
            DeadLettersCommand::Show(show) => self::show(&pool, &show, args.json).await,
            DeadLettersCommand::Redrive(redrive) => self::redrive(&pool, redrive, args.json).await,
            DeadLettersCommand::TakeIn(take_in) => self::take_in(&config, &pool, &take_in, args.json).await,
            DeadLettersCommand::Redrives => {
                print::redrives(&redrives::list(&pool, None, redrives::MAX_LIST_ROWS).await?, args.json)
            }
            DeadLettersCommand::Cancel { redrive_id } => {
                print::redrive(&dead_letters::cancel_redrive(&pool, redrive_id, ACTOR).await?, &[], args.json)
            }
            DeadLettersCommand::Discard { id, reason } => {
                let discarded = dead_letters::discard(&pool, id, checked_reason(&reason)?, ACTOR).await?;
                print::discarded(id, &discarded, args.json)
            }
        }
    })
}

async fn list(pool: &PgPool, args: ListArgs, json: bool) -> Outcome {
    let filter =
        Filter { state: args.state, after_id: args.after, limit: i64::from(args.limit), ..args.which.filter() };
    let letters = dead_letter::list(pool, &filter).await?;
    let next = letters.last().filter(|_| letters.len() == args.limit as usize).map(|last| last.id);
    print::letters(&letters, next, json)
}

async fn show(pool: &PgPool, args: &ShowArgs, json: bool) -> Outcome {
    let letter = dead_letter::find(pool, args.id).await?;
    let history = dead_letter::history(pool, args.id).await?;
    print::letter(&letter, &history, if args.contacts { Contacts::Shown } else { Contacts::Hidden }, json)
}

async fn redrive(pool: &PgPool, args: RedriveArgs, json: bool) -> Outcome {
    let selection = selection(pool, &args).await?;
    if args.dry_run {
        return print::plan(&redrives::plan(pool, &selection).await?, json);
    }
    let redrive = match (&args.edit, args.id) {
        (Some(file), Some(id)) => {
            let body = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            let reason = checked_reason(args.reason.as_deref().unwrap_or_default())?;
            let edit = Edit { body: body.trim_end(), reason };
            dead_letters::start_redrive_edited(pool, id, edit, args.rate, ACTOR).await?
        }
        _ => dead_letters::start_redrive(pool, &selection, args.rate, ACTOR).await?,
    };
    let ended = watch::until_ended(pool, redrive.redrive_id).await?;
    let stopped = redrives::stopped_keys(pool, redrive.redrive_id, redrives::MAX_LIST_ROWS).await?;
    print::redrive(&ended, &stopped, json)?;
    if ended.state == "done" && ended.stopped_keys == 0 { Ok(()) } else { Err(Failure::Told) }
}

async fn take_in(config: &Config, pool: &PgPool, args: &TakeInArgs, json: bool) -> Outcome {
    let consumer = &args.consumer;
    let mut names = consumers_of(config).map(|(name, _)| *name);
    if names.all(|name| name != consumer.as_str()) {
        return Err(Failure::Usage(format!("there is no consumer {consumer}")));
    }
    let lost = missing::of_consumer(pool, consumer, MAX_TAKEN_IN).await?;
    if args.dry_run {
        return print::missing(consumer, &lost, json);
    }
    let reason = checked_reason(args.reason.as_deref().unwrap_or_default())?;
    if args.give_up_gone {
        return give_up_gone(pool, consumer, reason, json).await;
    }
    if lost.messages.is_empty() {
        return Err(anyhow!("nothing that is still in the outbox is missing of {consumer}").into());
    }
    let letters = dead_letters::take_in_missing(pool, consumer, &lost.messages, reason, ACTOR).await?;
    print::taken_in(consumer, &lost, letters, json)
}

async fn give_up_gone(pool: &PgPool, consumer: &str, reason: &str, json: bool) -> Outcome {
    let mut transaction = pool.begin().await?;
    let given_up = missing::give_up_gone(&mut transaction, consumer, MAX_TAKEN_IN).await?;
    if given_up.is_empty() {
        return Err(anyhow!("nothing that is missing of {consumer} is gone from the outbox").into());
    }
    let detail = json!({ "messageIds": given_up, "reason": reason });
    let action = Action { actor: ACTOR, action: "missing.give_up", subject: consumer, detail };
    audit::record(&mut *transaction, action).await?;
    transaction.commit().await?;
    print::given_up(consumer, given_up.len(), json)
}

async fn selection(pool: &PgPool, args: &RedriveArgs) -> Result<Selection, Failure> {
    let WhichArgs { consumer, topic, cause, key } = args.which.clone();
    if let Some(id) = args.id {
        return Ok(Selection::of(&dead_letter::find(pool, id).await?));
    }
    let by_filter = Selection { consumer, topic, cause, waiting_key: key, ids: Vec::new() };
    let Some(like) = args.like else { return Ok(by_filter) };
    let letter = dead_letter::find(pool, like).await?;
    Ok(Selection { consumer: Some(letter.consumer), topic: Some(letter.topic), cause: Some(letter.cause), ..by_filter })
}

/// What the record of actions takes.
fn checked_reason(reason: &str) -> Result<&str, Failure> {
    let length = reason.chars().count();
    if reason.trim().is_empty() || length > MAX_REASON_CHARS || reason.chars().any(char::is_control) {
        return Err(Failure::Usage(format!("--reason: one line of 1 to {MAX_REASON_CHARS} characters")));
    }
    Ok(reason)
}

fn state(text: &str) -> Result<DeadLetterState, String> {
    DeadLetterState::parse(text).ok_or_else(|| "one of dead, behind, redriven, discarded".to_owned())
}

impl WhichArgs {
    fn filter(self) -> Filter {
        Filter {
            consumer: self.consumer,
            topic: self.topic,
            cause: self.cause,
            waiting_key: self.key,
            ..Filter::default()
        }
    }
}

impl Default for ListArgs {
    fn default() -> Self {
        ListArgs { which: WhichArgs::default(), state: None, after: 0, limit: 50 }
    }
}
