//! Keeps partitions in step, and detects records that never arrive.

use cachefront_core::Result;

use super::Assembler;
use crate::brokers::TopicPartition;
use crate::error::gap;
use crate::partition::PartitionState;
use crate::reader::Command;
use crate::tracker::{Missing, PartitionOffset, Stuck};

impl Assembler {
    /// Returns a transaction that may have lost records.
    pub(crate) fn stuck(&mut self) -> Option<Stuck> {
        if self.claims { self.tracker.stuck() } else { None }
    }

    /// Ends the wait for missing records.
    ///
    /// # Errors
    /// [`Gap`](cachefront_core::ErrorKind::Gap) if they are lost. If the transaction topic has never had a record, no
    /// change is lost: changes are returned as before, without a position.
    pub(crate) fn lose(&mut self, stuck: &Stuck) -> Result<()> {
        if stuck.missing == Missing::Begin && !self.metadata.bounds {
            let topic = &self.scope.topics.transactions;
            self.give_up_claims(&format!(
                "rows belong to transactions, and no BEGIN was read from the topic {topic}: check that it exists, that \
                 the user may READ it, and that `transaction_topic` names the topic that the connector writes"
            ));
            return Ok(());
        }
        Err(gap(stuck.to_string()))
    }

    /// True if every record that could complete the transaction was read, up to the known ends.
    pub(crate) fn is_read(&self, stuck: &Stuck, ends: impl Fn(&TopicPartition) -> Option<i64>) -> bool {
        let is_concerned = |state: &&PartitionState| match stuck.missing {
            Missing::Begin => state.has_transactions,
            // A paused partition is ahead of the others, and therefore past the transaction.
            Missing::End | Missing::Events { .. } | Missing::Counts => !state.paused,
        };
        self.partitions
            .iter()
            .filter(is_concerned)
            .all(|state| ends(&state.partition).is_some_and(|end| state.next >= end))
    }

    /// Defers markers while uncounted records may precede the known ends, or an end is unknown.
    pub(crate) fn hold_markers(&mut self, ends: impl Fn(&TopicPartition) -> Option<i64>) {
        let is_behind = |state: &PartitionState| {
            !state.has_transactions && ends(&state.partition).is_none_or(|end| state.next < end)
        };
        let holds = self.partitions.iter().any(is_behind);
        self.tracker.hold_markers(holds);
    }

    /// Records how far a partition was read beyond its last record: transaction markers of the producer take offsets too.
    pub(crate) fn reach(&mut self, at: PartitionOffset) {
        if let Some(state) = self.partitions.get_mut(at.0) {
            state.reach(at.1);
        }
    }

    /// Records that a seek in a partition has taken effect.
    pub(crate) fn sought(&mut self, partition: usize) {
        if let Some(state) = self.partitions.get_mut(partition) {
            state.sought();
        }
    }

    /// Pauses partitions that are far ahead of the others, and resumes them when the others have caught up, so that the
    /// number of incomplete transactions stays bounded.
    ///
    /// The limit is `open_transactions_max`; a paused partition resumes at half of it, so that it
    /// is not paused and resumed for each record.
    pub(crate) fn balance(&mut self) -> Vec<Command> {
        let (open, begun) = self.tracker.open();
        let ahead = open - begun;
        let mut commands = Vec::new();
        for state in &mut self.partitions {
            let (count, leads) = match state.has_transactions {
                true => (begun, true),
                false => (ahead, state.last.as_ref().is_some_and(|gtid| self.tracker.awaits_begin(gtid))),
            };
            let pause = match state.paused {
                true => leads && count > self.scope.open_max / 2,
                false => leads && count > self.scope.open_max,
            };
            if pause != state.paused {
                state.paused = pause;
                let partition = state.partition.clone();
                commands.push(if pause { Command::Pause(partition) } else { Command::Resume(partition) });
            }
        }
        commands
    }
}
