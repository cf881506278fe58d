//! The task that reads ahead: events in, pieces of transactions into the queue, until something ends it.

use std::sync::Arc;

use cachefront_core::event::TableName;
use cachefront_core::{Error, ErrorKind, Result};
use mysql_async::binlog::events::Event;

use crate::assemble::{Assembler, Step};
use crate::conn::Server;
use crate::queue::{Piece, Queue};
use crate::schema::Schema;
use crate::stream::Stream;

/// Reads one stream to its end.
#[derive(Debug)]
pub(crate) struct Reader {
    server: Server,
    stream: Stream,
    assembler: Assembler,
    queue: Arc<Queue>,
}

/// Closes the queue if the task ends in any other way than it should: a parser that panics must not look like silence.
struct Guard(Arc<Queue>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.close(Error::new(ErrorKind::Unavailable, PANICKED));
    }
}

/// What the queue is closed with if the reader panicked.
pub(crate) const PANICKED: &str = "reading the log failed in an unforeseen way; it is opened again";

impl Reader {
    pub(crate) fn new(server: Server, stream: Stream, assembler: Assembler, queue: Arc<Queue>) -> Self {
        Self { server, stream, assembler, queue }
    }

    /// Reads until the stream ends, an event can not be understood, or the task is aborted. What was learnt about
    /// columns is answered for the next stream.
    pub(crate) async fn run(mut self, first: Event) -> Schema {
        let guard = Guard(Arc::clone(&self.queue));
        if let Err(error) = self.read(first).await {
            guard.0.close(error);
        }
        self.assembler.into_schema()
    }

    async fn read(&mut self, first: Event) -> Result<()> {
        let mut pieces = Vec::new();
        let mut event = first;
        loop {
            self.take(&event, &mut pieces).await?;
            for piece in pieces.drain(..) {
                if self.queue.push(piece).await {
                    self.stream.resumed();
                }
            }
            event = self.stream.next().await?;
        }
    }

    async fn take(&mut self, event: &Event, pieces: &mut Vec<Piece>) -> Result<()> {
        while let Step::NeedsColumns(table) = self.assembler.event(event, pieces)? {
            self.look_up(&[table]).await?;
        }
        let altered = self.assembler.take_altered();
        if altered.is_empty() { Ok(()) } else { self.look_up(&altered).await }
    }

    async fn look_up(&mut self, tables: &[TableName]) -> Result<()> {
        let mut conn = self.server.connect().await?;
        for table in tables {
            self.assembler.schema().read(&mut conn, &self.server, table).await?;
        }
        self.stream.resumed();
        Ok(())
    }
}
