//! What the processors work with, as configured: `process` runs them, `serve` redrives their dead letters.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use event_store::Ledger;
use messaging::Handler;
use messaging::listen::{ListenConfig, listen};
use processors::handlers::{self, CacheHandler, ProcessorParts};
use processors::provider::PaymentProvider;
use processors::senders::{
    EmailSender, Guarded, HttpSmsConfig, HttpSmsSender, LogOnly, SenderConfigError, SmsSender, SmtpConfig, SmtpSender,
};
use processors::stock_cache::{InProcessStockCache, RedisCacheConfig, RedisStockCache, StockCache};

use super::{Environment, policy};
use crate::config::Config;

pub(crate) fn processor_parts(config: &Config, provider: Arc<dyn PaymentProvider>) -> anyhow::Result<ProcessorParts> {
    Ok(ProcessorParts {
        email: email_sender(config)?,
        sms: sms_sender(config)?,
        stock_cache: shared_stock_cache(config)?,
        give_up_after: Duration::from_secs(config.notification.give_up_after_seconds),
        ..ProcessorParts::new(policy(config), provider)
    })
}

/// Whatever applies the dead letters of a consumer: the processors, and for the projections what takes their place.
pub(crate) fn redrive_handlers(ledger: &Ledger, parts: &ProcessorParts) -> Vec<Arc<dyn Handler>> {
    let mut all = handlers::handlers(ledger, parts);
    all.extend(projections::redrive_handlers(ledger.pool()));
    all
}

/// What stock queries read: Redis where it is configured; else a cache of this process, which hears every `stock-sync` for
/// itself.
pub(super) fn stock_cache(environment: &Environment) -> anyhow::Result<Arc<dyn StockCache>> {
    if let Some(shared) = shared_stock_cache(&environment.config)? {
        return Ok(shared);
    }
    let own: Arc<dyn StockCache> = Arc::new(InProcessStockCache::new(environment.config.cache.ttl_ms));
    let handler = Arc::new(CacheHandler::new(own.clone()));
    let consumer_group = environment.config.rocketmq.consumer.group.clone();
    let config = ListenConfig { consumer_group, ..ListenConfig::default() };
    tokio::spawn(listen(environment.broker.clone(), handler, config, environment.shutdown.clone()));
    Ok(own)
}

/// The stock cache that all processes share, where there is one.
fn shared_stock_cache(config: &Config) -> anyhow::Result<Option<Arc<dyn StockCache>>> {
    let cache = &config.cache;
    let Some(url) = &cache.redis_url else { return Ok(None) };
    let redis = RedisCacheConfig {
        key_prefix: cache.redis_key_prefix.clone(),
        ttl_ms: cache.ttl_ms,
        read_timeout_ms: cache.redis_timeout_ms,
        write_timeout_ms: cache.redis_write_timeout_ms,
        ..RedisCacheConfig::new(url)
    };
    let redis = RedisStockCache::new(redis).context("configuration: cache.redis_url")?;
    Ok(Some(Arc::new(redis)))
}

fn email_sender(config: &Config) -> anyhow::Result<Arc<dyn EmailSender>> {
    let smtp = &config.notification.smtp;
    let (Some(url), Some(from)) = (&smtp.url, &smtp.from) else { return Ok(Arc::new(LogOnly)) };
    let read =
        |path: &PathBuf| std::fs::read(path).with_context(|| format!("notification.smtp.ca_file {}", path.display()));
    let server = SmtpConfig {
        ca_certificate_pem: smtp.ca_file.as_ref().map(read).transpose()?,
        timeout_ms: smtp.timeout_ms,
        max_connections: smtp.max_connections,
        ..SmtpConfig::new(url, from)
    };
    let sender = SmtpSender::new(&server).map_err(|error| wrong("notification.smtp", &error))?;
    Ok(Arc::new(Guarded::new("smtp", sender)))
}

fn sms_sender(config: &Config) -> anyhow::Result<Arc<dyn SmsSender>> {
    let sms = &config.notification.sms;
    let Some(url) = &sms.url else { return Ok(Arc::new(LogOnly)) };
    let provider = HttpSmsConfig {
        api_key: sms.api_key.clone(),
        request_timeout_ms: sms.timeout_ms,
        max_attempts: sms.max_attempts,
        retry_pause_ms: sms.retry_pause_ms,
        ..HttpSmsConfig::new(url)
    };
    let sender = HttpSmsSender::new(provider).map_err(|error| wrong("notification.sms", &error))?;
    Ok(Arc::new(Guarded::new("sms", sender)))
}

fn wrong(section: &str, error: &SenderConfigError) -> anyhow::Error {
    anyhow!("configuration: {section}.{error}")
}
