//! The embedded broker as a process of its own, for the tests.
//!
//! `embedded-broker --data-dir DIR --name-server-port P --broker-port P [--until-stdin-closes]` prints
//! `ready HOST:PORT` and runs until Ctrl-C, SIGTERM or, with the last flag, the end of its standard input: a parent
//! that dies, however it dies, takes the broker with it.

use std::process::ExitCode;

use embedded_broker::{EmbeddedBrokerConfig, Ports};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str =
    "usage: embedded-broker --data-dir DIR --name-server-port PORT --broker-port PORT [--until-stdin-closes]";

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(reason) => {
            eprintln!("{reason}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let shutdown = told_to_stop(arguments.until_stdin_closes);
    let ready = |ready: embedded_broker::Ready| println!("ready {}", ready.name_server);
    match embedded_broker::run(arguments.config, ready, shutdown) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("embedded-broker: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    config: EmbeddedBrokerConfig,
    until_stdin_closes: bool,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut data_dir, mut name_server, mut broker, mut until_stdin_closes) = (None, None, None, false);
        while let Some(flag) = arguments.next() {
            if flag == "--until-stdin-closes" {
                until_stdin_closes = true;
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--data-dir" => data_dir = Some(value),
                "--name-server-port" => name_server = Some(port(&flag, &value)?),
                "--broker-port" => broker = Some(port(&flag, &value)?),
                _ => return Err(format!("unknown flag {flag}")),
            }
        }
        let ports = Ports {
            name_server: name_server.ok_or("--name-server-port is missing")?,
            broker: broker.ok_or("--broker-port is missing")?,
        };
        Ok(Self {
            config: EmbeddedBrokerConfig::new(data_dir.ok_or("--data-dir is missing")?, ports),
            until_stdin_closes,
        })
    }
}

fn port(flag: &str, value: &str) -> Result<u16, String> {
    value.parse().map_err(|_| format!("{flag} {value} is not a port"))
}

async fn told_to_stop(until_stdin_closes: bool) {
    // Without a handler a SIGTERM ends the process at once, which the store survives too.
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => drop(terminated.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    let orphaned = async {
        if !until_stdin_closes || stdin_closes().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
        () = orphaned => {}
    }
}

/// Reads on a thread of its own: a read that blocks on the runtime would hold up its shutdown.
async fn stdin_closes() -> Result<(), tokio::sync::oneshot::error::RecvError> {
    let (closed, until_closed) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = closed.send(());
    });
    until_closed.await
}
