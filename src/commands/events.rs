//! `order-ledger events`: the ledger, or a part of it, as NDJSON, in order; `--follow` goes on as it grows, `--resume` where
//! it ended the last time.

mod bookmark;

use std::io::{BufWriter, StdoutLock, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use domain::CATEGORIES;
use event_store::read::RecordedEvent;
use event_store::select::{Selection, stream_exists};
use projections::head;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::range::{Range, RangeArgs};
use super::{pool, runtime};
use crate::config::Config;
use crate::exit::{Failure, Outcome};
use bookmark::Bookmark;

const PAGE_EVENTS: i64 = 1_000;
/// Notifications are quicker; the poll is what can be relied on.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// One stream, such as order-ORD202611230001.
    #[arg(long)]
    stream: Option<String>,
    /// The streams of one kind: order, stock, payment, fulfilment or notification.
    #[arg(long, conflicts_with = "stream", value_parser = parse_category)]
    category: Option<String>,
    /// Events of one type, such as OrderPlaced.
    #[arg(long = "type", value_name = "TYPE", value_parser = parse_type)]
    event_type: Option<String>,
    #[command(flatten)]
    range: RangeArgs,
    /// Go on as new events come.
    #[arg(long, conflicts_with = "until")]
    follow: bool,
    /// Stop after this many events.
    #[arg(long)]
    limit: Option<u64>,
    /// Keep here how far it came, and go on from there the next time. What was printed when it was killed may be printed again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "since"])]
    resume: Option<PathBuf>,
}

/// An event as people and scripts read it. The payload stands as it was written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    position: i64,
    stream_id: &'a str,
    version: i64,
    event_id: String,
    #[serde(rename = "type")]
    event_type: &'a str,
    schema_version: i16,
    recorded_at: String,
    payload: &'a RawValue,
    metadata: &'a RawValue,
}

pub fn run(config: Config, args: &EventsArgs) -> Outcome {
    runtime()?.block_on(async {
        let pool = pool(&config).await?;
        let (reader, head) = Reader::open(&pool, args).await?;
        match reader.print(head).await {
            // The reader has gone (`events | head`): that is a good end.
            Err(error) if is_broken_pipe(&error) => Ok(()),
            other => Ok(other?),
        }
    })
}

struct Reader<'a> {
    pool: &'a PgPool,
    selection: Selection,
    after: i64,
    upto: i64,
    left: u64,
    follows: bool,
    bookmark: Option<Bookmark>,
    out: BufWriter<StdoutLock<'static>>,
}

impl<'a> Reader<'a> {
    async fn open(pool: &'a PgPool, args: &EventsArgs) -> Result<(Reader<'a>, i64), Failure> {
        let Range { mut after, upto, head } = args.range.resolve(pool, args.follow).await?;
        let selection = Selection {
            stream_id: args.stream.clone(),
            category: args.category.clone(),
            event_type: args.event_type.clone(),
        };
        if let Some(stream) = &args.stream
            && !args.follow
            && !stream_exists(pool, stream).await?
        {
            return Err(anyhow!("there is no stream {stream}").into());
        }
        let bookmark = args.resume.clone().map(|path| Bookmark::open(path, &selection)).transpose()?;
        if let Some(position) = bookmark.as_ref().and_then(Bookmark::position) {
            if position > head {
                return Err(
                    anyhow!("the state file is at {position}, the ledger ends at {head}: is it another one?").into()
                );
            }
            after = position;
        }
        let reader = Reader {
            pool,
            selection,
            after,
            upto: upto.unwrap_or(i64::MAX),
            left: args.limit.unwrap_or(u64::MAX),
            follows: args.follow,
            bookmark,
            out: BufWriter::new(std::io::stdout().lock()),
        };
        Ok((reader, head))
    }

    async fn print(mut self, head: i64) -> anyhow::Result<()> {
        let (head_writer, mut heads) = watch::channel(head);
        let following = CancellationToken::new();
        let _stops_following = following.clone().drop_guard();
        if self.follows {
            tokio::spawn(head::follow(self.pool.clone(), head_writer, POLL_INTERVAL, following));
        }
        loop {
            let head = *heads.borrow_and_update();
            self.print_through(head.min(self.upto)).await?;
            if !self.follows || self.left == 0 || self.after >= self.upto {
                return Ok(());
            }
            heads.changed().await?;
        }
    }

    async fn print_through(&mut self, end: i64) -> anyhow::Result<()> {
        while self.after < end && self.left > 0 {
            let limit = PAGE_EVENTS.min(i64::try_from(self.left).unwrap_or(i64::MAX));
            let page = self.selection.page(self.pool, self.after, end, limit).await?;
            for event in &page.events {
                write_line(&mut self.out, event)?;
            }
            self.out.flush()?;
            self.after = page.reached;
            self.left -= page.events.len() as u64;
            if let Some(bookmark) = &self.bookmark {
                bookmark.keep(self.after)?;
            }
        }
        Ok(())
    }
}

fn write_line(out: &mut impl Write, event: &RecordedEvent) -> anyhow::Result<()> {
    let line = Line {
        position: event.position,
        stream_id: &event.stream_id,
        version: event.version,
        event_id: event.event_id.to_string(),
        event_type: &event.event_type,
        schema_version: event.schema_version,
        recorded_at: event.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        payload: serde_json::from_str(&event.payload)?,
        metadata: serde_json::from_str(&event.metadata)?,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")?;
    Ok(())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(std::io::ErrorKind::BrokenPipe)
    })
}

fn parse_category(text: &str) -> Result<String, String> {
    if CATEGORIES.iter().any(|(category, _)| *category == text) {
        return Ok(text.to_owned());
    }
    Err(format!("no such category: one of {}", CATEGORIES.map(|(category, _)| category).join(", ")))
}

fn parse_type(text: &str) -> Result<String, String> {
    let mut schemas = CATEGORIES.iter().flat_map(|(_, schemas)| *schemas);
    if schemas.any(|schema| schema.event_type == text) {
        return Ok(text.to_owned());
    }
    let near: Vec<&str> = CATEGORIES
        .iter()
        .flat_map(|(_, schemas)| *schemas)
        .map(|schema| schema.event_type)
        .filter(|known| known.to_lowercase().contains(&text.to_lowercase()))
        .collect();
    let hint = if near.is_empty() { String::new() } else { format!(": did you mean {}?", near.join(" or ")) };
    Err(format!("no event has this type{hint}"))
}
