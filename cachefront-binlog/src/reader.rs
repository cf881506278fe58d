//! The background task that reads ahead: it decodes events and queues transactions until the stream ends.
//!
//! It is the only task of a source. It ends when the stream ends or the source is dropped, and it
//! closes the queue in either case, also by a panic: the source then reports the end and opens the
//! log again.

use std::sync::Arc;

use cachefront_core::Result;
use cachefront_core::event::TableName;
use futures_util::FutureExt;
use mysql_async::binlog::events::Event;

use crate::assemble::{Assembler, Step};
use crate::conn::Server;
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

/// A piece of this size, in bytes of log, is queued at once.
const PIECE_BYTES_MAX: usize = 4 << 10;

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
        let mut pieces = Vec::new();
        if let Err(error) = self.read(first, &mut pieces).await {
            // Transactions that were complete before the error come first.
            self.enqueue(&mut pieces).await;
            guard.0.close(End::Failed(error));
        }
        self.assembler.into_schema()
    }

    /// Returns only with an error: the log has no end.
    async fn read(&mut self, first: Event, pieces: &mut Vec<Piece>) -> Result<()> {
        let mut event = first;
        loop {
            self.take(&event, pieces).await?;
            // Pieces are queued when no further event is ready: waking the receiver for each would cost more than decoding.
            let enough =
                pieces.len() >= PIECES_MAX || pieces.last().is_some_and(|piece| piece.bytes >= PIECE_BYTES_MAX);
            let at_once = if enough { None } else { self.stream.next().now_or_never() };
            event = match at_once {
                Some(event) => event?,
                None => {
                    self.enqueue(pieces).await;
                    self.stream.next().await?
                }
            };
        }
    }

    /// Waits while the queue is full, and does not read from the server meanwhile.
    async fn enqueue(&self, pieces: &mut Vec<Piece>) {
        for piece in pieces.drain(..) {
            self.queue.push(piece).await;
        }
    }

    /// A lookup takes a connection of its own, because the one of the stream only sends events.
    async fn take(&mut self, event: &Event, pieces: &mut Vec<Piece>) -> Result<()> {
        while let Step::NeedsColumns(table) = self.assembler.event(event, pieces)? {
            self.look_up(&[table]).await?;
        }
        if self.assembler.effects().is_outdated() {
            let mut conn = self.server.connect().await?;
            self.assembler.effects().read(&mut conn, &self.server).await?;
            self.server.disconnect(conn).await;
        }
        let altered = self.assembler.take_altered();
        if altered.is_empty() { Ok(()) } else { self.look_up(&altered).await }
    }

    /// # Errors
    /// That of the server. It ends the stream: rows could not be decoded without their columns.
    async fn look_up(&mut self, tables: &[TableName]) -> Result<()> {
        let mut conn = self.server.connect().await?;
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
