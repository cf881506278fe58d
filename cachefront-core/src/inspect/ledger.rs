//! What the log said about keys: the newest change of each, as the mappings name them.

use std::collections::{HashMap, VecDeque};

use serde::{Serialize, Serializer};

use crate::clock::Timestamp;
use crate::event::TableName;
use crate::key::StoreKey;
use crate::position::{Gtid, Position};

/// A committed change that makes a key stale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Cause {
    /// The transaction.
    #[serde(serialize_with = "display")]
    pub gtid: Gtid,
    /// The table.
    #[serde(serialize_with = "display")]
    pub table: TableName,
    /// The operation, in one word; `all` for a change of the whole table.
    pub operation: &'static str,
    /// When it was committed, by the server's clock, or read from the log if the log does not say.
    #[serde(serialize_with = "micros")]
    pub committed_at: Timestamp,
}

fn display<S: Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn micros<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(at.as_micros())
}

/// What is known of a key's changes, relative to the end of the log at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The log was not read up to there.
    Behind,
    /// The newest change that names the key. The transactions in this position are not known: a later one of them may have
    /// changed the key too.
    Changed(Cause, Position),
    /// No known transaction changed the key. Those in this position are not known.
    Unchanged(Position),
}

/// The newest change of each key.
#[derive(Debug)]
pub(super) struct Ledger {
    /// `None` while no log is followed.
    followed: Option<Followed>,
    keys_max: usize,
}

#[derive(Debug)]
struct Followed {
    /// Transactions whose changes are not known: those before the log was followed, those that were forgotten, and those that
    /// may have changed any key.
    unknown: Position,
    /// Everything that was read, with all before it.
    upto: Position,
    newest: HashMap<StoreKey, Cause>,
    /// The changes in the order in which they were read; the first are forgotten first.
    order: VecDeque<(StoreKey, Gtid)>,
}

impl Ledger {
    pub(super) fn new(keys_max: usize) -> Self {
        Self { followed: None, keys_max }
    }

    /// Begins at this end of the log, and forgets what was read before.
    pub(super) fn begin(&mut self, head: Position) {
        let (newest, order) = (HashMap::new(), VecDeque::new());
        self.followed = Some(Followed { unknown: head.clone(), upto: head, newest, order });
    }

    /// Ends: the log is no longer followed.
    pub(super) fn end(&mut self) {
        self.followed = None;
    }

    /// Returns the position up to which the log was read.
    pub(super) fn upto(&self) -> Option<&Position> {
        self.followed.as_ref().map(|followed| &followed.upto)
    }

    /// Records a change of a key. Forgets the oldest ones beyond the bound.
    ///
    /// Sources with several partitions deliver changes in the order of their arrival, so the newest one is not always the last.
    pub(super) fn record(&mut self, key: &StoreKey, cause: Cause) {
        let Some(followed) = &mut self.followed else { return };
        match followed.newest.get(key) {
            Some(known) if known.gtid.origin != cause.gtid.origin => {
                // Which of the two is the newer one is not known.
                followed.unknown.insert_range(&known.gtid.origin, 1, known.gtid.number);
            }
            Some(known) if known.gtid.number > cause.gtid.number => {
                // Read late; or the newer one, of a group whose members number their commits in blocks of their own.
                followed.unknown.insert_range(&known.gtid.origin, 1, known.gtid.number);
                return;
            }
            _ => {}
        }
        followed.order.push_back((key.clone(), cause.gtid.clone()));
        followed.newest.insert(key.clone(), cause);
        while followed.order.len() > self.keys_max {
            let Some((key, gtid)) = followed.order.pop_front() else { return };
            if followed.newest.get(&key).is_some_and(|newest| newest.gtid == gtid) {
                followed.newest.remove(&key);
                // With all before it, so that the set does not grow with what is forgotten: a verdict becomes more careful.
                followed.unknown.insert_range(&gtid.origin, 1, gtid.number);
            }
        }
    }

    /// Records a transaction that may have changed any key. It counts with all before it, as one that is forgotten does.
    pub(super) fn record_unknown(&mut self, gtid: &Gtid) {
        if let Some(followed) = &mut self.followed {
            followed.unknown.insert_range(&gtid.origin, 1, gtid.number);
        }
    }

    /// Records that everything up to here was read.
    pub(super) fn advance(&mut self, upto: &Position) {
        if let Some(followed) = &mut self.followed {
            followed.upto = upto.clone();
        }
    }

    /// Returns the newest known change of the key.
    pub(super) fn newest(&self, key: &StoreKey) -> Option<&Gtid> {
        Some(&self.followed.as_ref()?.newest.get(key)?.gtid)
    }

    /// Returns true if `gtid` is not the newest known change of the key.
    pub(super) fn is_superseded(&self, key: &StoreKey, gtid: &Gtid) -> bool {
        self.newest(key).is_some_and(|newest| newest != gtid)
    }

    /// Returns what is known of the key's changes up to `head`.
    pub(super) fn standing(&self, key: &StoreKey, head: &Position) -> Standing {
        match &self.followed {
            Some(followed) if followed.upto.covers(head) => match followed.newest.get(key) {
                Some(cause) => Standing::Changed(cause.clone(), followed.unknown.clone()),
                None => Standing::Unchanged(followed.unknown.clone()),
            },
            _ => Standing::Behind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u64) -> StoreKey {
        StoreKey::encode("row", &id).expect("a key")
    }

    fn cause(number: u64) -> Cause {
        let gtid = Gtid { origin: "a".into(), number };
        Cause { gtid, table: "shop.row".into(), operation: "update", committed_at: Timestamp::from_micros(number) }
    }

    fn position(text: &str) -> Position {
        text.parse().expect("a position")
    }

    #[test]
    fn the_newest_change_is_known_once_the_log_was_read() {
        let mut ledger = Ledger::new(10);
        assert_eq!(ledger.standing(&key(1), &position("a:1")), Standing::Behind);
        ledger.begin(position("a:1-5"));
        ledger.record(&key(1), cause(6));
        ledger.record(&key(1), cause(7));
        assert_eq!(ledger.standing(&key(1), &position("a:1-7")), Standing::Behind);
        ledger.advance(&position("a:1-7"));
        assert_eq!(ledger.standing(&key(1), &position("a:1-7")), Standing::Changed(cause(7), position("a:1-5")));
        assert_eq!(ledger.standing(&key(2), &position("a:1-7")), Standing::Unchanged(position("a:1-5")));
        assert!(ledger.is_superseded(&key(1), &cause(6).gtid) && !ledger.is_superseded(&key(1), &cause(7).gtid));
        ledger.end();
        assert_eq!(ledger.standing(&key(1), &position("a:1")), Standing::Behind);
    }

    #[test]
    fn a_forgotten_change_makes_its_transaction_unknown() {
        let mut ledger = Ledger::new(2);
        ledger.begin(Position::new());
        for number in 1..=4 {
            ledger.record(&key(number % 3), cause(number));
        }
        ledger.advance(&position("a:1-4"));
        // 1 and 2 were forgotten for 3 and 4; key 1 was changed again by 4.
        assert_eq!(ledger.standing(&key(2), &position("a:4")), Standing::Unchanged(position("a:1-2")));
        assert_eq!(ledger.standing(&key(1), &position("a:4")), Standing::Changed(cause(4), position("a:1-2")));
        ledger.record_unknown(&cause(9).gtid);
        assert_eq!(ledger.standing(&key(5), &position("a:4")), Standing::Unchanged(position("a:1-9")));
    }

    #[test]
    fn a_change_that_is_read_late_is_not_the_newest() {
        let mut ledger = Ledger::new(10);
        ledger.begin(Position::new());
        ledger.record(&key(1), cause(7));
        ledger.record(&key(1), cause(5));
        ledger.advance(&position("a:1-7"));
        assert!(ledger.is_superseded(&key(1), &cause(5).gtid));
        assert_eq!(ledger.standing(&key(1), &position("a:1-7")), Standing::Changed(cause(7), position("a:1-7")));
        // Numbers of two origins have no order: the earlier record may be the newer change.
        let elsewhere = Cause { gtid: Gtid { origin: "b".into(), number: 2 }, ..cause(1) };
        ledger.record(&key(1), elsewhere.clone());
        ledger.advance(&position("a:1-7,b:1-2"));
        assert_eq!(ledger.standing(&key(1), &position("a:7,b:2")), Standing::Changed(elsewhere, position("a:1-7")));
    }

    #[test]
    fn what_is_forgotten_takes_no_room() {
        let mut ledger = Ledger::new(2);
        ledger.begin(position("a:1-10"));
        for number in 0..1_000 {
            ledger.record(&key(number), cause(12 + 2 * number));
        }
        ledger.advance(&position("a:1-3000"));
        let Standing::Unchanged(unknown) = ledger.standing(&key(0), &position("a:1-3000")) else {
            panic!("it was forgotten");
        };
        assert_eq!(unknown.to_string(), "a:1-2006");
    }
}
