//! The suite every adapter passes, with the broker killed in the middle.

use messaging::Broker;
use messaging::conformance::{self, Options};

use crate::apache::ApacheProcess;
use crate::embedded::EmbeddedProcess;
use crate::scenario::connect;

#[tokio::test]
async fn the_embedded_broker_conforms() {
    let process = EmbeddedProcess::start();
    let broker = connect(&process.name_server());

    conformance::run(&broker, Options { outage: Some(&process), ..Options::default() }).await;
    broker.close().await;
}

#[tokio::test]
async fn apache_rocketmq_conforms() {
    let Some(process) = ApacheProcess::start_if_available("apache_rocketmq_conforms") else { return };
    let broker = connect(&process.name_server());

    conformance::run(&broker, Options { outage: Some(&process), ..Options::default() }).await;
    broker.close().await;
}

/// The same against servers that are already there: `ORDER_LEDGER_TEST_NAME_SERVER=host:port`.
#[tokio::test]
async fn the_configured_name_server_conforms() {
    let Ok(name_server) = std::env::var("ORDER_LEDGER_TEST_NAME_SERVER") else {
        eprintln!("SKIPPED the_configured_name_server_conforms: ORDER_LEDGER_TEST_NAME_SERVER is not set");
        return;
    };
    let broker = connect(&name_server);

    conformance::run(&broker, Options::default()).await;
    broker.close().await;
}
