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
use crate::store::{Expected, Meta, StoreState, StoreWriter};

/// A standby takes over after this many heartbeats without progress of the current holder: 1.5 s by default, so that it works
/// within two seconds of a holder's death. A living holder writes with every heartbeat, whatever it waits for.
pub(super) const SILENT_HEARTBEATS: u32 = 6;

/// Number of heartbeats that an invalidator waits before it flushes a store without a readable meta that a holder may be writing.
const LOST_HEARTBEATS: u32 = 4;

/// A holder, as the store shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    term: u64,
    beat: u32,
    vacant: bool,
}

impl Holder {
    fn of(meta: &Meta) -> Self {
        Self { term: meta.term, beat: meta.beat, vacant: meta.vacant }
    }
}

impl Pump {
    /// Stands by while another invalidator is active. Returns the holder that this one should take the term from, if there is one;
    /// or how the session ends.
    pub(super) async fn stand_by(
        &mut self,
        writer: &mut dyn StoreWriter,
        lead: Lead,
    ) -> Result<std::result::Result<Option<Holder>, Ended>> {
        let began_as = *self.worker.desired_states.borrow_and_update();
        let (mut silent, mut last, mut closed) = (0, None, false);
        let mut had_holder = self.worker.term > 0;
        loop {
            let state = writer.state().await?;
            let sign_of_life = sign_of_life(&state);
            silent = if last == Some(sign_of_life) { silent + 1 } else { 0 };
            last = Some(sign_of_life);
            let waits = is_waited_for(&state, had_holder, silent);
            let conflict = match state {
                StoreState::Live(meta) | StoreState::Suspended(meta) => {
                    if silent >= SILENT_HEARTBEATS || self.takes_term(&meta, lead).await? {
                        return Ok(Ok(Some(Holder::of(&meta))));
                    }
                    had_holder = true;
                    self.conflict_of_coverage(&meta)
                }
                StoreState::Mixed | StoreState::Missing if waits => None,
                StoreState::Mixed | StoreState::Missing => return Ok(Ok(None)),
            };
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
                        return Ok(Err(Ended::Shutdown));
                    }
                    if desired != began_as {
                        return Ok(Err(Ended::Again));
                    }
                }
                () = wait => {}
            }
        }
    }

    /// Returns false if the holder is another one than the one that the decision was made on, or was alive after all, and keeps
    /// the term: what lies between may take long.
    pub(super) async fn still_takes_term(
        &mut self,
        writer: &mut dyn StoreWriter,
        decided: Option<Holder>,
        lead: Lead,
    ) -> Result<bool> {
        match writer.state().await? {
            StoreState::Live(meta) | StoreState::Suspended(meta) if decided != Some(Holder::of(&meta)) => {
                self.takes_term(&meta, lead).await
            }
            StoreState::Live(_) | StoreState::Suspended(_) => Ok(true),
            StoreState::Mixed | StoreState::Missing => Ok(decided.is_none()),
        }
    }

    /// Returns true if this invalidator should take the term from the holder.
    ///
    /// A narrower invalidator never takes the term from a wider one that is alive: the caches that it does not know would no
    /// longer be covered ("Coverage"). It does not replace one that has just left either, because a wider one may be about
    /// to start. And a live holder is not replaced by an invalidator whose gate does not show yet what is applied: that would
    /// only interrupt the invalidation.
    async fn takes_term(&mut self, meta: &Meta, lead: Lead) -> Result<bool> {
        let is_holder = self.worker.taken.is_some_and(|taken| is_own(taken, meta));
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

/// Returns what every write of a holder changes; `None` without a readable meta.
fn sign_of_life(state: &StoreState) -> Option<(u64, u32)> {
    match state {
        StoreState::Live(meta) | StoreState::Suspended(meta) => Some((meta.term, meta.beat)),
        StoreState::Mixed | StoreState::Missing => None,
    }
}

/// Returns true if a store without a readable meta is given time: it may be between two shards of a flush, and if it was lost, the
/// holder notices it earlier. A store in which this invalidator has never seen a holder has none to wait for.
fn is_waited_for(state: &StoreState, had_holder: bool, silent: u32) -> bool {
    let written = match state {
        StoreState::Mixed => true,
        StoreState::Missing => had_holder,
        StoreState::Live(_) | StoreState::Suspended(_) => false,
    };
    written && silent < LOST_HEARTBEATS
}

/// Returns true if the term of the store is the one that this invalidator has taken, or older: the store has fallen back to an older
/// state. Two that took a term of one number, on two servers, differ in what they wrote.
fn is_own(taken: Expected, meta: &Meta) -> bool {
    meta.term < taken.term || (meta.term == taken.term && meta.generation == taken.generation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Checkpoint;
    use crate::store::Generation;

    #[test]
    fn a_term_of_the_same_number_may_be_anothers() {
        let taken = Expected { generation: Generation(7), term: 3, applied_order: 1 };
        for (generation, term, own) in [(7, 3, true), (8, 3, false), (8, 2, true), (7, 4, false)] {
            let meta = Meta::at_head(Generation(generation), term, 1, 1, "server", &Checkpoint::default());
            assert_eq!(is_own(taken, &meta), own, "generation {generation}, term {term}");
        }
    }

    #[test]
    fn a_store_that_a_holder_may_be_writing_is_given_time() {
        for (state, had_holder, waits) in [
            (StoreState::Mixed, false, true),
            (StoreState::Mixed, true, true),
            (StoreState::Missing, false, false),
            (StoreState::Missing, true, true),
        ] {
            assert_eq!(is_waited_for(&state, had_holder, 0), waits, "{state:?} {had_holder}");
            assert!(!is_waited_for(&state, had_holder, LOST_HEARTBEATS), "{state:?}: no process writes it");
        }
    }
}
