//! Rates of the adapter on this machine: `cargo test -p rocketmq --test brokers -- --ignored --nocapture measure`.
//! Printed, never asserted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use messaging::{Broker, Producer};

use crate::embedded::EmbeddedProcess;
use crate::scenario::{QUEUES, commit, connect, message, topic, unique};

const BATCH: usize = 100;
const BATCHES: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_the_embedded_broker() {
    let process = EmbeddedProcess::start();
    let broker = connect(&process.name_server());
    let topic = topic(&broker, "measure").await;
    let producer: Arc<dyn Producer> = broker.producer().await.unwrap().into();

    send(&producer, &topic, 0..1, 1, BATCHES).await;
    send(&producer, &topic, 0..QUEUES, 1, BATCHES / 2).await;
    let one_queue = send(&producer, &topic, 0..1, BATCH, BATCHES).await;
    let all_queues = send(&producer, &topic, 0..QUEUES, BATCH, BATCHES / 4).await;

    let total = one_queue + all_queues + BATCHES + BATCHES / 2 * usize::from(QUEUES);
    let mut consumer = broker.consumer(&unique("measure-group"), &[&topic]).await.unwrap();
    let started = Instant::now();
    let (mut drained, mut polls) = (0, 0);
    while drained < total {
        let polled = consumer.poll(1_000, Duration::from_millis(200)).await.unwrap();
        commit(&mut *consumer, &polled).await;
        drained += polled.len();
        polls += 1;
    }
    println!("drained {drained} in {polls} polls, each committed: {:.0}/s", rate(drained, started));
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_idle_consumers() {
    const CONSUMERS: usize = 10;
    let process = EmbeddedProcess::start();
    let broker = connect(&process.name_server());
    let topics = [topic(&broker, "idle").await, topic(&broker, "idle").await, topic(&broker, "idle").await];
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut consumers = Vec::new();
    for _ in 0..CONSUMERS {
        consumers.push(broker.consumer(&unique("idle-group"), &names).await.unwrap());
    }
    for consumer in &mut consumers {
        consumer.poll(1, Duration::from_millis(200)).await.unwrap();
    }
    let (started, ours, theirs) = (Instant::now(), cpu_ticks("self"), cpu_ticks(&process.pid().to_string()));
    while started.elapsed() < Duration::from_secs(10) {
        for consumer in &mut consumers {
            consumer.poll(1, Duration::from_millis(100)).await.unwrap();
        }
    }
    let percent = |ticks: u64| ticks as f64 / started.elapsed().as_secs_f64();
    println!(
        "{CONSUMERS} idle consumers of {} queues: {:.0}% of a core here, {:.0}% in the broker",
        names.len() * usize::from(QUEUES),
        percent(cpu_ticks("self") - ours),
        percent(cpu_ticks(&process.pid().to_string()) - theirs)
    );
    broker.close().await;
}

/// User and system time of a process, in hundredths of a second.
fn cpu_ticks(pid: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

async fn send(
    producer: &Arc<dyn Producer>,
    topic: &str,
    queues: std::ops::Range<u16>,
    batch_size: usize,
    batches: usize,
) -> usize {
    let batch: Arc<Vec<_>> = Arc::new((0..batch_size).map(|_| message("x".repeat(300))).collect());
    let started = Instant::now();
    let sending: Vec<_> = queues
        .clone()
        .map(|queue| {
            let (producer, topic, batch) = (producer.clone(), topic.to_owned(), batch.clone());
            tokio::spawn(async move {
                for _ in 0..batches {
                    producer.send(&topic, queue, &batch).await.unwrap();
                }
            })
        })
        .collect();
    for queue in sending {
        queue.await.unwrap();
    }
    let calls = batches * queues.len();
    println!(
        "{} queue(s), batches of {batch_size}: {:.0} calls/s, {:.0} messages/s",
        queues.len(),
        rate(calls, started),
        rate(calls * batch_size, started)
    );
    calls * batch_size
}

fn rate(count: usize, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}
