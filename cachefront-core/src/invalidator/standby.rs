//! Who of several invalidators works: the one that covers most, then the newest; the others wait until it leaves or
//! falls silent.

use crate::error::{Error, ErrorKind, Result};
use crate::invalidator::mapped::Relation;
use crate::invalidator::pump::{Ended, Pump};
use crate::source::Lead;
use crate::store::{Meta, StoreState, StoreWriter};

/// A holder without a sign of life for this many heartbeats counts as dead.
const SILENT_HEARTBEATS: u32 = 12;

/// A store without a readable meta for this many heartbeats is taken by the first invalidator that notices.
const LOST_HEARTBEATS: u32 = 4;

impl Pump {
    /// Waits while another invalidator works and is not to be disturbed. `None` once this one is to take the term.
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
                // Between two shards of a flush, or lost: the holder notices it before this one does.
                StoreState::Mixed | StoreState::Missing if self.worker.term > 0 && silent < LOST_HEARTBEATS => {
                    (None, None)
                }
                StoreState::Mixed | StoreState::Missing => return Ok(None),
            };
            silent = if sign_of_life == last { silent + 1 } else { 0 };
            last = sign_of_life;
            self.worker.stands_by(conflict);
            if !closed {
                tracing::info!(source = %self.source.describe(), "another invalidator works: this one stands by");
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

    /// A narrower invalidator never takes the term from a wider one that lives: it would vouch for less, and the caches
    /// that it does not know would no longer be kept ("Coverage"). It does not take the place of one that has just left
    /// either, for a wider one may be about to come back. And a holder that lives is not disturbed by one whose own gate
    /// does not show yet what is applied: it would only stop the invalidation.
    async fn takes_term(&mut self, meta: &Meta, lead: Lead) -> Result<bool> {
        let is_holder = self.worker.term > 0 && meta.term <= self.worker.term;
        let is_new = self.worker.term == 0 || lead == Lead::Elected;
        match self.worker.caches.relation(&meta.coverage) {
            _ if is_holder => Ok(true),
            Relation::Other => Ok(false),
            Relation::Less | Relation::Same if meta.vacant => Ok(true),
            Relation::Same if !is_new => Ok(false),
            // The definition of a table may have changed since this one looked: then it is not wider at all.
            Relation::Less if !self.is_still_wider(meta).await? => Ok(false),
            Relation::Less | Relation::Same => self.worker.gate_shows(meta).await,
        }
    }

    async fn is_still_wider(&mut self, meta: &Meta) -> Result<bool> {
        self.check_all_tables(None).await?;
        Ok(self.worker.caches.relation(&meta.coverage) == Relation::Less)
    }

    fn conflict_of_coverage(&self, meta: &Meta) -> Option<Error> {
        if self.worker.caches.relation(&meta.coverage) != Relation::Other {
            return None;
        }
        Some(Error::new(
            ErrorKind::Config,
            format!(
                "the invalidator that works in namespace `{}` covers {} under mappings that this one does not have: bind \
                 all caches of a service to every invalidator, and give every service a namespace of its own",
                self.worker.store.namespace(),
                self.worker.caches.unknown(&meta.coverage)
            ),
        ))
    }
}
