//! The queue of decoded changes between the reader's task and the source, bounded by bytes.
//!
//! Its bound is on memory and not on the number of transactions, because these differ by orders of
//! magnitude. One piece above the bound is accepted into an empty queue, so that no size blocks the
//! log.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cachefront_core::Error;
use cachefront_core::Gtid;
use cachefront_core::clock::Timestamp;
use cachefront_core::event::Change;
use tokio::sync::Notify;

/// A transaction, or a part of one.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) gtid: Gtid,
    pub(crate) committed_at: Timestamp,
    /// The mapped changes. If there are none, only the position advances.
    pub(crate) changes: Vec<Change>,
    pub(crate) complete: bool,
    /// True if an earlier piece has the beginning of this transaction.
    pub(crate) continued: bool,
    /// Bytes of log that it was decoded from.
    pub(crate) bytes: usize,
    /// Readers get the row images with this transaction. False if it is only prepared, or a change of it was undone.
    pub(crate) visible: bool,
}

/// How a reader ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Failed(Error),
    /// The reader task panicked.
    Panicked,
}

/// Approximate memory of a piece, in bytes, in addition to its log bytes.
const PIECE_BYTES: usize = 128;
/// Approximate memory of a decoded change, in bytes.
const CHANGE_BYTES: usize = 256;

impl Piece {
    /// Returns true if it has no mapped change and is a whole transaction, so that only the position advances.
    pub(crate) fn is_unmapped(&self) -> bool {
        self.changes.is_empty() && self.complete && !self.continued
    }

    /// Its share of the bound, in bytes.
    pub(crate) fn weight(&self) -> usize {
        PIECE_BYTES + self.bytes + self.changes.len() * CHANGE_BYTES
    }
}

/// Pieces in order, and how the reader ended.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Notified when a piece or the end arrives.
    arrived: Notify,
    /// Notified when there may be room again.
    room: Notify,
    bytes_max: usize,
}

/// It is changed under one lock, without an `await` in between.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) pieces: VecDeque<Piece>,
    weight: usize,
    changes: usize,
    log_bytes: usize,
    end: Option<End>,
}

impl State {
    /// Number of queued row changes.
    pub(crate) fn changes(&self) -> usize {
        self.changes
    }

    /// Number of queued log bytes.
    pub(crate) fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    /// How the reader ended. `None` while it runs.
    pub(crate) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Removes the first piece.
    pub(crate) fn pop(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()?;
        self.weight = self.weight.saturating_sub(piece.weight());
        self.changes = self.changes.saturating_sub(piece.changes.len());
        self.log_bytes = self.log_bytes.saturating_sub(piece.bytes);
        Some(piece)
    }

    /// Takes the pieces for which there is room. Returns false if there is none for the first.
    fn take_fitting(&mut self, pieces: &mut VecDeque<Piece>, bytes_max: usize) -> bool {
        let before = pieces.len();
        while let Some(piece) = pieces.pop_front() {
            if self.weight != 0 && self.weight + piece.weight() > bytes_max {
                pieces.push_front(piece);
                break;
            }
            self.count(&piece);
            self.pieces.push_back(piece);
        }
        pieces.len() < before
    }

    /// Puts back the rest of the piece that was removed last.
    pub(crate) fn put_back(&mut self, piece: Piece) {
        self.count(&piece);
        self.pieces.push_front(piece);
    }

    /// Adds a piece to the totals.
    fn count(&mut self, piece: &Piece) {
        self.weight += piece.weight();
        self.changes += piece.changes.len();
        self.log_bytes += piece.bytes;
    }
}

impl Queue {
    /// `bytes_max` bounds the sum of [`Piece::weight`].
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), arrived: Notify::new(), room: Notify::new(), bytes_max }
    }

    /// Moves pieces into the queue as soon as there is room. A piece above the bound waits for an empty queue.
    ///
    /// # Cancel safety
    /// If the future is dropped, what was not moved stays in `pieces`.
    pub(crate) async fn push_all(&self, pieces: &mut VecDeque<Piece>) {
        while !pieces.is_empty() {
            if self.lock().take_fitting(pieces, self.bytes_max) {
                self.arrived.notify_one();
            } else {
                self.room.notified().await;
            }
        }
    }

    /// Records how the reader ended. The first reason is kept.
    pub(crate) fn close(&self, reason: End) {
        self.lock().end.get_or_insert(reason);
        self.arrived.notify_one();
    }

    /// Waits for the next arrival. It may also return without one.
    ///
    /// # Cancel safety
    /// Cancel safe. A notification that no call waits for is kept for the next one.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Accesses the state in one step, which no cancellation can interrupt.
    pub(crate) fn with<T>(&self, access: impl FnOnce(&mut State) -> T) -> T {
        let result = access(&mut self.lock());
        self.room.notify_one();
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics in the middle of a change of the state.
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
        let (committed_at, changes) = (Timestamp::UNKNOWN, Vec::new());
        Piece { gtid, committed_at, changes, complete: true, continued: false, bytes, visible: true }
    }

    #[tokio::test]
    async fn a_full_queue_blocks_the_reader_until_a_piece_is_removed() {
        let queue = Arc::new(Queue::new(1_000));
        queue.push_all(&mut [piece(1, 900)].into()).await;
        let second = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.push_all(&mut [piece(2, 5_000), piece(3, 1)].into()).await }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        assert_eq!(queue.with(State::pop).map(|piece| piece.gtid.number), Some(1));
        queue.arrived().await;
        tokio::task::yield_now().await;
        assert!(!second.is_finished(), "the third waits for the second, which is above the bound");
        assert_eq!(queue.with(State::pop).map(|piece| piece.gtid.number), Some(2));
        second.await.expect("there is room");
        assert_eq!(queue.with(State::pop).map(|piece| piece.gtid.number), Some(3));
    }

    #[tokio::test]
    async fn queued_pieces_come_before_the_end() {
        let queue = Queue::new(1_000);
        queue.push_all(&mut [piece(1, 1)].into()).await;
        queue.close(End::Failed(Error::new(ErrorKind::Gap, "first")));
        queue.close(End::Panicked);
        assert!(queue.with(State::pop).is_some());
        assert!(queue.with(|state| matches!(state.end(), Some(End::Failed(error)) if error.kind() == ErrorKind::Gap)));
    }
}
