//! The group commit: takes what waits, gives each batch exclusive hold of its streams, and keeps the states in between.
//!
//! A lone command waits for nobody: whatever is there goes as soon as a connection is free, and what comes meanwhile
//! makes the next batch. Two connections take the ordinary commands, so that one batch is built while another is on its
//! way; the second takes part only when half of all is a batch of its own, else it would cut the batches small and double
//! the flushes (64 callers: 3.8k/s instead of 7.5k/s when it took whatever was there). A third connection takes the
//! commands on contended streams, which have to wait for other processes.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, BatchRunner, Finished};
use crate::cache::StateCache;
use crate::clock::DatabaseClock;
use crate::command::ReadMode;
use crate::connection::{AppendConnection, Connector};
use crate::contention::Contended;
use crate::job::Queued;
use crate::ledger::LedgerConfig;
use crate::side_tasks::SnapshotJob;
use crate::slot::StreamSlot;
use crate::waiting::{Busy, Waiting};

/// Fewer commands than this do not go beside a batch that is on its way: they go with the next.
const MIN_BATCH_BESIDE: usize = 8;
/// How often waiting commands are looked through for overdue ones.
const OVERDUE_CHECK_EVERY: Duration = Duration::from_millis(50);

pub(crate) struct Executor {
    config: Arc<LedgerConfig>,
    clock: Arc<DatabaseClock>,
    inbox: mpsc::Receiver<Queued>,
    waiting: Waiting,
    cache: StateCache,
    contended: Contended,
    lanes: [Lane; 3],
    running: JoinSet<(usize, Option<Finished>)>,
    /// So many waited when they were looked through for a batch beside another, and too few were free to go.
    looked_in_vain_at: usize,
    head: watch::Sender<i64>,
    snapshots: mpsc::Sender<SnapshotJob>,
    closing: CancellationToken,
}

/// One connection and the batch that is on it.
struct Lane {
    takes_contended: bool,
    connector: Connector,
    connection: Option<AppendConnection>,
    busy: Option<Busy>,
}

/// What the executor is made of.
pub(crate) struct ExecutorParts {
    pub(crate) config: Arc<LedgerConfig>,
    pub(crate) clock: Arc<DatabaseClock>,
    pub(crate) inbox: mpsc::Receiver<Queued>,
    pub(crate) connector: Connector,
    pub(crate) head: watch::Sender<i64>,
    pub(crate) snapshots: mpsc::Sender<SnapshotJob>,
    pub(crate) closing: CancellationToken,
}

impl Executor {
    pub(crate) fn new(parts: ExecutorParts) -> Self {
        let ExecutorParts { config, clock, inbox, connector, head, snapshots, closing } = parts;
        let lane = |takes_contended| Lane {
            takes_contended,
            connection: Some(connector.unopened()),
            connector: connector.clone(),
            busy: None,
        };
        Self {
            cache: StateCache::new(config.state_cache_streams),
            contended: Contended::new(Duration::from_millis(config.contended_ms)),
            waiting: Waiting::default(),
            lanes: [lane(false), lane(false), lane(true)],
            running: JoinSet::new(),
            looked_in_vain_at: 0,
            config,
            clock,
            inbox,
            head,
            snapshots,
            closing,
        }
    }

    /// Ends when no command can come any more and all were answered.
    pub(crate) async fn run(mut self) {
        let mut overdue_check = interval(OVERDUE_CHECK_EVERY);
        overdue_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_open, mut is_closing) = (true, false);
        loop {
            self.start_batches();
            if !is_open && self.waiting.len() == 0 && self.running.is_empty() {
                return;
            }
            let has_room = self.waiting.len() < self.max_waiting();
            tokio::select! {
                Some(finished) = self.running.join_next() => match finished {
                    Ok((index, finished)) => self.finish(index, finished),
                    // Panics are caught inside and nothing aborts these tasks but the runtime's own end.
                    Err(_) => return,
                },
                queued = self.inbox.recv(), if is_open && has_room => match queued {
                    Some(queued) => self.take_in(queued),
                    None => is_open = false,
                },
                () = self.closing.cancelled(), if !is_closing => {
                    is_closing = true;
                    self.inbox.close();
                }
                _ = overdue_check.tick(), if self.waiting.len() > 0 => {
                    self.waiting.refuse_overdue(Duration::from_millis(self.config.max_wait_ms));
                }
            }
        }
    }

    fn max_batch(&self) -> usize {
        self.config.max_batch_commands.max(1)
    }

    /// Enough to choose from when the first in line must wait for a stream.
    fn max_waiting(&self) -> usize {
        self.max_batch() * 4
    }

    fn take_in(&mut self, first: Queued) {
        self.waiting.push(first);
        while self.waiting.len() < self.max_waiting() {
            match self.inbox.try_recv() {
                Ok(queued) => self.waiting.push(queued),
                Err(_) => return,
            }
        }
    }

    fn start_batches(&mut self) {
        self.contended.forget_old();
        for index in 0..self.lanes.len() {
            if self.waiting.len() == 0 {
                return;
            }
            let takes_contended = self.lanes[index].takes_contended;
            let Some(size) = self.batch_size(&self.lanes[index]) else { continue };
            let busy: Vec<&Busy> = self.lanes.iter().filter_map(|lane| lane.busy.as_ref()).collect();
            let contended = &self.contended;
            let is_contended = |queued: &Queued| {
                !contended.is_empty() && queued.command.streams.iter().any(|s| contended.contains(&s.stream_id))
            };
            let commands = self.waiting.take_batch(&size, &busy, |queued| is_contended(queued) == takes_contended);
            if !commands.is_empty() {
                self.start(index, commands);
            } else if *size.start() > 1 {
                self.looked_in_vain_at = self.waiting.len();
            }
        }
    }

    /// How many commands a batch of the lane may have now.
    fn batch_size(&self, lane: &Lane) -> Option<RangeInclusive<usize>> {
        if lane.connection.is_none() || (lane.takes_contended && self.contended.is_empty()) {
            return None;
        }
        let beside = self.lanes.iter().filter(|other| other.takes_contended == lane.takes_contended);
        let Some(on_their_way) = beside.filter_map(|other| other.busy.as_ref()).map(Busy::commands).max() else {
            return Some(1..=self.max_batch());
        };
        let least = on_their_way.max(MIN_BATCH_BESIDE);
        // Looking through all that wait costs, so only when enough have come since it was in vain.
        if self.waiting.len() < least.max(self.looked_in_vain_at + MIN_BATCH_BESIDE) {
            return None;
        }
        // Batches of one size keep both connections busy.
        let half = (on_their_way + self.waiting.len()).div_ceil(2);
        Some(least..=half.max(least).min(self.max_batch().max(least)))
    }

    fn start(&mut self, index: usize, commands: Vec<Queued>) {
        let Some(connection) = self.lanes[index].connection.take() else {
            self.waiting.put_back(commands);
            return;
        };
        metrics::histogram!("ledger_append_batch_commands").record(commands.len() as f64);
        let mut slots = self.check_out(&commands);
        let mut contended = Vec::new();
        for slot in &mut slots {
            if self.contended.contains(&slot.stream_id) {
                slot.load = true;
                contended.push(slot.stream_id.clone());
            }
        }
        self.lanes[index].busy = Some(Busy::of(&commands));
        let runner = BatchRunner { connection, config: self.config.clone(), clock: self.clock.clone() };
        let batch = Batch { commands, slots, contended };
        let run = AssertUnwindSafe(runner.run(batch)).catch_unwind();
        self.running.spawn(async move { (index, run.await.ok()) });
    }

    /// The states of the batch's streams, taken out of the cache until the batch is finished.
    fn check_out(&mut self, commands: &[Queued]) -> Vec<StreamSlot> {
        let mut slots: Vec<StreamSlot> = Vec::new();
        let mut index: HashMap<Arc<str>, usize> = HashMap::new();
        for stream in commands.iter().flat_map(|queued| &queued.command.streams) {
            let slot = match index.get(&stream.stream_id) {
                Some(&slot) => &mut slots[slot],
                None => {
                    index.insert(stream.stream_id.clone(), slots.len());
                    let slot = match self.cache.take(&stream.stream_id) {
                        Some(cached) => StreamSlot::cached(stream.stream_id.clone(), stream.kind, cached),
                        None => {
                            StreamSlot::unknown(stream.stream_id.clone(), stream.kind, stream.mode == ReadMode::Begin)
                        }
                    };
                    slots.push(slot);
                    let last = slots.len() - 1;
                    &mut slots[last]
                }
            };
            slot.load |= stream.mode == ReadMode::Fresh;
        }
        slots
    }

    /// The states come back, conflicting commands go to the front of the line, and the news goes out.
    fn finish(&mut self, index: usize, finished: Option<Finished>) {
        self.looked_in_vain_at = 0;
        let lane = &mut self.lanes[index];
        lane.busy = None;
        let Some(Finished { connection, slots, settlement }) = finished else {
            tracing::error!("an append panicked; its commands are lost to their callers, its streams are read anew");
            lane.connection = Some(lane.connector.unopened());
            return;
        };
        lane.connection = Some(connection);
        if let Some(head) = settlement.head {
            self.head.send_if_modified(|known| {
                let is_newer = head > *known;
                *known = head.max(*known);
                is_newer
            });
        }
        for slot in slots {
            self.check_in(slot);
        }
        for stream_id in settlement.contended {
            self.contended.met_another(stream_id);
        }
        for stream_id in settlement.waited_in_vain {
            self.contended.waited_in_vain(stream_id);
        }
        self.waiting.put_back(settlement.redo);
    }

    fn check_in(&mut self, slot: StreamSlot) {
        if slot.unreadable.is_some() || slot.version == 0 {
            return;
        }
        if slot.has_grown_past(self.config.snapshot_every_events) {
            // A snapshot saves work and nothing depends on it: when the writer is behind, the next one will do.
            let _ = self.snapshots.try_send(SnapshotJob::of(&slot));
        }
        let (stream_id, cached) = slot.into_cached();
        self.cache.put(stream_id, cached);
    }
}
