//! Who of several invalidators works: the one that covers most, then the newest; the others wait until it leaves or
//! falls silent.

use crate::error::{Error, ErrorKind, Result};
use crate::invalidator::mapped::Relation;
use crate::invalidator::pump::{Ended, Pump};
use crate::source::Lead;
use crate::store::{Meta, StoreState, StoreWriter};

/// A holder without a sign of life for this many heartbeats counts as dead.
const SILENT_HEARTBEATS: u32 = 12;

impl Pump {
    /// Waits while another invalidator works and is not to be disturbed. `None` once this one is to take the term.
    pub(super) async fn stand_by(&mut self, writer: &mut dyn StoreWriter, lead: Lead) -> Result<Option<Ended>> {
        let began_as = *self.worker.wishes.borrow_and_update();
        let (mut silent, mut last, mut closed) = (0, None, false);
        loop {
            let (StoreState::Live(meta) | StoreState::Suspended(meta)) = writer.state().await? else {
                return Ok(None);
            };
            if self.takes_term(&meta, lead) || silent >= SILENT_HEARTBEATS {
                return Ok(None);
            }
            let sign_of_life = Some((meta.term, meta.beat));
            silent = if sign_of_life == last { silent + 1 } else { 0 };
            last = sign_of_life;
            self.worker.stands_by(self.conflict_of_coverage(&meta));
            if !closed {
                tracing::info!(source = %self.source.describe(), "another invalidator works: this one stands by");
                self.source.close().await;
                closed = true;
            }
            let wait = self.worker.clock.sleep(self.worker.settings.heartbeat);
            tokio::select! {
                biased;
                changed = self.worker.wishes.changed() => {
                    let wish = *self.worker.wishes.borrow_and_update();
                    if changed.is_err() || wish.shutdown {
                        return Ok(Some(Ended::Shutdown));
                    }
                    if wish != began_as {
                        return Ok(Some(Ended::Again));
                    }
                }
                () = wait => {}
            }
        }
    }

    /// A narrower invalidator never takes the term from a wider one that lives: it would vouch for less, and the caches
    /// that it does not know would no longer be kept (rule 21).
    fn takes_term(&self, meta: &Meta, lead: Lead) -> bool {
        let worker = &self.worker;
        let is_holder = worker.term > 0 && meta.term <= worker.term;
        let is_new = worker.term == 0 || lead == Lead::Elected;
        match worker.caches.relation(&meta.coverage) {
            _ if meta.vacant || is_holder => true,
            Relation::Less => true,
            Relation::Same => is_new,
            Relation::Other => false,
        }
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
