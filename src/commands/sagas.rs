//! `order-ledger sagas`: the sagas of the orders, which of them are stuck, and what a person decides about one.

use std::sync::Arc;
use std::time::Duration;

use domain::OrderId;
use domain::fulfilment::ResolveAction;
use event_store::{Ledger, Metadata};
use messaging::Handler;
use processors::handlers;
use processors::resolution::{self, Decision, Resolution, ResolutionError};
use projections::{SagaFilter, SagaStatus, SagaView};
use serde_json::{Value, json};

use super::{ledger_config, pool, runtime};
use crate::cli::{ResolveSagaArgs, SagasArgs, SagasCommand};
use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::instance::Instance;
use crate::roles::parts::processor_parts;
use crate::roles::payment::provider;

/// How a decision made here is recorded: who may run this has the database anyway.
const ACTOR: &str = "cli";

pub fn run(config: Config, args: &SagasArgs) -> Outcome {
    match &args.command {
        None => list(config, args),
        Some(SagasCommand::Resolve(resolve)) => decide(config, resolve),
    }
}

fn list(config: Config, args: &SagasArgs) -> Outcome {
    let filter = filter(&config, args.status.as_deref())?;
    let page = runtime()?.block_on(async {
        let pool = pool(&config).await?;
        anyhow::Ok(projections::sagas::list(&pool, filter, args.after.as_deref(), args.limit).await?)
    })?;
    if args.json {
        let items: Vec<Value> = page.items.iter().map(as_json).collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "items": items, "next": page.next }))?);
        return Ok(());
    }
    println!("{:<32} {:<17} {:<12} {:<28} remaining", "order", "step", "status", "since");
    for saga in &page.items {
        let (step, status, since) = (saga.step.as_str(), saga.status.as_str(), saga.step_since.to_rfc3339());
        let handed_over = if saga.handed_over { " (a person must decide)" } else { "" };
        let remaining = saga.remaining().join(", ");
        println!("{:<32} {step:<17} {status:<12} {since:<28} {remaining}{handed_over}", saga.order_id.as_str());
    }
    if let Some(next) = &page.next {
        println!("more with --after {next}");
    }
    Ok(())
}

fn decide(config: Config, args: &ResolveSagaArgs) -> Outcome {
    let order_id = OrderId::parse(&args.order_id).map_err(|error| Failure::Usage(format!("order id: {error}")))?;
    let decision = Decision {
        order_id,
        action: if args.skip { ResolveAction::Skip } else { ResolveAction::Retry },
        reason: args.reason.clone().unwrap_or_else(|| "retried_by_operator".to_owned()),
        metadata: Metadata { actor: Some(ACTOR.to_owned()), ..Metadata::default() },
    };
    let config = with_instance(config);
    let resolution = runtime()?.block_on(async {
        let ledger = Ledger::start(pool(&config).await?, ledger_config(&config)).await?;
        let resolved = resolve(&config, &ledger, decision).await;
        ledger.close().await;
        resolved
    })?;
    println!("{}", told(&args.order_id, &resolution));
    if resolution.letters.stopped.is_some() { Err(Failure::Told) } else { Ok(()) }
}

async fn resolve(config: &Config, ledger: &Ledger, decision: Decision) -> anyhow::Result<Resolution> {
    let parts = processor_parts(config, provider(config, ledger.pool())?)?;
    let handler_of = |name: &str| -> Option<Arc<dyn Handler>> { handlers::handler(name, ledger, &parts) };
    let resolved: Result<Resolution, ResolutionError> = resolution::resolve(ledger, &handler_of, decision).await;
    Ok(resolved?)
}

/// What a redriven payment needs, from the instance that runs on the data directory.
fn with_instance(mut config: Config) -> Config {
    if let Some(instance) = Instance::find(config.data_dir()) {
        config.http.public_url.get_or_insert(instance.http);
        config.payment.callback_secret.get_or_insert(instance.payment_callback_secret);
    }
    config
}

fn filter(config: &Config, status: Option<&str>) -> Result<SagaFilter, Failure> {
    match status {
        None => Ok(SagaFilter::Any),
        Some("stuck") => Ok(SagaFilter::Stuck { after: Duration::from_secs(config.saga.stuck_after_seconds) }),
        Some(text) => SagaStatus::parse(text).map(SagaFilter::Of).ok_or_else(|| {
            Failure::Usage(format!("unknown status {text}: one of running, stuck, completed, compensated"))
        }),
    }
}

fn as_json(saga: &SagaView) -> Value {
    json!({
        "orderId": saga.order_id,
        "status": saga.status.as_str(),
        "step": saga.step,
        "since": saga.step_since,
        "remaining": saga.remaining(),
        "handedOver": saga.handed_over,
        "refundFailures": saga.saga.refund_failures,
        "reason": saga.saga.reason,
    })
}

fn told(order_id: &str, resolution: &Resolution) -> String {
    let remaining = match resolution.remaining.is_empty() {
        true => "nothing remains".to_owned(),
        false => format!("{} remains", resolution.remaining.join(", ")),
    };
    let letters = &resolution.letters;
    let mut told = format!("{order_id} is at {}: {remaining}", resolution.step);
    if letters.redriven + letters.discarded > 0 {
        told += &format!("; dead letters: {} applied, {} given up", letters.redriven, letters.discarded);
    }
    if let Some(reason) = &letters.stopped {
        told += &format!("; a dead letter failed again: {reason}");
    }
    told
}
