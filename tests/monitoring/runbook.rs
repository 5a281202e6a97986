//! `ops/RUNBOOK.md`: a page for each alert, and commands that work.

use std::process::Command;
use std::time::Duration;

use crate::support::{Instance, binary, eventually};
use crate::text;

/// Blocks that are not run: they need an outage, another machine, or an order that hangs.
const MAX_BLOCKS_NOT_RUN: usize = 12;
const SOON: Duration = Duration::from_secs(60);

pub struct Section {
    /// The alert's name.
    pub name: String,
    text: String,
}

/// The pages; what comes before the first one is none.
pub fn sections() -> Vec<Section> {
    let book = text("RUNBOOK.md");
    let pages = book.split("\n## ").skip(1).map(|page| page.split_once('\n').unwrap());
    pages.map(|(name, text)| Section { name: name.trim().to_owned(), text: text.to_owned() }).collect()
}

#[test]
fn every_page_says_what_it_means_where_to_look_and_how_to_mend_it() {
    for section in sections() {
        for part in ["**Means.**", "**First look.**", "**Mend.**"] {
            assert!(section.text.contains(part), "{} has no {part}", section.name);
        }
        assert!(section.text.contains("```sh run"), "{} has no command that was run", section.name);
    }
    let not_run = text("RUNBOOK.md").matches("```sh\n").count();
    assert!(not_run <= MAX_BLOCKS_NOT_RUN, "{not_run} blocks are not run");
}

/// Runs every command of the runbook, in order.
pub fn run_all(instance: &Instance) {
    let book = text("RUNBOOK.md");
    let setup = blocks(&book, "sh setup").concat();
    let commands = blocks(&book, "sh run");
    assert!(commands.len() > 30, "only {} blocks", commands.len());
    for block in commands {
        await_all_roles(instance);
        let script = format!("{setup}\n{block}")
            .replace("./.ledger", instance.data_dir().to_str().unwrap())
            .replace("http://127.0.0.1:8080", &format!("http://{}", instance.listen));
        let output = bash(&script);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{block}\n{said}\n{}", instance.log());
    }
    await_all_roles(instance);
}

fn blocks(book: &str, kind: &str) -> Vec<String> {
    let begin = format!("```{kind}\n");
    book.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Some commands end a role: `up` has it back before the next reader would have typed anything.
fn await_all_roles(instance: &Instance) {
    eventually("every role to run and to be ready", SOON, || {
        let pids = instance.info()["pids"].as_object().unwrap().clone();
        let runs = |pid: &serde_json::Value| std::path::Path::new(&format!("/proc/{pid}/stat")).exists();
        let ready = bash(&format!("curl -sS --max-time 2 --fail http://{}/readyz", instance.listen));
        (pids.values().all(runs) && ready.status.success()).then_some(())
    });
}

fn bash(script: &str) -> std::process::Output {
    let directory = std::path::Path::new(binary()).parent().unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    Command::new("timeout").args(["60", "bash", "-euo", "pipefail", "-c", script]).env("PATH", path).output().unwrap()
}
