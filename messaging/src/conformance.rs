//! What every adapter of the broker port must do, as one suite. An adapter's tests call [`run`] with a broker of theirs;
//! a rule that does not hold panics and says which. Topics and groups are new for each run, so a broker may be shared.

// A test suite: what fails here is meant to panic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
mod consuming;
mod given_up;
mod lag;
mod outage;
mod sending;

use std::time::Duration;

use async_trait::async_trait;

use crate::broker::Broker;
use client::Client;

/// Queues of each topic of the suite.
const QUEUES: u16 = 8;

/// How a suite is run.
pub struct Options<'a> {
    /// First part of the names of topics and groups; must be new for the broker.
    pub prefix: String,
    /// How long anything may take before it counts as not happening.
    pub patience: Duration,
    /// The limit the broker was configured with.
    pub max_message_bytes: usize,
    /// A way to stop and start the broker, when there is one.
    pub outage: Option<&'a dyn Outage>,
}

impl Default for Options<'_> {
    /// A prefix of its own, 30 s of patience, 4 MiB messages, no outage.
    fn default() -> Self {
        Options {
            prefix: format!("conformance-{}", uuid::Uuid::now_v7().simple()),
            patience: Duration::from_secs(30),
            max_message_bytes: 4_194_304,
            outage: None,
        }
    }
}

/// Takes the broker away and brings it back with what it had stored.
#[async_trait]
pub trait Outage: Send + Sync {
    /// Returns when nobody answers any more.
    async fn stop_broker(&self);
    /// Returns when the process is up; clients may need longer.
    async fn start_broker(&self);
}

/// Runs every rule against a broker.
pub async fn run(broker: &dyn Broker, options: Options<'_>) {
    let client = Client::new(broker, &options);
    sending::creating_topics_twice_is_harmless(&client).await;
    sending::an_unknown_topic_is_told_apart(&client).await;
    sending::a_message_over_the_limit_is_told_apart(&client).await;
    consuming::what_was_sent_arrives_unchanged(&client).await;
    consuming::each_queue_keeps_its_order(&client).await;
    consuming::one_consumer_reads_several_topics(&client).await;
    consuming::a_poll_keeps_its_bounds(&client).await;
    consuming::what_was_not_committed_comes_again(&client).await;
    consuming::a_commit_holds_to_the_very_offset(&client).await;
    consuming::each_group_gets_everything(&client).await;
    consuming::members_of_a_group_share_the_queues(&client).await;
    consuming::every_listener_hears_everything_from_now_on(&client).await;
    lag::lag_is_what_was_not_committed(&client).await;
    given_up::what_was_given_up_for_a_group_can_be_read_like_any_topic(&client).await;
    if let Some(outage) = options.outage {
        outage::what_was_confirmed_survives_an_outage(&client, outage).await;
    }
    client.close().await;
}
