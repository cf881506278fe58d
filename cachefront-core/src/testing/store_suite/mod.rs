//! The laws that every [`Store`] must keep, each as a separate test.
//!
//! An adapter provides a [`StoreFixture`], and [`store_suite!`](crate::store_suite) makes one named test for each law:
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//! use cachefront::store::Store;
//! use cachefront::testing::{ManualClock, StoreFixture};
//! use cachefront::MemoryStore;
//!
//! struct InMemory { store: MemoryStore, clock: ManualClock }
//!
//! #[cachefront::async_trait]
//! impl StoreFixture for InMemory {
//!     fn store(&self) -> Arc<dyn Store> { Arc::new(self.store.clone()) }
//!     async fn pass(&self, duration: Duration) { self.clock.advance(duration) }
//!     async fn lose_metas(&self) { self.store.forget_meta() }
//! }
//!
//! async fn in_memory() -> InMemory {
//!     let clock = ManualClock::new();
//!     InMemory { store: MemoryStore::new("suite").with_clock(Arc::new(clock.clone())), clock }
//! }
//!
//! cachefront::store_suite!(in_memory());
//! ```

mod bus;
mod coverage;
mod entries;
mod harness;
mod instant;
mod invalidation;
mod lease;
mod metas;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::store::Store;

/// A store for one test, and the operations of the test on it.
#[async_trait]
pub trait StoreFixture: Send + Sync {
    /// Returns the store: empty, with a namespace that no other test uses.
    fn store(&self) -> Arc<dyn Store>;

    /// Advances the store's clock.
    async fn pass(&self, duration: Duration);

    /// Removes the meta of every shard and keeps the entries, as an eviction could.
    async fn lose_metas(&self);
}

type Run = for<'a> fn(&'a dyn StoreFixture) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One law of the suite.
#[derive(Clone, Copy)]
pub struct Law {
    name: &'static str,
    run: Run,
}

impl Law {
    /// Returns the law, as words joined by `_`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Checks the law.
    ///
    /// # Panics
    /// If the store breaks it.
    pub async fn check(&self, fixture: &dyn StoreFixture) {
        (self.run)(fixture).await;
    }
}

impl fmt::Debug for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Law").field(&self.name).finish()
    }
}

macro_rules! laws {
    ($($module:ident: $($law:ident),* $(,)?;)*) => {
        /// Every law, for a test harness that does not use the macro.
        pub const LAWS: &[Law] = &[$($(
            Law { name: stringify!($law), run: |fixture| Box::pin($module::$law(fixture)) },
        )*)*];
    };
}

laws! {
    lease:
        a_lease_belongs_to_one_attempt,
        a_lease_that_runs_out_refuses_its_fill,
        a_fill_consumes_its_lease,
        a_fill_without_a_lease_is_refused,
        many_readers_get_one_lease,
        a_released_lease_is_free_for_others,
        a_release_with_another_token_has_no_effect,
        a_reload_keeps_the_entry_readable,
        a_reader_that_waits_for_a_lease_is_woken_when_it_ends,
        a_lease_of_an_older_generation_does_not_block,
        a_fill_after_a_flush_is_refused,
        without_a_meta_no_lease_is_granted_and_no_fill_accepted,
        a_suspended_meta_grants_no_lease_and_accepts_no_fill,
        the_fence_is_read_at_the_grant;
    entries:
        what_was_filled_is_read,
        a_peek_sees_what_a_read_sees,
        an_entry_that_is_good_is_present,
        an_entry_of_the_other_mode_is_a_miss,
        an_entry_of_another_schema_version_is_a_miss,
        an_entry_past_its_hard_expiry_is_a_miss,
        the_ttl_mode_needs_no_meta,
        an_entry_is_forgotten_after_its_expiry,
        many_keys_are_returned_in_request_order,
        a_dropped_read_does_not_delay_others;
    invalidation:
        an_invalidation_breaks_the_lease,
        an_entry_without_proof_does_not_survive,
        an_entry_that_had_seen_every_commit_survives_without_its_lease,
        an_invalidation_removes_every_entry,
        a_row_image_replaces_only_what_is_known_to_be_older,
        a_discard_removes_and_may_be_repeated,
        thousands_of_keys_are_removed_at_once;
    instant:
        meta_and_entry_are_of_one_instant;
    metas:
        a_new_store_has_no_meta,
        a_flush_is_read_by_every_reader,
        a_flush_is_fenced_by_its_term,
        a_flush_replaces_the_high_watermark,
        the_high_watermark_is_never_lowered,
        a_commit_moves_what_is_applied,
        a_commit_compares_before_it_moves,
        a_suspended_meta_is_moved_and_stays_suspended,
        a_term_is_taken_by_one,
        lost_metas_are_missed_by_every_writer;
    coverage:
        a_cache_that_is_not_covered_gets_no_lease_and_no_fill,
        a_lease_is_of_its_caches_generation,
        a_fill_is_refused_after_its_cache_was_flushed,
        a_fill_is_accepted_after_another_cache_was_flushed,
        an_entry_of_a_flushed_cache_does_not_survive,
        caches_that_are_flushed_by_a_reader_end_alone,
        a_cache_is_discarded_by_its_name,
        covering_changes_the_coverage_only,
        covering_and_resigning_compare_first,
        a_term_keeps_what_is_covered,
        a_resignation_is_visible_until_the_term_is_taken,
        every_write_moves_the_beat,
        a_long_position_is_kept;
    bus:
        messages_come_in_order_and_without_a_gap,
        a_reader_begins_at_the_head,
        every_reader_gets_every_message,
        a_dropped_read_loses_no_message;
}

/// Returns the law of this name.
///
/// # Panics
/// If there is no such law.
pub fn law(name: &str) -> Law {
    *LAWS.iter().find(|law| law.name == name).unwrap_or_else(|| panic!("the store suite has no law `{name}`"))
}

/// Makes one test for each law of the store suite. The argument is a future of a
/// [`StoreFixture`](crate::testing::StoreFixture), created for every test. Requires tokio with `macros` and
/// `rt-multi-thread`.
#[macro_export]
macro_rules! store_suite {
    ($fixture:expr) => {
        $crate::store_suite! { @tests $fixture;
            a_lease_belongs_to_one_attempt
            a_lease_that_runs_out_refuses_its_fill
            a_fill_consumes_its_lease
            a_fill_without_a_lease_is_refused
            many_readers_get_one_lease
            a_released_lease_is_free_for_others
            a_release_with_another_token_has_no_effect
            a_reload_keeps_the_entry_readable
            a_reader_that_waits_for_a_lease_is_woken_when_it_ends
            a_lease_of_an_older_generation_does_not_block
            a_fill_after_a_flush_is_refused
            without_a_meta_no_lease_is_granted_and_no_fill_accepted
            a_suspended_meta_grants_no_lease_and_accepts_no_fill
            the_fence_is_read_at_the_grant
            what_was_filled_is_read
            a_peek_sees_what_a_read_sees
            an_entry_that_is_good_is_present
            an_entry_of_the_other_mode_is_a_miss
            an_entry_of_another_schema_version_is_a_miss
            an_entry_past_its_hard_expiry_is_a_miss
            the_ttl_mode_needs_no_meta
            an_entry_is_forgotten_after_its_expiry
            many_keys_are_returned_in_request_order
            a_dropped_read_does_not_delay_others
            an_invalidation_breaks_the_lease
            an_entry_without_proof_does_not_survive
            an_entry_that_had_seen_every_commit_survives_without_its_lease
            an_invalidation_removes_every_entry
            a_row_image_replaces_only_what_is_known_to_be_older
            a_discard_removes_and_may_be_repeated
            thousands_of_keys_are_removed_at_once
            meta_and_entry_are_of_one_instant
            a_new_store_has_no_meta
            a_flush_is_read_by_every_reader
            a_flush_is_fenced_by_its_term
            a_flush_replaces_the_high_watermark
            the_high_watermark_is_never_lowered
            a_commit_moves_what_is_applied
            a_commit_compares_before_it_moves
            a_suspended_meta_is_moved_and_stays_suspended
            a_term_is_taken_by_one
            lost_metas_are_missed_by_every_writer
            a_cache_that_is_not_covered_gets_no_lease_and_no_fill
            a_lease_is_of_its_caches_generation
            a_fill_is_refused_after_its_cache_was_flushed
            a_fill_is_accepted_after_another_cache_was_flushed
            an_entry_of_a_flushed_cache_does_not_survive
            caches_that_are_flushed_by_a_reader_end_alone
            a_cache_is_discarded_by_its_name
            covering_changes_the_coverage_only
            covering_and_resigning_compare_first
            a_term_keeps_what_is_covered
            a_resignation_is_visible_until_the_term_is_taken
            every_write_moves_the_beat
            a_long_position_is_kept
            messages_come_in_order_and_without_a_gap
            a_reader_begins_at_the_head
            every_reader_gets_every_message
            a_dropped_read_loses_no_message
        }

        #[test]
        fn every_law_of_the_suite_is_a_test() {
            assert_eq!($crate::store_suite!(@count), $crate::testing::LAWS.len());
        }
    };
    (@count) => { 59_usize };
    (@tests $fixture:expr; $($law:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                let fixture = $fixture.await;
                $crate::testing::law(stringify!($law)).check(&fixture).await;
            }
        )*
    };
}
