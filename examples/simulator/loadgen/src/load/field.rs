//! State that all requests of a run share, and the execution of one request.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::client::{Client, Origin, Row};
use super::judge::History;
use super::mix::Request;
use super::tally::{Outcome, Tally};

/// The client, the rows, their histories and the tally of one run.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) client: Client,
    pub(super) rows: Vec<Row>,
    pub(super) history: History,
    pub(super) probe_rows: Vec<Row>,
    pub(super) probe_history: History,
    /// When the run begins, including the warm-up.
    pub(super) begin: Instant,
    pub(super) warmup: Duration,
    tally: Mutex<Tally>,
}

/// The rows that a run works on.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) load: Vec<Row>,
    pub(super) probe: Vec<Row>,
}

impl Field {
    /// Creates the state of a run that begins in a few milliseconds, so that its first request can be sent on time.
    pub(super) fn new(client: Client, rows: &Rows, run: u32, warmup: Duration, tally: Tally) -> Self {
        let names = |rows: &[Row]| rows.iter().map(|row| row.name.clone()).collect();
        Self {
            client,
            history: History::new(run, names(&rows.load)),
            probe_history: History::new(run, names(&rows.probe)),
            rows: rows.load.clone(),
            probe_rows: rows.probe.clone(),
            begin: Instant::now() + Duration::from_millis(5),
            warmup,
            tally: Mutex::new(tally),
        }
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        // A task that panicked leaves valid counts behind.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time from the start of measurement to `moment`; zero before it.
    pub(super) fn measured(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.begin + self.warmup)
    }

    /// Returns true if a request that is due at `due` is measured.
    pub(super) fn is_measured(&self, due: Instant) -> bool {
        due >= self.begin + self.warmup
    }

    /// Sends a request that was due at `due`, waits for the response and counts it.
    pub(super) async fn perform(&self, request: Request, due: Instant) {
        let is_measured = self.is_measured(due);
        if is_measured {
            self.tally().sent += 1;
        }
        let sent = Instant::now();
        let (status, origin, judgement) = match request {
            Request::Read { row } => self.read(row, sent).await,
            Request::Write { row, version } => (self.write(row, version, sent).await, Origin::Unknown, None),
        };
        let answered = Instant::now();
        if is_measured {
            let (took, service) = (answered.saturating_duration_since(due), answered.duration_since(sent));
            let due = self.measured(due);
            self.tally().add(&Outcome { request, due, took, service, status, origin, judgement });
        }
    }

    async fn read(&self, row: usize, sent: Instant) -> (Option<u16>, Origin, Option<super::judge::Judgement>) {
        let Some(target) = self.rows.get(row) else { return (None, Origin::Unknown, None) };
        let Some(answer) = self.client.read(target.id).await else { return (None, Origin::Unknown, None) };
        let judgement = answer.name.map(|name| self.history.judge(row, sent, &name));
        (Some(answer.status), answer.origin, judgement)
    }

    async fn write(&self, row: usize, version: u64, sent: Instant) -> Option<u16> {
        let target = self.rows.get(row)?;
        let status = self.client.write(target, &self.history.value(version)).await;
        if status == Some(200) {
            self.history.answered(row, version, sent, Instant::now());
        }
        status
    }
}
