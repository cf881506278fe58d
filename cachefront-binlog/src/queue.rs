//! What was read and not fetched yet: bounded by bytes, between the reader's task and the source.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cachefront_core::Error;
use cachefront_core::Gtid;
use cachefront_core::clock::Timestamp;
use cachefront_core::event::Change;
use tokio::sync::Notify;

/// A transaction, or a part of it, on its way to the source.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) gtid: Gtid,
    pub(crate) committed_at: Timestamp,
    /// None if nothing in it was of interest: only the position moves.
    pub(crate) changes: Vec<Change>,
    pub(crate) complete: bool,
    /// Parts of the same transaction went ahead of it.
    pub(crate) continued: bool,
    /// Bytes of log that it was read from.
    pub(crate) bytes: usize,
}

/// How a reader ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Failed(Error),
    /// In a way that nobody foresaw.
    Panicked,
}

/// What a piece costs in memory beside its log bytes, about: its struct, and a decoded change's allocations.
const PIECE_BYTES: usize = 128;
const CHANGE_BYTES: usize = 256;

impl Piece {
    /// True if nothing of it needs to be handed over: only the position moves.
    pub(crate) fn is_uninteresting(&self) -> bool {
        self.changes.is_empty() && self.complete && !self.continued
    }

    /// What it counts for against the bound.
    pub(crate) fn weight(&self) -> usize {
        PIECE_BYTES + self.bytes + self.changes.len() * CHANGE_BYTES
    }
}

/// Pieces in order, then how the reader ended.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// A piece or the end arrived.
    arrived: Notify,
    /// There is room again.
    room: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) pieces: VecDeque<Piece>,
    weight: usize,
    changes: usize,
    log_bytes: usize,
    end: Option<End>,
}

impl State {
    /// Row changes that wait.
    pub(crate) fn changes(&self) -> usize {
        self.changes
    }

    /// Log bytes that wait.
    pub(crate) fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    /// Why the reader ended, if it did.
    pub(crate) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Takes the first piece.
    pub(crate) fn pop(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()?;
        self.weight = self.weight.saturating_sub(piece.weight());
        self.changes = self.changes.saturating_sub(piece.changes.len());
        self.log_bytes = self.log_bytes.saturating_sub(piece.bytes);
        Some(piece)
    }

    /// Puts back what is left of the piece that was just taken.
    pub(crate) fn put_back(&mut self, piece: Piece) {
        self.count(&piece);
        self.pieces.push_front(piece);
    }

    fn count(&mut self, piece: &Piece) {
        self.weight += piece.weight();
        self.changes += piece.changes.len();
        self.log_bytes += piece.bytes;
    }
}

impl Queue {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), arrived: Notify::new(), room: Notify::new(), bytes_max }
    }

    /// Adds a piece as soon as there is room. One that is larger than the whole bound waits for an empty queue.
    pub(crate) async fn push(&self, piece: Piece) {
        let weight = piece.weight();
        let mut piece = Some(piece);
        loop {
            {
                let mut state = self.lock();
                if state.weight == 0 || state.weight + weight <= self.bytes_max {
                    if let Some(piece) = piece.take() {
                        state.count(&piece);
                        state.pieces.push_back(piece);
                    }
                    break;
                }
            }
            self.room.notified().await;
        }
        self.arrived.notify_one();
    }

    /// Says how the reader ended. The first reason stands.
    pub(crate) fn close(&self, reason: End) {
        self.lock().end.get_or_insert(reason);
        self.arrived.notify_one();
    }

    /// Waits until something arrived since the last look; may wake without.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Looks at the state, and takes from it, in one step that no cancellation can split.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let answer = look(&mut self.lock());
        self.room.notify_one();
        answer
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock can panic half-way through a change of the state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cachefront_core::ErrorKind;

    use super::*;

    fn piece(number: u64, bytes: usize) -> Piece {
        let gtid = Gtid { origin: "a".into(), number };
        Piece { gtid, committed_at: Timestamp::UNKNOWN, changes: Vec::new(), complete: true, continued: false, bytes }
    }

    #[tokio::test]
    async fn a_full_queue_holds_the_reader_until_something_is_taken() {
        let queue = Arc::new(Queue::new(1_000));
        queue.push(piece(1, 900)).await;
        let second = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.push(piece(2, 5_000)).await }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        assert_eq!(queue.with(State::pop).map(|piece| piece.gtid.number), Some(1));
        second.await.expect("room came");
        assert_eq!(queue.with(State::pop).map(|piece| piece.gtid.number), Some(2));
    }

    #[tokio::test]
    async fn what_was_read_comes_before_the_end() {
        let queue = Queue::new(1_000);
        queue.push(piece(1, 1)).await;
        queue.close(End::Failed(Error::new(ErrorKind::Gap, "first")));
        queue.close(End::Panicked);
        assert!(queue.with(State::pop).is_some());
        assert!(queue.with(|state| matches!(state.end(), Some(End::Failed(error)) if error.kind() == ErrorKind::Gap)));
    }
}
