//! Why an entry is stale.

use serde::Serialize;

use crate::inspect::ledger::{Cause, Standing};
use crate::mode::InvalidationMode;
use crate::position::Position;

/// Why an entry differs from its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StaleKind {
    /// In TTL mode: as designed, until the entry expires.
    Aging,
    /// The change that made it stale has not been invalidated yet.
    Late,
    /// The invalidator has applied the change, and the entry is still there: it stays until it expires or is removed.
    Lost,
    /// The entry contains every change that the cache's mapping names for its key: the value depends on a change that the
    /// mapping does not name.
    Mapping,
}

impl StaleKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Aging, Self::Late, Self::Lost, Self::Mapping];

    /// Returns the kind as one lower-case word, for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aging => "aging",
            Self::Late => "late",
            Self::Lost => "lost",
            Self::Mapping => "mapping",
        }
    }

    /// Returns true if no invalidation that is still to come removes the entry.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Lost | Self::Mapping)
    }
}

/// What is known of an entry that differs from its row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) mode: InvalidationMode,
    /// Every invalidation up to here was done when the entry was last seen.
    pub(super) applied: Option<&'a Position>,
    /// What the loader's server had executed before the entry's value was read.
    pub(super) loaded: Option<&'a Position>,
    /// A position that contains every commit that the row may contain; `None` if it is not known.
    pub(super) head: Option<&'a Position>,
    /// True if the row is known to contain everything that was `loaded`.
    pub(super) row_has_fill: bool,
}

/// Determines why an entry is stale, and the change that made it so, as far as it is known.
///
/// Only what is proven is `Lost` or `Mapping`; everything else is `Late`, until the invalidator has applied enough to tell.
///
/// * `Lost`: the newest change of the key is in the row, is applied, and is not in the entry; and so is every transaction in the row
///   that may have changed the key without naming it.
/// * `Mapping`: the entry contains all of these, and the row contains all that the entry does. So neither of the two is the older one,
///   and what makes them differ names no key.
pub(super) fn classify(facts: &Facts<'_>, standing: Standing) -> (StaleKind, Option<Cause>) {
    if facts.mode == InvalidationMode::Ttl {
        let cause = if let Standing::Changed(cause, _) = standing { Some(cause) } else { None };
        return (StaleKind::Aging, cause);
    }
    let Some(applied) = facts.applied else { return (StaleKind::Late, None) };
    let Some(head) = facts.head else { return (StaleKind::Late, None) };
    // An entry that was loaded from a server which is ahead of the row's differs because it is the newer one.
    let may_be_newer = facts.loaded.is_some() && !facts.row_has_fill;
    let other = if applied.covers(head) && !may_be_newer { StaleKind::Lost } else { StaleKind::Late };
    // What is not in the row is no reason why it differs.
    let in_row = |unknown: &Position| unknown.intersection(head);
    let shows_mapping =
        |unknown: &Position| facts.row_has_fill && facts.loaded.is_some_and(|loaded| loaded.covers(&in_row(unknown)));
    match standing {
        // It came after the row was read: the entry may be the newer one, and is compared again.
        Standing::Changed(cause, _) if !head.contains(&cause.gtid) => (StaleKind::Late, Some(cause)),
        // The fill contains the newest change that names the key: the row differs because of another one. It is one that no
        // mapping names only if the fill contains those too that name no key, such as the invalidations of tags.
        Standing::Changed(cause, unknown) if facts.loaded.is_some_and(|loaded| loaded.contains(&cause.gtid)) => {
            if shows_mapping(&unknown) {
                (StaleKind::Mapping, Some(cause))
            } else {
                (other, None)
            }
        }
        Standing::Changed(cause, _) if !applied.contains(&cause.gtid) => (StaleKind::Late, Some(cause)),
        // One that names no key may be the reason too.
        Standing::Changed(_, unknown) if !applied.covers(&in_row(&unknown)) => (StaleKind::Late, None),
        Standing::Changed(cause, _) => (StaleKind::Lost, Some(cause)),
        Standing::Unchanged(unknown) if shows_mapping(&unknown) => (StaleKind::Mapping, None),
        Standing::Unchanged(_) | Standing::Behind => (other, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::position::Gtid;

    fn position(text: &str) -> Position {
        text.parse().expect("a position")
    }

    /// Changed by the fifth transaction; before the log was followed, and possibly by these.
    fn changed_or(unknown: &str) -> Standing {
        let cause = Cause {
            gtid: Gtid { origin: "a".into(), number: 5 },
            table: "shop.row".into(),
            operation: "update",
            committed_at: Timestamp::UNKNOWN,
        };
        Standing::Changed(cause, position(unknown))
    }

    fn changed() -> Standing {
        changed_or("a:1-3")
    }

    /// The kind for what was applied, loaded, and the end of the log.
    fn kind(applied: &str, loaded: &str, head: &str, standing: Standing) -> StaleKind {
        let [applied, loaded, head] = [applied, loaded, head].map(position);
        let some = |position: &Position| (!position.is_empty()).then(|| position.clone());
        let row_has_fill = head.covers(&loaded);
        let (applied, loaded, head) = (some(&applied), some(&loaded), some(&head));
        let facts = Facts {
            mode: InvalidationMode::Cdc,
            applied: applied.as_ref(),
            loaded: loaded.as_ref(),
            head: head.as_ref(),
            row_has_fill,
        };
        classify(&facts, standing).0
    }

    #[test]
    fn a_change_is_late_until_it_is_applied_and_lost_afterwards() {
        assert_eq!(kind("a:1-4", "", "a:1-9", changed()), StaleKind::Late);
        assert_eq!(kind("a:1-5", "", "a:1-9", changed()), StaleKind::Lost);
        assert_eq!(kind("a:1-5", "a:1-4", "a:1-9", changed()), StaleKind::Lost);
        assert_eq!(kind("", "", "a:1-9", changed()), StaleKind::Late, "what was applied is not known");
    }

    #[test]
    fn a_stale_entry_that_contains_its_change_shows_a_wrong_mapping() {
        assert_eq!(kind("a:1-5", "a:1-5", "a:1-9", changed()), StaleKind::Mapping);
        let unchanged = || Standing::Unchanged(position("a:1-3"));
        assert_eq!(kind("a:1-5", "a:1-3", "a:1-9", unchanged()), StaleKind::Mapping);
        assert_eq!(kind("a:1-5", "a:1-2", "a:1-9", unchanged()), StaleKind::Late);
        assert_eq!(kind("a:1-9", "a:1-2", "a:1-9", unchanged()), StaleKind::Lost);
    }

    #[test]
    fn a_later_change_that_names_no_key_proves_no_wrong_mapping() {
        let tagged = || changed_or("a:1-7");
        assert_eq!(kind("a:1-6", "a:1-5", "a:1-9", tagged()), StaleKind::Late);
        assert_eq!(
            kind("a:1-9", "a:1-5", "a:1-9", tagged()),
            StaleKind::Lost,
            "it is applied, and the entry is still there"
        );
        assert_eq!(kind("a:1-6", "a:1-7", "a:1-9", tagged()), StaleKind::Mapping);
    }

    /// The own change is applied, and what else may have changed the key is not: the entry waits for that one.
    #[test]
    fn a_later_change_that_names_no_key_proves_no_loss() {
        for loaded in ["", "a:1-4"] {
            assert_eq!(kind("a:1-6", loaded, "a:1-9", changed_or("a:1-7")), StaleKind::Late);
            assert_eq!(kind("a:1-7", loaded, "a:1-9", changed_or("a:1-7")), StaleKind::Lost);
            assert_eq!(kind("a:1-6", loaded, "a:1-6", changed_or("a:1-7")), StaleKind::Lost, "the row lacks it");
        }
    }

    /// A replica may show a commit before the primary does, whose row is compared.
    #[test]
    fn an_entry_that_is_newer_than_the_row_shows_nothing() {
        for (loaded, head) in [("a:1-5", "a:1-4"), ("", "a:1-4"), ("a:1-6", "a:1-5")] {
            assert_eq!(kind("a:1-9", loaded, head, changed()), StaleKind::Late, "{loaded} {head}");
        }
        assert_eq!(kind("a:1-9", "a:1-6", "a:1-5", Standing::Unchanged(position("a:1-3"))), StaleKind::Late);
        assert_eq!(kind("a:1-9", "a:1-6", "a:1-5", Standing::Behind), StaleKind::Late);
    }

    #[test]
    fn without_the_log_everything_up_to_its_end_must_be_applied() {
        assert_eq!(kind("a:1-8", "", "a:1-9", Standing::Behind), StaleKind::Late);
        assert_eq!(kind("a:1-9", "", "a:1-9", Standing::Behind), StaleKind::Lost);
        assert_eq!(kind("a:1-9", "", "", Standing::Behind), StaleKind::Late, "the end is not known");
    }
}
