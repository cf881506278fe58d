//! Prepared XA transactions. The log has their rows at XA PREPARE; readers see them after XA COMMIT.
//!
//! Between the two phases the rows are locked and not visible. They are delivered when they are
//! read, so that the fills of loads in progress are refused, and once more at the commit, when
//! readers can see them. Manual: <https://dev.mysql.com/doc/refman/8.4/en/xa.html>.

use std::collections::HashMap;

use cachefront_core::event::Change;

/// Maximum number of row changes of prepared transactions that are kept. The commit of a transaction that does not fit counts
/// as a change of any row.
const CHANGES_MAX: usize = 10_000;

/// The changes of transactions that are prepared and neither committed nor rolled back, and whether readers get their row images
/// with the commit.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    by_xid: HashMap<Vec<u8>, (Vec<Change>, bool)>,
    changes: usize,
}

impl Prepared {
    /// Keeps the changes of a transaction. `None` means that there were too many.
    pub(crate) fn remember(&mut self, xid: Vec<u8>, changes: Option<Vec<Change>>, visible: bool) {
        self.forget(&xid);
        let Some(changes) = changes else { return };
        // Each transaction counts one more, so that empty ones are bounded too.
        let weight = changes.len() + 1;
        if self.changes + weight <= CHANGES_MAX {
            self.changes += weight;
            self.by_xid.insert(xid, (changes, visible));
        }
    }

    /// Removes a transaction and returns its changes. `None` if they are unknown.
    pub(crate) fn forget(&mut self, xid: &[u8]) -> Option<(Vec<Change>, bool)> {
        let (changes, visible) = self.by_xid.remove(xid)?;
        self.changes = self.changes.saturating_sub(changes.len() + 1);
        Some((changes, visible))
    }
}

/// A copy of the changes of an open XA transaction, which are also delivered as they are read.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    changes: Option<Vec<Change>>,
}

impl Kept {
    pub(crate) fn new() -> Self {
        Self { changes: Some(Vec::new()) }
    }

    /// Gives the copy up when there are more than `CHANGES_MAX` changes.
    pub(crate) fn add(&mut self, more: &[Change]) {
        if let Some(changes) = &mut self.changes {
            if changes.len() + more.len() > CHANGES_MAX {
                self.changes = None;
            } else {
                changes.extend_from_slice(more);
            }
        }
    }

    /// Returns the changes. `None` if there were too many.
    pub(crate) fn finish(self) -> Option<Vec<Change>> {
        self.changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> Change {
        Change::Tables { tables: Vec::new(), reason: String::new() }
    }

    #[test]
    fn changes_that_do_not_fit_are_unknown_later() {
        let mut prepared = Prepared::default();
        prepared.remember(b"a".to_vec(), Some(vec![change()]), true);
        prepared.remember(b"b".to_vec(), Some(vec![change(); CHANGES_MAX]), true);
        assert_eq!(prepared.forget(b"a").map(|(changes, _)| changes.len()), Some(1));
        assert!(prepared.forget(b"b").is_none());
        assert_eq!(prepared.changes, 0);
        let mut kept = Kept::new();
        kept.add(&vec![change(); CHANGES_MAX]);
        kept.add(&[change()]);
        assert!(kept.finish().is_none());
    }
}
