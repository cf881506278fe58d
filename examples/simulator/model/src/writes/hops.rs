//! The hops of a write as they are shown: on one time axis, which begins with the commit.

use cachefront::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::write::Write;
use crate::domain::rfc3339;

/// A hop of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HopName {
    /// From the commit to the connector that read it.
    Captured,
    /// From the connector into the queue.
    Queued,
    /// To the consumer.
    Read,
    /// Until every reader could see the commit.
    Gate,
    /// Until its keys were removed from the store.
    Removal,
    /// Over the bus, from the consumer to this process.
    Push,
    /// The first read by id through this process's caches, from whichever tier, whose value is proven to contain the commit: the
    /// position of the value covers the transaction.
    FirstRead,
}

impl HopName {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::Queued => "queued",
            Self::Read => "read",
            Self::Gate => "gate",
            Self::Removal => "removal",
            Self::Push => "push",
            Self::FirstRead => "first_read",
        }
    }
}

/// One hop, in ms after the commit.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Hop {
    pub hop: HopName,
    /// Null if the hop was not measured.
    pub from_ms: Option<f64>,
    /// Null if the hop was not measured.
    pub to_ms: Option<f64>,
    /// Why it was not measured; null if it was.
    pub not_measured: Option<&'static str>,
}

/// A write and its hops, in their order.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct WriteView {
    #[schema(example = "main.users")]
    pub table: String,
    #[schema(example = "update")]
    pub op: String,
    pub keys: Vec<String>,
    /// The transaction.
    pub position: String,
    /// Where the axis begins: the commit, or the first time that is known if the log does not say when it was committed.
    pub began_at: Option<String>,
    pub hops: Vec<Hop>,
}

impl Write {
    pub(super) fn view(&self) -> WriteView {
        let axis = self.axis();
        let mut hops = self.reported(axis);
        hops.push(self.pushed(axis));
        hops.push(self.read(axis));
        let change = &self.change;
        WriteView {
            table: change.table.clone(),
            op: change.op.clone(),
            keys: change.keys.clone(),
            position: change.position.clone(),
            began_at: axis.map(|at| rfc3339(Timestamp::from_micros(at))),
            hops,
        }
    }

    /// Returns the time at which the axis begins.
    fn axis(&self) -> Option<u64> {
        let times = &self.change.times;
        times.committed_us.or(times.captured_us).or(times.queued_us).or(times.received_us)
    }

    fn is_invalidated(&self) -> bool {
        self.change.times.applied_us.is_some()
    }

    /// Returns the hops that the consumer has reported. Each begins where the last known one ended: logs and queues keep times to
    /// the millisecond, so a time may lie before the one that precedes it.
    fn reported(&self, axis: Option<u64>) -> Vec<Hop> {
        let times = &self.change.times;
        let no_invalidation = "TTL mode: the change was only read";
        let received = times.received_us;
        let all = [
            (HopName::Captured, times.captured_us, "there is no connector between the log and the consumer"),
            (HopName::Queued, times.queued_us, "there is no queue between the log and the consumer"),
            (HopName::Read, received, "the consumer did not report it"),
            (HopName::Gate, times.visible_us, if self.is_invalidated() { "not reported" } else { no_invalidation }),
            (HopName::Removal, times.applied_us, no_invalidation),
        ];
        let mut last = axis;
        let hops = all.into_iter().map(|(hop, at, why)| match (at, last) {
            (Some(at), Some(from)) => {
                let to = at.max(from);
                last = Some(to);
                measured(hop, axis, from, to)
            }
            _ => missing(hop, why),
        });
        hops.collect()
    }

    fn pushed(&self, axis: Option<u64>) -> Hop {
        match self.push {
            Some((sent, arrived)) => {
                let from = sent.as_micros();
                measured(HopName::Push, axis, from, arrived.as_micros().max(from))
            }
            None if !self.is_invalidated() => missing(HopName::Push, "TTL mode: nothing is sent"),
            None if !self.watched => missing(HopName::Push, "the bus was not watched here at that time"),
            None => missing(HopName::Push, "it has not arrived here yet"),
        }
    }

    fn read(&self, axis: Option<u64>) -> Hop {
        match &self.first_read {
            Some(read) => measured(HopName::FirstRead, axis, read.began.as_micros(), read.ended.as_micros()),
            None if self.id.is_none() => missing(HopName::FirstRead, "it has no key of the users by id"),
            None if self.position.is_none() => missing(HopName::FirstRead, "its transaction has no position"),
            None if !self.watched => missing(HopName::FirstRead, "reads were not watched here at that time"),
            None => missing(HopName::FirstRead, "no read here is proven to contain it yet"),
        }
    }
}

fn measured(hop: HopName, axis: Option<u64>, from: u64, to: u64) -> Hop {
    let since = |at: u64| at.saturating_sub(axis.unwrap_or(at)) as f64 / 1e3;
    Hop { hop, from_ms: Some(since(from)), to_ms: Some(since(to)), not_measured: None }
}

fn missing(hop: HopName, why: &'static str) -> Hop {
    Hop { hop, from_ms: None, to_ms: None, not_measured: Some(why) }
}
