//! The embedded broker as a process: it starts, says so, refuses clearly, and ends when it is told to.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use embedded_broker::{Ports, free_ports};

const PATIENCE: Duration = Duration::from_secs(20);

fn command(data_dir: &Path, ports: Ports) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embedded-broker"));
    command
        .arg("--data-dir")
        .arg(data_dir)
        .args(["--name-server-port", &ports.name_server.to_string()])
        .args(["--broker-port", &ports.broker.to_string()])
        .arg("--until-stdin-closes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts it and waits for its word.
fn start(data_dir: &Path, ports: Ports) -> Child {
    let mut child = command(data_dir, ports).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, format!("ready 127.0.0.1:{}\n", ports.name_server));
    child
}

fn wait(child: &mut Child) -> ExitStatus {
    let give_up_at = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < give_up_at, "the broker did not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Its one line on standard error, after it refused to start.
fn refusal(data_dir: &Path, ports: Ports) -> String {
    let output = command(data_dir, ports).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    error
}

#[test]
fn it_listens_when_it_says_ready_and_ends_with_its_parent() {
    let (dir, ports) = (tempfile::tempdir().unwrap(), free_ports().unwrap());
    let mut child = start(dir.path(), ports);
    for port in [ports.name_server, ports.broker] {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("listening");
    }

    drop(child.stdin.take());

    assert!(wait(&mut child).success());
}

#[test]
fn it_starts_again_on_the_same_data_after_it_was_killed() {
    let (dir, ports) = (tempfile::tempdir().unwrap(), free_ports().unwrap());
    let mut first = start(dir.path(), ports);
    first.kill().unwrap();
    first.wait().unwrap();

    let mut second = start(dir.path(), ports);

    drop(second.stdin.take());
    assert!(wait(&mut second).success());
}

#[test]
fn a_taken_port_and_a_taken_or_unwritable_directory_are_each_told_in_one_line() {
    let (dir, ports) = (tempfile::tempdir().unwrap(), free_ports().unwrap());
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, ports.broker)).unwrap();
    assert!(refusal(dir.path(), ports).contains(&format!("the broker port {} is taken", ports.broker)));
    drop(taken);

    let mut running = start(dir.path(), ports);
    assert!(refusal(dir.path(), free_ports().unwrap()).contains("in use by another broker"));
    drop(running.stdin.take());
    wait(&mut running);

    let file = dir.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    assert!(refusal(&file, ports).contains("cannot be written"));
}

#[test]
fn wrong_flags_are_a_usage_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_embedded-broker")).args(["--broker-port", "many"]).output().unwrap();

    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("usage: embedded-broker"));
}
