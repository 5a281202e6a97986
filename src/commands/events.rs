//! `order-ledger events`: the ledger as NDJSON, in order; `--follow` goes on as it grows.

use std::io::Write;
use std::time::Duration;

use event_store::read::{self, RecordedEvent};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::PgPool;

use super::{pool, runtime};
use crate::cli::EventsArgs;
use crate::config::Config;
use crate::exit::Outcome;

const PAGE_EVENTS: i64 = 1_000;
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

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
        match print(&pool, args).await {
            // The reader has gone (`events | head`): that is a good end.
            Err(error) if is_broken_pipe(&error) => Ok(()),
            other => other,
        }
    })?;
    Ok(())
}

async fn print(pool: &PgPool, args: &EventsArgs) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut last = args.from.unwrap_or(0);
    let mut left = args.limit.unwrap_or(u64::MAX);
    loop {
        let limit = PAGE_EVENTS.min(i64::try_from(left).unwrap_or(i64::MAX));
        let page = match &args.stream {
            Some(stream) => read::stream(pool, stream, last, limit).await?,
            None => read::after(pool, last, limit, None).await?,
        };
        for event in &page {
            write_line(&mut out, event)?;
            last = if args.stream.is_some() { event.version } else { event.position };
        }
        out.flush()?;
        left -= page.len() as u64;
        if left == 0 || (page.is_empty() && !args.follow) {
            return Ok(());
        }
        if page.is_empty() {
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
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
