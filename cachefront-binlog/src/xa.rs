//! Prepared XA transactions: the log has their rows at PREPARE, readers see them from XA COMMIT on.

use std::collections::HashMap;

use cachefront_core::event::Change;

/// At most this many row changes of prepared transactions are remembered; a transaction that does not fit makes its
/// commit a change of anything.
const CHANGES_MAX: usize = 10_000;

/// The changes of transactions that are prepared and neither committed nor given up.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    by_xid: HashMap<Vec<u8>, Vec<Change>>,
    changes: usize,
}

impl Prepared {
    /// Remembers a transaction's changes. None if they were too many to be kept.
    pub(crate) fn remember(&mut self, xid: Vec<u8>, changes: Option<Vec<Change>>) {
        self.forget(&xid);
        let Some(changes) = changes else { return };
        // One more each, so that empty transactions are bounded too.
        let weight = changes.len() + 1;
        if self.changes + weight <= CHANGES_MAX {
            self.changes += weight;
            self.by_xid.insert(xid, changes);
        }
    }

    /// Takes what a transaction changed; None if that is not known.
    pub(crate) fn forget(&mut self, xid: &[u8]) -> Option<Vec<Change>> {
        let changes = self.by_xid.remove(xid)?;
        self.changes = self.changes.saturating_sub(changes.len() + 1);
        Some(changes)
    }
}

/// What an open XA transaction has changed so far, kept beside what is handed over at once.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    changes: Option<Vec<Change>>,
}

impl Kept {
    pub(crate) fn new() -> Self {
        Self { changes: Some(Vec::new()) }
    }

    pub(crate) fn add(&mut self, more: &[Change]) {
        if let Some(changes) = &mut self.changes {
            if changes.len() + more.len() > CHANGES_MAX {
                self.changes = None;
            } else {
                changes.extend_from_slice(more);
            }
        }
    }

    /// None if there were too many.
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
    fn what_does_not_fit_is_not_known_later() {
        let mut prepared = Prepared::default();
        prepared.remember(b"a".to_vec(), Some(vec![change()]));
        prepared.remember(b"b".to_vec(), Some(vec![change(); CHANGES_MAX]));
        assert_eq!(prepared.forget(b"a").map(|changes| changes.len()), Some(1));
        assert!(prepared.forget(b"b").is_none());
        assert_eq!(prepared.changes, 0);
        let mut kept = Kept::new();
        kept.add(&vec![change(); CHANGES_MAX]);
        kept.add(&[change()]);
        assert!(kept.finish().is_none());
    }
}
