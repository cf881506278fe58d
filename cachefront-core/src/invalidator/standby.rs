//! Which of several invalidators is active: the one that covers most, then the newest; the others stand by until it leaves
//! or falls silent.
//!
//! | this invalidator, compared with the holder | takes the term |
//! |---|---|
//! | covers more | at once, if its gate shows what is applied |
//! | covers the same, and has just started or was elected | at once, if its gate shows what is applied |
//! | covers the same | when the holder has left (vacant) or falls silent |
//! | does not know a cache that the holder covers | when the holder falls silent |

use crate::error::{Error, ErrorKind, Result};
use crate::invalidator::mapped::Relation;
use crate::invalidator::pump::{Ended, Pump};
use crate::source::Lead;
use crate::store::{Meta, StoreState, StoreWriter};

/// A standby takes over after this many heartbeats without progress of the current holder: 1.5 s by default, so that it works
/// within two seconds of a holder's death. A living holder writes with every heartbeat, whatever it waits for.
const SILENT_HEARTBEATS: u32 = 6;

/// Number of heartbeats that a former holder waits before it flushes a store without a readable meta.
const LOST_HEARTBEATS: u32 = 4;

impl Pump {
    /// Stands by while another invalidator is active. Returns `None` when this one should take the term.
    pub(super) async fn stand_by(&mut self, writer: &mut dyn StoreWriter, lead: Lead) -> Result<Option<Ended>> {
        let began_as = *self.worker.desired_states.borrow_and_update();
        let (mut silent, mut last, mut closed) = (0, None, false);
        loop {
            let (sign_of_life, conflict) = match writer.state().await? {
                StoreState::Live(meta) | StoreState::Suspended(meta) => {
                    if silent >= SILENT_HEARTBEATS || self.takes_term(&meta, lead).await? {
                        return Ok(None);
                    }
                    (Some((meta.term, meta.beat)), self.conflict_of_coverage(&meta))
                }
                // Between two shards of a flush, or lost: the holder notices it earlier.
                StoreState::Mixed | StoreState::Missing if self.worker.term > 0 && silent < LOST_HEARTBEATS => {
                    (None, None)
                }
                StoreState::Mixed | StoreState::Missing => return Ok(None),
            };
            silent = if sign_of_life == last { silent + 1 } else { 0 };
            last = sign_of_life;
            self.worker.stands_by(conflict);
            if !closed {
                let (source, namespace) = (self.source.describe(), self.worker.store.namespace());
                tracing::info!(%source, namespace, "another invalidator is active: this one stands by");
                self.source.close().await;
                closed = true;
            }
            let wait = self.worker.clock.sleep(self.worker.settings.heartbeat);
            tokio::select! {
                biased;
                changed = self.worker.desired_states.changed() => {
                    let desired = *self.worker.desired_states.borrow_and_update();
                    if changed.is_err() || desired.shutdown {
                        return Ok(Some(Ended::Shutdown));
                    }
                    if desired != began_as {
                        return Ok(Some(Ended::Again));
                    }
                }
                () = wait => {}
            }
        }
    }

    /// Returns true if this invalidator should take the term from the holder.
    ///
    /// A narrower invalidator never takes the term from a wider one that is alive: the caches that it does not know would no
    /// longer be covered ("Coverage"). It does not replace one that has just left either, because a wider one may be about
    /// to start. And a live holder is not replaced by an invalidator whose gate does not show yet what is applied: that would
    /// only interrupt the invalidation.
    async fn takes_term(&mut self, meta: &Meta, lead: Lead) -> Result<bool> {
        let is_holder = self.worker.term > 0 && meta.term <= self.worker.term;
        let is_new = self.worker.term == 0 || lead == Lead::Elected;
        match self.worker.caches.relation(&meta.coverage) {
            _ if is_holder => Ok(true),
            Relation::Other => Ok(false),
            Relation::Less | Relation::Same if meta.vacant => Ok(true),
            Relation::Same if !is_new => Ok(false),
            // The definition of a table may have changed since it was checked: then this one is not wider.
            Relation::Less if !self.is_still_wider(meta).await? => Ok(false),
            Relation::Less | Relation::Same => self.worker.gate_shows(meta).await,
        }
    }

    /// Checks the tables again, and returns true if this invalidator still covers more than the holder.
    async fn is_still_wider(&mut self, meta: &Meta) -> Result<bool> {
        self.check_all_tables(None).await?;
        Ok(self.worker.caches.relation(&meta.coverage) == Relation::Less)
    }

    /// Returns the error that explains why this invalidator cannot take over: the holder covers caches that are not bound here.
    fn conflict_of_coverage(&self, meta: &Meta) -> Option<Error> {
        if self.worker.caches.relation(&meta.coverage) != Relation::Other {
            return None;
        }
        Some(Error::new(
            ErrorKind::Config,
            format!(
                "the active invalidator of namespace `{}` covers {} under mappings that this one does not have: bind all \
                 caches of a service to every invalidator, and give every service a namespace of its own",
                self.worker.store.namespace(),
                self.worker.caches.unknown(&meta.coverage)
            ),
        ))
    }
}
