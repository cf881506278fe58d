//! The invalidator's task: one session after another, each over one connection to the store.
//!
//! Any error ends the session. The next one reads the store's state and resumes from the position found *there*, so that
//! invalidations that the store has lost are repeated ("Batch order", "Store failover").

use tokio::sync::watch;

use crate::bus::Publisher;
use crate::error::{Error, ErrorKind, Result};
use crate::invalidator::control::DesiredState;
use crate::invalidator::retries::Retries;
use crate::invalidator::status::CdcState;
use crate::invalidator::worker::{Session, Worker};
use crate::metrics::CdcMetrics;
use crate::position::Position;
use crate::source::{ChangeSource, Lead, TableFilter};
use crate::store::{InvalidationMode, MetaState};

/// The task behind a [`CdcHandle`](crate::CdcHandle).
pub(crate) struct Pump {
    /// The log. It is opened again by every session.
    pub(crate) source: Box<dyn ChangeSource>,
    /// Everything else.
    pub(crate) worker: Worker,
}

/// Why a session ended without a failure.
#[derive(Debug)]
pub(super) enum Ended {
    /// A shutdown was requested.
    Shutdown,
    /// The mode was changed.
    Again,
    /// Changes were lost, and every cache was flushed.
    Flushed,
}

impl Pump {
    /// Runs sessions until a shutdown, or until the first session finds a configuration error. Pauses between failures.
    pub(crate) async fn run(mut self) {
        let mut retries = Retries::new(&self.worker.settings);
        loop {
            let desired_states = self.worker.desired_states.clone();
            match self.session(&mut retries).await {
                Ok(Ended::Shutdown) => break,
                Ok(Ended::Again) => continue,
                // A pause, so that a source that loses changes repeatedly is not opened in a hot loop.
                Ok(Ended::Flushed) => {}
                Err(error) => {
                    if self.is_permanent(&error) {
                        return;
                    }
                    if retries.failed(self.worker.clock.now()) {
                        self.source.resign().await;
                    }
                }
            }
            let (clock, entropy) = (&self.worker.clock, &self.worker.entropy);
            if shutdown_during(desired_states, retries.backoff.pause(&**clock, &**entropy)).await {
                break;
            }
        }
        self.source.close().await;
        tracing::info!(source = %self.source.describe(), "the invalidator has stopped");
        self.worker.status.send_modify(|status| status.state = CdcState::Stopped);
    }

    /// Records a failure. Returns true if it is permanent: a configuration error of the first session.
    fn is_permanent(&mut self, error: &Error) -> bool {
        let first = self.worker.status.borrow().state == CdcState::Starting;
        let fatal = first && error.kind() == ErrorKind::Config;
        CdcMetrics::failed(error.kind().as_str());
        if std::mem::take(&mut self.worker.in_batch) {
            self.worker.metrics.batches_repeated.increment(1);
        }
        let source = self.source.describe();
        if fatal {
            tracing::error!(%source, error = %error.chain(), "the invalidator cannot start: its caches are not kept correct");
        } else if error.kind() == ErrorKind::Conflict {
            let namespace = self.worker.store.namespace();
            tracing::info!(%source, namespace, reason = %error.chain(), "another invalidator took the term, or the store failed over: this one reads the store's state again");
        } else {
            tracing::warn!(%source, error = %error.chain(), "the invalidator failed and will retry");
        }
        self.worker.status.send_modify(|status| {
            status.state = if fatal { CdcState::Failed } else { CdcState::Retrying };
            status.last_error = Some(error.clone());
        });
        fatal
    }

    /// Runs one session: checks, election, standby, begin, and the main loop.
    async fn session(&mut self, retries: &mut Retries) -> Result<Ended> {
        let just_checked = self.check_set_up().await?;
        let asked_at = self.worker.clock.now();
        let Some(lead) = self.wait_for_lead().await? else { return Ok(Ended::Shutdown) };
        if self.worker.clock.now().since(asked_at) >= self.worker.settings.heartbeat {
            // Another instance led meanwhile: failures from before are not in a row with those of this term.
            retries.progressed();
        }
        let mut writer = self.worker.store.writer().await?;
        let decided = match self.stand_by(&mut *writer, lead).await? {
            Ok(holder) => holder,
            Err(ended) => return Ok(ended),
        };
        let desired = *self.worker.desired_states.borrow_and_update();
        if desired.shutdown {
            return Ok(Ended::Shutdown);
        }
        // A table may have changed while another invalidator was active, and the source may be another server.
        if !just_checked || self.worker.status.borrow().state != CdcState::Starting {
            self.check_all_tables(None).await?;
        }
        let head = self.worker.probe.head().await?;
        if !self.still_takes_term(&mut *writer, decided, lead).await? {
            return Ok(Ended::Again);
        }
        let publisher = Publisher(self.worker.entropy.random_u128().max(1));
        let mut session = Session::new(writer, publisher, self.worker.term, &head.origin);
        match self.work(&mut session, &head.checkpoint.position, desired, retries).await {
            // It waited for the gate when the shutdown was requested.
            Err(error) if error.kind() == ErrorKind::Closed && self.worker.desired_states.borrow().shutdown => {
                if session.holds()
                    && let Err(error) = self.worker.resign(&mut session, desired).await
                {
                    tracing::debug!(error = %error.chain(), "the term cannot be left: a standby waits until it falls silent");
                }
                Ok(Ended::Shutdown)
            }
            ended => ended,
        }
    }

    /// Takes the term, and works until an error, a shutdown or a change of the mode. `known` is the source's end before.
    async fn work(
        &mut self,
        session: &mut Session,
        known: &Position,
        desired: DesiredState,
        retries: &mut Retries,
    ) -> Result<Ended> {
        self.begin(session, desired.mode).await?;
        if let Err(error) = self.open(session).await {
            if error.kind() != ErrorKind::Gap {
                return Err(error);
            }
            self.flush_after(&error, session, desired).await?;
            self.open(session).await?;
        }
        if let Some(error) = self.worker.lost_history(session, known).await? {
            self.flush_after(&error, session, desired).await?;
            self.open(session).await?;
        }
        self.worker.announce(session, desired).await?;
        let source = self.source.describe();
        tracing::info!(%source, position = %session.checkpoint.position, mode = ?desired.mode, "the invalidator is active");
        match self.run_loop(session, desired, retries).await {
            Err(error) if error.kind() == ErrorKind::Gap => {
                self.flush_after(&error, session, desired).await.map(|()| Ended::Flushed)
            }
            ended => ended,
        }
    }

    /// Opens the log after the session's checkpoint, on the server that the session's head came from ("Every connection names
    /// its server"). That may take long, as a server searches its log for the position: meanwhile this shows that the holder
    /// lives.
    async fn open(&mut self, session: &mut Session) -> Result<()> {
        let Self { source, worker } = self;
        let (checkpoint, filter) = (session.checkpoint.clone(), worker.caches.table_filter());
        worker.alive(session, source.open(&checkpoint, &filter)).await??;
        match source.origin() {
            Some(read) if *read != *session.origin => Err(Error::new(
                ErrorKind::Gap,
                format!("the log is read from server {read}, but its end was read from {}", session.origin),
            )),
            _ => Ok(()),
        }
    }

    /// Flushes every cache, because changes were lost.
    async fn flush_after(&mut self, error: &Error, session: &mut Session, desired: DesiredState) -> Result<()> {
        let source = self.source.describe();
        tracing::error!(%source, error = %error.chain(), "changes were lost: every cache is flushed");
        self.worker.status.send_modify(|status| status.last_error = Some(error.clone()));
        let state = match desired.mode {
            InvalidationMode::Cdc => MetaState::Live,
            InvalidationMode::Ttl => MetaState::Suspended,
        };
        self.flush(session, state, "gap").await
    }

    /// Checks before the first session that the server meets the source's requirements. Returns true if it was checked now.
    async fn check_set_up(&mut self) -> Result<bool> {
        if self.worker.checked {
            return Ok(false);
        }
        let filter = self.worker.caches.table_filter();
        let warnings = self.source.preflight(&filter).await?;
        self.worker.note_warnings(warnings, true);
        self.worker.checked = true;
        Ok(true)
    }

    /// Checks every table again: all together, and one by one only if a check fails.
    pub(super) async fn check_all_tables(&mut self, mut session: Option<&mut Session>) -> Result<()> {
        let filter = self.worker.caches.table_filter();
        match self.preflight_alive(&filter, session.as_deref_mut()).await? {
            Ok(warnings) => {
                self.worker.note_warnings(warnings, true);
                (0..self.worker.caches.len()).try_for_each(|index| self.worker.note_fit(index, Ok(())))
            }
            Err(error) if error.kind() == ErrorKind::Config => {
                let all: Vec<usize> = (0..self.worker.caches.len()).collect();
                self.check_tables(&all, session).await
            }
            Err(error) => Err(error),
        }
    }

    /// Checks whether the source can still deliver the changes of these caches exactly; if not, a cache is not covered. The
    /// holder's heartbeats continue meanwhile.
    pub(super) async fn check_tables(&mut self, caches: &[usize], mut session: Option<&mut Session>) -> Result<()> {
        for &index in caches {
            let Some(cache) = self.worker.caches.get_mut(index) else { continue };
            let filter = cache.map.table_filter();
            let outcome = self.preflight_alive(&filter, session.as_deref_mut()).await?;
            let outcome = outcome.map(|warnings| self.worker.note_warnings(warnings, false));
            self.worker.note_fit(index, outcome)?;
        }
        Ok(())
    }

    /// Checks tables, and shows meanwhile that the holder is alive. Returns what the source says of them.
    ///
    /// # Errors
    /// If the store fails, or another invalidator has the term.
    async fn preflight_alive(
        &mut self,
        filter: &TableFilter,
        session: Option<&mut Session>,
    ) -> Result<Result<Vec<String>>> {
        let Self { source, worker } = self;
        let check = source.preflight(filter);
        match session {
            Some(session) => worker.alive(session, check).await,
            None => Ok(check.await),
        }
    }

    /// Waits until the source elects this instance. Returns `None` if shutdown is requested first.
    async fn wait_for_lead(&mut self) -> Result<Option<Lead>> {
        let desired_states = self.worker.desired_states.clone();
        let mut ended = std::pin::pin!(shutdown_during(desired_states, std::future::pending()));
        let mut patience = self.worker.clock.sleep(self.worker.settings.heartbeat);
        let mut lead = self.source.lead();
        loop {
            tokio::select! {
                biased;
                _ = &mut ended => return Ok(None),
                lead = &mut lead => return lead.map(Some),
                () = &mut patience => {
                    patience = Box::pin(std::future::pending());
                    self.worker.stands_by(None);
                }
            }
        }
    }
}

/// Waits for `pause`. Returns true, early, if shutdown is requested.
pub(super) async fn shutdown_during(
    mut desired_states: watch::Receiver<DesiredState>,
    pause: impl Future<Output = ()>,
) -> bool {
    tokio::select! {
        biased;
        gone = async { desired_states.wait_for(|desired| desired.shutdown).await.is_err() } => { let _ = gone; true }
        () = pause => false,
    }
}
