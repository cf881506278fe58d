//! The status of a connector and its tasks, as Kafka Connect reports it.

use serde::Deserialize;

/// Maximum number of lines of a stack trace.
const TRACE_LINES: usize = 12;

/// The reason given for a failure without a stack trace.
const NO_TRACE: &str = "Kafka Connect gives no reason";

/// The status of a connector, from `GET /connectors/{name}/status`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectorStatus {
    /// The connector itself. It stays `RUNNING` while its tasks fail.
    pub connector: PartStatus,
    /// Its tasks.
    #[serde(default)]
    pub tasks: Vec<PartStatus>,
}

/// The status of the connector itself, or of one of its tasks.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartStatus {
    /// The task's number; 0 for the connector itself.
    #[serde(default)]
    pub id: u32,
    /// `RUNNING`, `PAUSED`, `STOPPED`, `FAILED`, `UNASSIGNED` or `RESTARTING`.
    pub state: String,
    /// The worker that runs it.
    #[serde(default)]
    pub worker_id: String,
    /// The stack trace of a failure.
    #[serde(default)]
    pub trace: Option<String>,
}

impl PartStatus {
    /// Returns the first lines of the stack trace, at most 12.
    pub fn trace_lines(&self) -> Vec<String> {
        let trace = self.trace.as_deref().unwrap_or(NO_TRACE);
        trace.lines().map(str::trim_end).filter(|line| !line.is_empty()).take(TRACE_LINES).map(str::to_owned).collect()
    }

    /// Returns the innermost cause of a failure in one line: usually the one to fix.
    pub fn cause(&self) -> String {
        let lines = || self.trace.as_deref().unwrap_or_default().lines();
        let innermost = lines().filter_map(|line| line.strip_prefix("Caused by: ")).next_back();
        innermost.or_else(|| lines().next()).unwrap_or(NO_TRACE).to_owned()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.state == "FAILED"
    }
}

/// Returns true if a connector in this state was paused or stopped on purpose, and continues when it is resumed.
pub(super) fn is_paused(state: &str) -> bool {
    matches!(state, "PAUSED" | "STOPPED")
}

impl ConnectorStatus {
    /// Returns the connector or the first task that has failed.
    pub fn failed(&self) -> Option<&PartStatus> {
        [&self.connector].into_iter().chain(&self.tasks).find(|part| part.has_failed())
    }

    /// Returns true if the connector, at least one task, and all tasks run.
    pub fn is_running(&self) -> bool {
        let is_running = |part: &PartStatus| part.state == "RUNNING";
        is_running(&self.connector) && !self.tasks.is_empty() && self.tasks.iter().all(is_running)
    }

    /// Returns true if the connector was paused or stopped on purpose.
    pub fn is_paused(&self) -> bool {
        is_paused(&self.connector.state)
    }
}
