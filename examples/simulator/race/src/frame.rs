//! What is true at one moment of a race, read from its objects.

use crate::loads::{Fate, Load};

/// How far a reader has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its load has read this value and is held.
    Held { read: String },
    /// It waits for the load of another reader.
    Waiting,
    /// It got this value: from the cache, or from a load.
    Got { value: String, from_cache: bool },
    /// Its read failed.
    Failed(String),
}

/// A reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderState {
    pub name: char,
    pub progress: Progress,
    /// The value that the database had for sessions when the reader asked.
    pub asked: String,
}

impl ReaderState {
    /// Returns true if the reader got an older value than the database had when it asked.
    pub fn is_wrong(&self) -> bool {
        matches!(&self.progress, Progress::Got { value, .. } if *value != self.asked)
    }
}

/// What the cache has of the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CachedValue {
    /// The value that a plain read would be served now; `None` if it would load.
    pub value: Option<String>,
    /// True if the entry is a lease: a load in progress may fill it.
    pub leased: bool,
    /// Why a read would load, by the library's own explanation; `None` for the naive cache and where a value is served.
    pub reason: Option<&'static str>,
}

/// How far the log and its consumer have come. Numbers are those of commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// The end of the log.
    pub committed: u64,
    /// What sessions see.
    pub visible: u64,
    /// What the replica has executed; `None` if no loader reads it.
    pub replica: Option<u64>,
    /// What was handed to the consumer.
    pub delivered: u64,
    /// What is no longer in the log.
    pub purged: u64,
    /// What the consumer has handled.
    pub handled: u64,
    /// How often everything was flushed since the start.
    pub flushes: u64,
    /// True if the invalidator waits until loaders can see a commit.
    pub at_gate: bool,
}

/// Whether the cached value is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A read would load.
    Empty,
    /// The cached value is the one that sessions see.
    Current,
    /// The cached value is older, and the event that removes it is on its way.
    Pending,
    /// The cached value is older, and every event was handled: it stays until it expires.
    Stale,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Current => "current",
            Self::Pending => "pending",
            Self::Stale => "stale",
        }
    }

    /// The verdict on what is cached, by what the database has and how far the consumer is.
    pub(crate) fn of(cached: &CachedValue, newest: &str, log: &LogState) -> Self {
        match &cached.value {
            None => Self::Empty,
            Some(value) if value == newest => Self::Current,
            Some(_) if log.handled < log.committed => Self::Pending,
            Some(_) => Self::Stale,
        }
    }
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub readers: Vec<ReaderState>,
    pub(crate) loads: Vec<Load>,
    /// The row after the newest commit.
    pub newest: String,
    /// The row as loaders see it.
    pub loaders_see: String,
    pub cached: CachedValue,
    pub log: LogState,
    pub verdict: Verdict,
}

impl Frame {
    /// Says what has changed since `before`, one sentence for each change.
    pub(crate) fn changes_since(&self, before: &Self) -> Vec<String> {
        let mut said = self.log_changes(before);
        for reader in self.readers.iter().filter(|reader| !before.readers.contains(reader)) {
            said.push(sentence_of(reader));
        }
        for (at, load) in self.loads.iter().enumerate() {
            if let (Some(fate), None) = (load.fate, before.loads.get(at).and_then(|load| load.fate)) {
                said.push(end_of(load, fate));
            }
        }
        said.extend(self.cache_change(before));
        said
    }

    fn log_changes(&self, before: &Self) -> Vec<String> {
        let (now, was, mut said) = (&self.log, &before.log, Vec::new());
        if now.committed != was.committed {
            let seen = if now.visible < now.committed { "and not visible to other sessions" } else { "and visible" };
            said.push(format!("Commit {} is in the log {seen}: \"{}\".", now.committed, self.newest));
        }
        if now.committed == was.committed && now.visible != was.visible {
            said.push(format!("Sessions see commit {}.", now.visible));
        }
        if let (Some(replica), true) = (now.replica, now.replica != was.replica) {
            said.push(format!("The replica has executed commit {replica}."));
        }
        if now.purged != was.purged {
            said.push(format!("The log up to commit {} is gone.", now.purged));
        }
        if now.at_gate && !was.at_gate {
            said.push(format!("The event of commit {} waits at the gate.", now.delivered));
        }
        if now.flushes != was.flushes {
            said.push("Everything was flushed: no entry of before is served.".into());
        }
        if now.handled != was.handled {
            said.push(format!("Handled up to commit {}.", now.handled));
        }
        said
    }

    /// Says what has changed in the cache since `before`, or that an event has found no value to remove.
    fn cache_change(&self, before: &Self) -> Option<String> {
        let (now, was) = (&self.cached, &before.cached);
        let said = match (&was.value, &now.value) {
            (was, Some(value)) if was.as_ref() != Some(value) => format!("In the cache: \"{value}\"."),
            (Some(_), None) => "The value is gone from the cache.".into(),
            (None, None) if now.leased && !was.leased => "In the cache: a lease, and no value.".into(),
            (None, None) if was.leased && !now.leased => "The lease is gone from the cache.".into(),
            (None, None) if self.log.handled > before.log.handled => "There was no value to remove.".into(),
            _ => return None,
        };
        Some(said)
    }
}

fn sentence_of(reader: &ReaderState) -> String {
    let name = reader.name;
    match &reader.progress {
        Progress::Held { read } => format!("Reader {name} has read \"{read}\" and has not stored it."),
        Progress::Waiting => format!("Reader {name} waits for a load in progress."),
        Progress::Got { value, from_cache } => {
            let from = if *from_cache { "from the cache" } else { "from the database" };
            let wrong = if reader.is_wrong() {
                format!(", though the row was \"{}\" when it asked", reader.asked)
            } else {
                String::new()
            };
            format!("Reader {name} got \"{value}\" {from}{wrong}.")
        }
        Progress::Failed(why) => format!("The read of reader {name} failed: {why}."),
    }
}

fn end_of(load: &Load, fate: Fate) -> String {
    let Load { reader, name, .. } = load;
    match (fate, load.behind) {
        (Fate::Stored, _) => format!("The cache stored \"{name}\", as reader {reader} loaded it."),
        (Fate::Refused, true) => {
            format!(
                "The cache refused \"{name}\", as reader {reader} loaded it: the replica lacks what was invalidated."
            )
        }
        (Fate::Refused, false) => {
            format!("The cache refused \"{name}\", as reader {reader} loaded it: its lease is gone.")
        }
        (Fate::Failed, _) => format!("The load of reader {reader} failed."),
    }
}
