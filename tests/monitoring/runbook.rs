//! `ops/RUNBOOK.md`: a page for each alert, and commands that work.

use std::process::Command;
use std::time::Duration;

use crate::support::{Instance, binary, eventually};
use crate::text;

/// Blocks that are not run: they need an outage, another machine, or an order that hangs.
const MAX_BLOCKS_NOT_RUN: usize = 10;
const SOON: Duration = Duration::from_secs(60);
/// What a command found may be overlooked by `|| true`, but not that there is no such command or file: exit code 2 ends all.
const NO_USAGE_ERRORS: &str = r#"
checked() { local code=0; command "$@" || code=$?; [ "$code" != 2 ] || kill "$$"; return "$code"; }
order-ledger() { checked order-ledger "$@"; }
grep() { checked grep "$@"; }
"#;

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
    let commands = blocks(&text("RUNBOOK.md"), "sh run");
    assert!(commands.len() > 30, "only {} blocks", commands.len());
    for block in commands {
        await_all_roles(instance);
        run(instance, &block);
    }
    await_all_roles(instance);
}

/// Runs what needs a dead letter, on this one.
pub fn run_on_dead_letter(instance: &Instance, id: i64) {
    let commands = blocks(&text("RUNBOOK.md"), "sh run poisoned");
    assert!(!commands.is_empty());
    for block in commands {
        assert!(block.contains(" 12"), "{block}");
        run(instance, &block.replace(" 12", &format!(" {id}")));
    }
}

fn run(instance: &Instance, block: &str) {
    let setup = blocks(&text("RUNBOOK.md"), "sh setup").concat();
    let script = format!("{NO_USAGE_ERRORS}\n{setup}\n{block}")
        .replace("./.ledger", instance.data_dir().to_str().unwrap())
        .replace("http://127.0.0.1:8080", &format!("http://{}", instance.listen));
    let output = bash(&script);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{block}\n{said}\n{}", instance.log());
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
