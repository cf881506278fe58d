//! Events for those who watch: changes, the mode, the pipeline.

use std::fmt;
use std::sync::Arc;

use cachefront::{AppliedBatch, AppliedChange, CdcObserver};
use serde::Serialize;
use tokio::sync::broadcast;
use utoipa::ToSchema;

use crate::change_times::ChangeTimes;
use crate::stages::StageMeter;

/// A subscriber that lags further behind misses events. They are for display only.
const BEHIND_MAX: usize = 1_024;

/// An event as it is sent: its type and one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub name: &'static str,
    pub data: String,
}

impl Event {
    pub fn new(name: &'static str, data: &impl Serialize) -> Self {
        // The types that are sent are plain structs, which always have a JSON form.
        Self { name, data: serde_json::to_string(data).unwrap_or_default() }
    }
}

/// A change of a row, after its keys were invalidated (in TTL mode: after it was read).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChangeEvent {
    #[schema(example = "main.users")]
    pub table: String,
    #[schema(example = "update")]
    pub op: &'static str,
    /// The keys that depend on the row, before and after.
    pub keys: Vec<String>,
    /// The transaction that made the change.
    pub position: String,
    /// From the commit until the keys were invalidated; null if the log does not say when it was committed.
    pub lag_ms: Option<f64>,
    /// When it passed each part.
    pub times: ChangeTimes,
}

impl ChangeEvent {
    fn new(change: &AppliedChange, batch: &AppliedBatch) -> Self {
        let lag = batch.applied_at.since(change.committed_at).as_micros() as f64 / 1e3;
        Self {
            table: change.table.as_str().to_owned(),
            op: change.operation,
            keys: change.keys.iter().map(|key| key.as_str().to_owned()).collect(),
            position: change.gtid.to_string(),
            lag_ms: change.committed_at.is_known().then_some(lag),
            times: ChangeTimes::of(change, batch),
        }
    }
}

/// Hands events to all subscribers in this process.
#[derive(Clone, Debug)]
pub struct EventHub {
    sender: broadcast::Sender<Event>,
}

impl Default for EventHub {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BEHIND_MAX) }
    }
}

impl EventHub {
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }

    pub fn publish(&self, event: Event) {
        // An error means that there is no subscriber.
        let _ = self.sender.send(event);
    }
}

/// Where a consumer's change events go.
pub trait ChangeSink: fmt::Debug + Send + Sync + 'static {
    /// Takes an event without waiting; it may be dropped.
    fn take(&self, event: Event);
}

impl ChangeSink for EventHub {
    fn take(&self, event: Event) {
        self.publish(event);
    }
}

/// Turns applied batches into events.
#[derive(Debug)]
pub struct Announcer {
    pub sink: Arc<dyn ChangeSink>,
    /// Measures the stages of the announced changes.
    pub stages: Arc<StageMeter>,
}

impl CdcObserver for Announcer {
    fn applied(&self, batch: &AppliedBatch) {
        self.stages.note(batch);
        for change in &batch.changes {
            self.sink.take(Event::new("change", &ChangeEvent::new(change, batch)));
        }
    }
}
