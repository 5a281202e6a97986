//! The README's walk, command by command, as a reader would type it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::process::{Command, Output};
use std::time::Duration;

use support::Instance;

#[test]
fn every_command_of_the_walk_works() {
    let instance = Instance::start(&[]);
    let script = walk()
        .replace("./.ledger", instance.data_dir().to_str().unwrap())
        .replace("http://127.0.0.1:8080", &format!("http://{}", instance.listen));
    let output = bash(&script);
    let text = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}\n{}", instance.log());
    assert!(text.contains("\"status\":\"CONFIRMED\""), "{text}");
    assert!(text.contains("\"sold\":2"), "{text}");
    assert!(text.contains("OrderConfirmed"), "{text}");

    support::eventually("the buyer to be told", Duration::from_secs(20), || {
        let told = bash(&script_of_last_query(&script)).stdout;
        String::from_utf8_lossy(&told).contains("ORD").then_some(())
    });
    instance.assert_settled();
}

/// The blocks marked `sh walk`, in order.
fn walk() -> String {
    let readme = include_str!("../README.md");
    let blocks: Vec<&str> =
        readme.split("```sh walk\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() > 3, "the README has a walk");
    blocks.concat()
}

/// The settings, and the question for the notifications alone.
fn script_of_last_query(script: &str) -> String {
    let settings = script.lines().take_while(|line| !line.is_empty() && !line.starts_with("curl"));
    let question = script.lines().find(|line| line.contains("/notifications")).unwrap();
    settings.chain([question]).collect::<Vec<_>>().join("\n")
}

fn bash(script: &str) -> Output {
    let directory = std::path::Path::new(support::binary()).parent().unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    Command::new("timeout").args(["60", "bash", "-euo", "pipefail", "-c", script]).env("PATH", path).output().unwrap()
}
