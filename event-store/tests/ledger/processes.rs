//! Several processes append at once. The children are this test binary again, at work in [`child_process`].

use std::collections::BTreeSet;
use std::process::{Command as Process, Stdio};

use event_store::read;
use futures_util::future::join_all;

use crate::support::{Database, Tally, TallyCommand, command, message, pool};

const CHILDREN: usize = 4;
const CALLERS: usize = 16;
const COMMANDS_PER_CALLER: usize = 20;
const CHILD_URL: &str = "LEDGER_TEST_CHILD_URL";

/// Each command: one event on a stream of its own and one on a stream that all processes share, with a message.
const EVENTS: i64 = (CHILDREN * CALLERS * COMMANDS_PER_CALLER * 2) as i64;

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_append_gapless_in_commit_order() {
    let database = Database::new().await;
    let children: Vec<_> = (0..CHILDREN)
        .map(|_| {
            Process::new(std::env::current_exe().unwrap())
                .args(["--exact", "processes::child_process", "--nocapture"])
                .env(CHILD_URL, &database.url)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();

    // A reader that follows the head sees each position right after the one before.
    let mut last = 0;
    while last < EVENTS {
        for event in read::after(&database.pool, last, 1_000, None).await.unwrap() {
            assert_eq!(event.position, last + 1, "a position was visible before the one in front of it");
            last = event.position;
        }
    }

    let mut acknowledged = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let lines = String::from_utf8(output.stdout).unwrap();
        acknowledged.extend(lines.lines().filter_map(|line| line.strip_prefix("appended ")).map(parse));
    }
    let distinct: BTreeSet<_> = acknowledged.iter().map(|(_, position)| *position).collect();
    assert_eq!((acknowledged.len() as i64, distinct.len() as i64), (EVENTS / 2, EVENTS / 2));
    for (stream_id, position) in acknowledged {
        assert_eq!(database.positions(&stream_id).await, [position]);
    }
    assert_eq!(read::head(&database.pool).await.unwrap(), EVENTS);
    assert_eq!(database.count("store.events").await, EVENTS);
    assert_eq!(database.count("store.outbox").await, EVENTS / 2);
    assert_eq!(database.count("store.events where stream_id = 'tally-shared'").await, EVENTS / 2);
    database.assert_sound().await;
}

fn parse(line: &str) -> (String, i64) {
    let (stream_id, position) = line.split_once(' ').unwrap();
    (stream_id.to_owned(), position.parse().unwrap())
}

/// Does nothing unless the test above has started it.
#[tokio::test(flavor = "multi_thread")]
async fn child_process() {
    let Ok(url) = std::env::var(CHILD_URL) else { return };
    let ledger = event_store::Ledger::start(pool(&url).await, Default::default()).await.unwrap();
    let callers = (0..CALLERS).map(|caller| {
        let ledger = ledger.clone();
        async move {
            for n in 0..COMMANDS_PER_CALLER {
                let id = format!("{}-{caller}-{n}", std::process::id());
                let streams = command().cached::<Tally>("shared").begin::<Tally>(&id);
                let own = id.clone();
                let committed = ledger
                    .execute(streams, move |unit| {
                        unit.handle::<Tally>("shared", TallyCommand::Add { by: 1 })?;
                        unit.handle::<Tally>(&own, TallyCommand::Add { by: 1 })?;
                        unit.publish(message(&own))
                    })
                    .await
                    .unwrap();
                println!("appended tally-{id} {}", committed.position.unwrap());
            }
        }
    });
    join_all(callers).await;
    ledger.close().await;
}
