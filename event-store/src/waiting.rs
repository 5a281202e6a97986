//! Commands that wait for their batch, and which of them may go next.

use std::collections::{HashSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use tokio::time::{Duration, Instant};

use crate::error::CommandError;
use crate::job::Queued;

/// Streams and keys of a batch that is on its way.
#[derive(Default)]
pub(crate) struct Busy {
    commands: usize,
    streams: HashSet<Arc<str>>,
    keys: HashSet<(String, String)>,
}

impl Busy {
    pub(crate) fn of(commands: &[Queued]) -> Self {
        let mut busy = Self { commands: commands.len(), ..Self::default() };
        for queued in commands {
            busy.streams.extend(queued.command.streams.iter().map(|stream| stream.stream_id.clone()));
            busy.keys.extend(queued.command.keys.iter().map(|key| (key.scope.clone(), key.key.clone())));
        }
        busy
    }

    pub(crate) fn commands(&self) -> usize {
        self.commands
    }

    fn blocks(&self, queued: &Queued) -> bool {
        let command = &queued.command;
        command.streams.iter().any(|stream| self.streams.contains(&stream.stream_id))
            || (!self.keys.is_empty()
                && command.keys.iter().any(|key| self.keys.contains(&(key.scope.clone(), key.key.clone()))))
    }
}

#[derive(Default)]
pub(crate) struct Waiting {
    queue: VecDeque<Queued>,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn push(&mut self, queued: Queued) {
        self.queue.push_back(queued);
    }

    /// Commands to decide anew go before everything else, in the order they had.
    pub(crate) fn put_back(&mut self, commands: Vec<Queued>) {
        for queued in commands.into_iter().rev() {
            self.queue.push_front(queued);
        }
    }

    /// Takes the next batch. A command is passed over when it `belongs` elsewhere, when one of its streams or keys is
    /// busy, or when a command before it on one of its streams was passed over: order on a stream is never changed. Fewer
    /// than the least size stay where they are.
    pub(crate) fn take_batch(
        &mut self,
        size: &RangeInclusive<usize>,
        busy: &[&Busy],
        belongs: impl Fn(&Queued) -> bool,
    ) -> Vec<Queued> {
        let chosen = self.choose(*size.end(), busy, belongs);
        if chosen.len() < *size.start() {
            return Vec::new();
        }
        if chosen.len() == self.queue.len() {
            return self.queue.drain(..).collect();
        }
        let mut batch = Vec::with_capacity(chosen.len());
        let Some(&last) = chosen.last() else { return batch };
        let mut passed_over = Vec::new();
        let mut chosen = chosen.into_iter().peekable();
        for (index, queued) in self.queue.drain(..=last).enumerate() {
            if chosen.next_if_eq(&index).is_some() {
                batch.push(queued);
            } else {
                passed_over.push(queued);
            }
        }
        self.put_back(passed_over);
        batch
    }

    fn choose(&self, max_commands: usize, busy: &[&Busy], belongs: impl Fn(&Queued) -> bool) -> Vec<usize> {
        let mut chosen = Vec::new();
        let mut limit = max_commands;
        let mut blocked: HashSet<&str> = HashSet::new();
        let mut keys: HashSet<(&str, &str)> = HashSet::new();
        for (index, queued) in self.queue.iter().enumerate() {
            let limit_with = limit.min(queued.max_batch);
            if chosen.len() >= limit_with {
                break;
            }
            let command = &queued.command;
            let is_free = belongs(queued)
                && !busy.iter().any(|busy| busy.blocks(queued))
                && (blocked.is_empty() || !command.streams.iter().any(|stream| blocked.contains(&*stream.stream_id)))
                // The second command with a key waits until it can be told what became of the first.
                && !command.keys.iter().any(|key| keys.contains(&(key.scope.as_str(), key.key.as_str())));
            if is_free {
                limit = limit_with;
                chosen.push(index);
                keys.extend(command.keys.iter().map(|key| (key.scope.as_str(), key.key.as_str())));
            } else {
                blocked.extend(command.streams.iter().map(|stream| &*stream.stream_id));
                keys.extend(command.keys.iter().map(|key| (key.scope.as_str(), key.key.as_str())));
            }
        }
        chosen
    }

    /// Answers the commands that have waited too long for their first attempt.
    pub(crate) fn refuse_overdue(&mut self, max_wait: Duration) {
        let now = Instant::now();
        let is_overdue = |queued: &Queued| !queued.tried && now.duration_since(queued.accepted_at) > max_wait;
        if !self.queue.iter().any(is_overdue) {
            return;
        }
        let (overdue, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.queue).into_iter().partition(is_overdue);
        self.queue = kept;
        for queued in overdue {
            queued.fail(CommandError::Overloaded);
        }
    }
}
