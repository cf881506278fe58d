//! The flush: everything cached is voided at once, by a new generation (rule 8).
//!
//! The order is fixed: the source's head is noted, the gate waits for it, then generation, `hi` and `applied` are
//! replaced in one value, then processes clear their own tiers, then the source goes on from the head. In any other
//! order a load that saw less than the head could be kept under a generation that promises the head.

use crate::bus::{BusEvent, BusMessage};
use crate::error::Result;
use crate::invalidator::pump::{Pump, Session};
use crate::metrics::CdcMetrics;
use crate::source::Head;
use crate::store::{Generation, Held, Meta, MetaState, StoreWriter};

impl Pump {
    /// Begins a new generation in which everything up to `head` is applied.
    pub(super) async fn flush_at(
        &mut self,
        writer: &mut dyn StoreWriter,
        head: Head,
        state: MetaState,
        reason: &'static str,
    ) -> Result<Session> {
        self.pass_gate(&head.checkpoint.position).await?;
        let preceding_term = self.term;
        self.term = self.term.max(writer.term().await?) + 1;
        self.next_order += 1;
        let order = self.next_order;
        let generation = Generation(self.entropy.random_u128());
        let mut meta = Meta::at_head(generation, self.term, order, 0, &head.origin, &head.checkpoint);
        meta.state = state;
        writer.flush(&meta).await?;
        writer
            .publish(&BusMessage {
                publisher: crate::bus::Publisher(1),
                event: BusEvent::Flush,
                applied: Some(head.checkpoint.position.clone()),
                source_time: meta.source_time,
                sent_at: self.clock.now(),
            })
            .await?;
        CdcMetrics::flushed(reason);
        self.status.send_modify(|status| status.flushes_total += 1);
        self.tell(&head, reason, preceding_term > 0);
        Ok(Session {
            held: Held { generation, term: self.term, applied_order: order },
            origin: head.origin,
            checkpoint: head.checkpoint,
        })
    }

    /// A first start and a switch of discipline are no news; a loss is.
    fn tell(&self, head: &Head, reason: &'static str, ran_before: bool) {
        let expected = reason == "discipline" || (reason == "no_meta" && !ran_before);
        let (source, position) = (self.source.describe(), &head.checkpoint.position);
        if expected {
            tracing::info!(reason, source = %source, position = %position, "a new generation begins at the source's head");
        } else {
            tracing::warn!(reason, source = %source, position = %position, "everything cached was voided: a new generation begins at the source's head");
        }
    }
}
