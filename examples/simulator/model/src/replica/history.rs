//! The changes that the replica has not applied yet, and how they are undone in a row of the primary.

use std::collections::VecDeque;

use cachefront::event::{Batch, Change};
use cachefront::{Error, ErrorKind, Position, Result};
use tokio::time::Instant;

use crate::domain::User;

/// Maximum number of changes that are kept. Beyond it the oldest are applied early: the replica is then less far behind.
const CHANGES_MAX: usize = 100_000;

/// A row before and after a change.
type Images = (Option<User>, Option<User>);

/// What was received together, and is applied together.
#[derive(Debug)]
struct Received {
    at: Instant,
    changes: Vec<Images>,
    /// The position after these changes.
    position: Position,
    /// False if the last transaction goes on in the next batch.
    complete: bool,
}

/// The log since the replica began to follow it.
#[derive(Debug)]
pub(super) struct History {
    /// What the replica has executed.
    executed: Position,
    /// Up to where the log was read.
    read: Position,
    /// What was received and is not executed yet, oldest first.
    pending: VecDeque<Received>,
    /// The number of changes in `pending`.
    changes: usize,
}

impl History {
    /// Begins at the end of the log.
    pub(super) fn new(head: Position) -> Self {
        Self { executed: head.clone(), read: head, pending: VecDeque::new(), changes: 0 }
    }

    /// Appends a batch that was received at `at`.
    ///
    /// # Errors
    /// `Gap` if a table changed as a whole, `Corrupt` if a row is no user: how the table was before is not known then.
    pub(super) fn append(&mut self, batch: &Batch, at: Instant) -> Result<()> {
        let mut changes = Vec::new();
        for change in batch.transactions.iter().flat_map(|transaction| &transaction.changes) {
            let Change::Row(row) = change else {
                return Err(Error::new(ErrorKind::Gap, "a table changed as a whole: the replica begins again"));
            };
            let image = |image: &Option<_>| image.as_ref().map(User::from_row).transpose();
            changes.push((image(&row.before)?, image(&row.after)?));
        }
        self.read.clone_from(&batch.checkpoint.position);
        self.changes += changes.len();
        let complete = batch.transactions.last().is_none_or(|transaction| transaction.complete);
        let position = batch.checkpoint.position.clone();
        match self.pending.back_mut().filter(|last| !last.complete) {
            Some(last) => {
                last.changes.append(&mut changes);
                (last.at, last.position, last.complete) = (at, position, complete);
            }
            None => self.pending.push_back(Received { at, changes, position, complete }),
        }
        while self.changes > CHANGES_MAX && self.pending.len() > 1 {
            self.execute_oldest();
        }
        Ok(())
    }

    /// Executes what was received at `until` or before.
    pub(super) fn execute(&mut self, until: Instant) {
        while self.pending.front().is_some_and(|oldest| oldest.complete && oldest.at <= until) {
            self.execute_oldest();
        }
    }

    fn execute_oldest(&mut self) {
        if let Some(oldest) = self.pending.pop_front() {
            self.changes -= oldest.changes.len();
            self.executed = oldest.position;
        }
    }

    /// Returns what the replica has executed.
    pub(super) fn executed(&self) -> &Position {
        &self.executed
    }

    /// Returns true if the log was read up to this position.
    pub(super) fn has_read(&self, position: &Position) -> bool {
        self.read.covers(position)
    }

    /// Returns a row of the primary as the replica shows it. The log must have been read up to the position of the row;
    /// `is_wanted` tells whether an image has the key that was read.
    pub(super) fn undo(&self, row: Option<User>, is_wanted: impl Fn(&User) -> bool) -> Option<User> {
        let wanted = |image: &Option<User>| image.as_ref().is_some_and(&is_wanted);
        let mut changes = self.pending.iter().flat_map(|received| &received.changes);
        match changes.find(|(before, after)| wanted(before) || wanted(after)) {
            Some((before, _)) => before.clone().filter(is_wanted),
            None => row,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use cachefront::event::{Operation, RowChange, RowImage, TableName, Transaction, TransitTimes, Value};
    use cachefront::source::Checkpoint;
    use cachefront::{Gtid, Timestamp};

    use super::*;

    fn user(id: u64, name: &str, email: &str) -> User {
        User {
            id,
            name: name.into(),
            email: email.into(),
            updated_at: "2026-01-31T12:00:00.000000Z".into(),
            status: "active".into(),
        }
    }

    fn image(user: User) -> RowImage {
        let text = |text: String| Value::Text(text.into());
        RowImage::from_pairs([
            ("id", Value::UInt(user.id)),
            ("name", text(user.name)),
            ("email", text(user.email)),
            ("updated_at", text(user.updated_at)),
            ("status", text(user.status)),
        ])
    }

    fn up_to(number: u64) -> Position {
        let mut position = Position::new();
        position.insert_range(&Arc::from("a"), 1, number);
        position
    }

    fn batch(number: u64, before: Option<User>, after: Option<User>, complete: bool) -> Batch {
        let (before, after) = (before.map(image), after.map(image));
        let table = TableName::new("shop", "users");
        let change = Change::Row(RowChange { table, operation: Operation::Update, before, after });
        let transaction = Transaction {
            gtid: Gtid { origin: "a".into(), number },
            committed_at: Timestamp::UNKNOWN,
            transit: TransitTimes::default(),
            changes: vec![change],
            complete,
        };
        let position = up_to(if complete { number } else { number - 1 });
        Batch { transactions: vec![transaction], checkpoint: Checkpoint { position, ..Checkpoint::default() } }
    }

    #[tokio::test]
    async fn a_row_is_shown_as_it_was_before_what_is_not_executed() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut history = History::new(up_to(4));
        let (ada, king, moved) = (user(7, "Ada", "a@x"), user(7, "Ada King", "a@x"), user(7, "Ada King", "k@x"));
        history.append(&batch(5, Some(ada.clone()), Some(king.clone()), true), now).expect("a change");
        history.append(&batch(6, Some(king.clone()), Some(moved.clone()), true), now + second).expect("a change");
        history.append(&batch(7, None, Some(user(8, "Bob", "a@x")), true), now + second).expect("a change");
        assert!(history.has_read(&up_to(7)) && !history.has_read(&up_to(8)));
        let by_id = |history: &History| history.undo(Some(moved.clone()), |user| user.id == 7);
        assert_eq!((history.executed(), by_id(&history)), (&up_to(4), Some(ada.clone())));
        let by_email = |email: &'static str| move |user: &User| user.email == email;
        assert_eq!(history.undo(Some(user(8, "Bob", "a@x")), by_email("a@x")), Some(ada));
        assert_eq!(history.undo(Some(moved.clone()), by_email("k@x")), None, "no user had this address");
        assert_eq!(history.undo(Some(user(8, "Bob", "a@x")), |user| user.id == 8), None, "it was not inserted yet");
        let other = user(9, "Eve", "e@x");
        assert_eq!(history.undo(Some(other.clone()), |user| user.id == 9), Some(other));

        history.execute(now);
        assert_eq!((history.executed(), by_id(&history)), (&up_to(5), Some(king)));
        history.execute(now + second);
        assert_eq!((history.executed(), by_id(&history)), (&up_to(7), Some(moved.clone())));
    }

    #[tokio::test]
    async fn a_transaction_in_parts_is_executed_as_a_whole() {
        let now = Instant::now();
        let mut history = History::new(up_to(4));
        let (before, after) = (user(7, "Ada", "a@x"), user(7, "Ada King", "a@x"));
        history.append(&batch(5, Some(before.clone()), Some(after.clone()), false), now).expect("a part");
        history.execute(now);
        assert_eq!(history.undo(Some(after.clone()), |user| user.id == 7), Some(before));
        history.append(&batch(5, None, Some(user(8, "Bob", "b@x")), true), now).expect("the rest");
        history.execute(now);
        assert_eq!(
            (history.executed(), history.undo(Some(after.clone()), |user| user.id == 7)),
            (&up_to(5), Some(after))
        );
    }
}
