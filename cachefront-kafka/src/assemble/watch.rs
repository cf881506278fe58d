//! Keeps the partitions together, and notices records that do not come.

use cachefront_core::Result;

use super::Assembler;
use crate::brokers::Partition;
use crate::error::gap;
use crate::lane::Lane;
use crate::reader::Command;
use crate::tracker::{Lacks, Stuck};

impl Assembler {
    /// A transaction that may have lost records.
    pub(crate) fn stuck(&mut self) -> Option<Stuck> {
        if self.claims { self.tracker.stuck() } else { None }
    }

    /// Ends the wait for records that do not come.
    ///
    /// # Errors
    /// [`Gap`](cachefront_core::ErrorKind::Gap) if they are lost. Where no record of the transaction topic ever came,
    /// no change is: changes are handed over as before, and their position is not known any more.
    pub(crate) fn lose(&mut self, stuck: &Stuck) -> Result<()> {
        if stuck.lacks == Lacks::Begin && !self.metadata.bounds {
            let topic = &self.scope.topics.transactions;
            self.give_up_claims(&format!(
                "rows are of transactions, and no BEGIN came on the topic {topic}: check that it exists, that the user \
                 may READ it, and that `transaction_topic` names the topic that the connector writes"
            ));
            return Ok(());
        }
        Err(gap(stuck.to_string()))
    }

    /// True if every record that could still complete the transaction has been read, as far as the ends are known.
    pub(crate) fn is_read(&self, stuck: &Stuck, ends: impl Fn(&Partition) -> Option<i64>) -> bool {
        let concerned = |lane: &&Lane| match stuck.lacks {
            Lacks::Begin => lane.tells_transactions,
            // A paused partition is ahead of the others, and so is past the transaction.
            Lacks::End | Lacks::Events { .. } => !lane.paused,
        };
        self.lanes.iter().filter(concerned).all(|lane| ends(&lane.partition).is_some_and(|end| lane.next >= end))
    }

    /// Lets markers wait while records that no transaction counts may lie before the known ends.
    pub(crate) fn hold_markers(&mut self, ends: impl Fn(&Partition) -> Option<i64>) {
        let behind = |lane: &Lane| !lane.tells_transactions && ends(&lane.partition).is_some_and(|end| lane.next < end);
        let holds = self.lanes.iter().any(behind);
        self.tracker.hold_markers(holds);
    }

    /// Notes how far a partition was read without a record: transactions of its producer end with records that are not
    /// handed over.
    pub(crate) fn reach(&mut self, at: (usize, i64)) {
        if let Some(lane) = self.lanes.get_mut(at.0) {
            lane.reach(at.1);
        }
    }

    /// Keeps partitions from running away from each other: who is far ahead is paused until the others follow.
    pub(crate) fn balance(&mut self) -> Vec<Command> {
        let (open, begun) = self.tracker.open();
        let ahead = open - begun;
        let mut commands = Vec::new();
        for lane in &mut self.lanes {
            let (count, leads) = match lane.tells_transactions {
                true => (begun, true),
                false => (ahead, lane.last.as_ref().is_some_and(|gtid| self.tracker.awaits_begin(gtid))),
            };
            let pause = match lane.paused {
                true => leads && count > self.scope.open_max / 2,
                false => leads && count > self.scope.open_max,
            };
            if pause != lane.paused {
                lane.paused = pause;
                let partition = lane.partition.clone();
                commands.push(if pause { Command::Pause(partition) } else { Command::Resume(partition) });
            }
        }
        commands
    }
}
