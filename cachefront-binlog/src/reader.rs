//! The background task that reads ahead: it decodes events and queues transactions until the stream ends.
//!
//! It is the only task of a source. It ends when the stream ends or the source is dropped, and it
//! closes the queue in either case, also by a panic: the source then reports the end and opens the
//! log again.

use std::collections::VecDeque;
use std::sync::Arc;

use cachefront_core::event::TableName;
use cachefront_core::{Position, Result};
use futures_util::FutureExt;

use crate::assemble::{Assembler, Step};
use crate::conn::Server;
use crate::events::Event;
use crate::position::wait_executed;
use crate::queue::{End, Piece, Queue};
use crate::schema::Schema;
use crate::stream::Stream;

/// Reads one stream to its end.
#[derive(Debug)]
pub(crate) struct Reader {
    server: Server,
    /// The UUID of the server that the stream comes from.
    origin: Box<str>,
    stream: Stream,
    assembler: Assembler,
    queue: Arc<Queue>,
}

/// Maximum number of pieces that the reader collects before it queues them.
const PIECES_MAX: usize = 64;

/// Pieces of this size together, in bytes of their weight, are queued at once. What the receiver takes at a time is in the
/// processor's cache then.
const WEIGHT_MAX: usize = 64 << 10;

/// Closes the queue when the task ends by a panic, so that the source does not wait for a reader that is gone.
struct Guard(Arc<Queue>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.close(End::Panicked);
    }
}

impl Reader {
    /// All parts are made by the source, so that a failure of them is an error of `open`.
    pub(crate) fn new(
        server: Server,
        origin: Box<str>,
        stream: Stream,
        assembler: Assembler,
        queue: Arc<Queue>,
    ) -> Self {
        Self { server, origin, stream, assembler, queue }
    }

    /// Reads until the stream ends, an event cannot be decoded, or the task is aborted. Returns the columns that were looked
    /// up, for the next stream.
    pub(crate) async fn run(mut self, first: Event) -> Schema {
        let guard = Guard(Arc::clone(&self.queue));
        let mut pieces = VecDeque::new();
        if let Err(error) = self.read(first, &mut pieces).await {
            // Transactions that were complete before the error come first.
            self.queue.push_all(&mut pieces).await;
            guard.0.close(End::Failed(error));
        }
        self.assembler.into_schema()
    }

    /// Returns only with an error: the log has no end.
    async fn read(&mut self, first: Event, pieces: &mut VecDeque<Piece>) -> Result<()> {
        let mut event = first;
        let mut decoded = Vec::new();
        let mut weight = 0;
        loop {
            let taken = self.take(&event, &mut decoded).await;
            weight += decoded.iter().map(Piece::weight).sum::<usize>();
            pieces.extend(decoded.drain(..));
            taken?;
            // Pieces are queued when no further event is ready: waking the receiver for each would cost more than decoding.
            let enough = pieces.len() >= PIECES_MAX || weight >= WEIGHT_MAX;
            let at_once = if enough { None } else { self.stream.next().now_or_never() };
            event = match at_once {
                Some(event) => event?,
                None => {
                    // The reader waits while the queue is full, and does not read from the server meanwhile.
                    self.queue.push_all(pieces).await;
                    weight = 0;
                    self.stream.next().await?
                }
            };
        }
    }

    /// A lookup takes a connection of its own, because the one of the stream only sends events.
    ///
    /// # Errors
    /// That of the server. A lookup of effects that takes too long is none.
    async fn take(&mut self, event: &Event, pieces: &mut Vec<Piece>) -> Result<()> {
        while let Step::NeedsColumns(table) = self.assembler.event(event, pieces)? {
            // Rows of an altered table are logged after the alteration has become visible.
            self.look_up(&[table], &Position::new()).await?;
        }
        if self.assembler.effects().needs_lookup() {
            self.assembler.effects().look_up(&self.server).await?;
        }
        let (altered, by) = self.assembler.take_altered();
        if altered.is_empty() { Ok(()) } else { self.look_up(&altered, &by).await }
    }

    /// Looks up the columns of tables when `visible` is. If it is not within the server's time for a query, the first rows of
    /// each table ask again.
    ///
    /// # Errors
    /// That of the server. It ends the stream: rows could not be decoded without their columns.
    async fn look_up(&mut self, tables: &[TableName], visible: &Position) -> Result<()> {
        let mut conn = self.server.connect().await?;
        let limit = self.server.query_timeout();
        let wait = async { Ok(wait_executed(&mut conn, visible, limit).await) };
        if !self.server.within("waiting for a definition to be visible", limit * 2, wait).await?? {
            return Ok(());
        }
        for table in tables {
            self.assembler.schema().read(&mut conn, &self.server, &self.origin, table).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::State;

    #[tokio::test]
    async fn a_reader_that_panics_closes_the_queue() {
        let queue = Arc::new(Queue::new(1));
        let guard = Guard(Arc::clone(&queue));
        let task = tokio::spawn(async move {
            let _guard = guard;
            panic!("a parser panicked");
        });
        queue.arrived().await;
        assert!(matches!(queue.with(|state: &mut State| state.end().cloned()), Some(End::Panicked)));
        assert!(task.await.expect_err("it panicked").is_panic());
    }
}
