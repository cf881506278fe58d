//! Packets: what they are split from, and which of them are errors, ends and rows.
//!
//! | first byte | packet |
//! |---:|---|
//! | 0x00 | OK; in the log an event follows |
//! | 0xFE | the end of rows or of the log, in at most 8 bytes |
//! | 0xFF | an error: 2 bytes number, `#` and 5 bytes state unless it precedes the login, message |
//! | other | of a query's reply: the number of columns, the description of one, or a row |
//!
//! A row of text has for each column a length-encoded string, or 0xFB for NULL,
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html>.

use std::fmt;
use std::io;

use bytes::{Bytes, BytesMut};
use mysql_async::{DriverError, Error as DriverFailure, ServerError};
use mysql_common::proto::MySerialize;
use mysql_common::proto::codec::PacketCodec;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::cursor::Cursor;

pub(crate) type DriverResult<T> = std::result::Result<T, DriverFailure>;

/// Bytes that are read from the connection at once, and the size of the blocks that packets are collected in.
const BLOCK_BYTES: usize = 64 << 10;

/// A buffer that a large packet has left is kept up to this size.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// A block with less room than this is not begun with another packet.
const ROOM_BYTES_MIN: usize = 4 << 10;

/// The first byte of an error.
const ERROR: u8 = 0xff;
/// The first byte of the end of rows, which is shorter than any row that begins with it.
const END: u8 = 0xfe;
/// Longer packets are no end of rows.
const END_BYTES_MAX: usize = 8;
/// In place of a value's length: the value is NULL.
const NULL: u8 = 0xfb;

/// The command of a statement.
const COM_QUERY: u8 = 0x03;

/// What a connection runs over: TCP, TLS or a socket of the file system.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that returns packets as they are.
///
/// Dropping it closes it, also in the middle of a packet; the server ends the session.
pub(crate) struct LogConn {
    pub(super) io: Box<dyn Duplex>,
    pub(super) codec: PacketCodec,
    /// Bytes that were read and are not decoded.
    pub(super) input: BytesMut,
    /// The beginning of the next packet, and behind it the rest of its block.
    packet: BytesMut,
    /// True if bytes came, or a packet was returned, since [`LogConn::take_progress`] was called.
    progress: bool,
    /// The version in the greeting.
    pub(super) version: (u16, u16, u16),
}

impl fmt::Debug for LogConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogConn").field("version", &self.version).finish_non_exhaustive()
    }
}

impl LogConn {
    /// A connection that is not logged in.
    pub(super) fn over(io: Box<dyn Duplex>) -> Self {
        let (input, packet) = (BytesMut::new(), BytesMut::new());
        Self { io, codec: PacketCodec::default(), input, packet, progress: false, version: (0, 0, 0) }
    }

    /// Limits events to `bytes_max`. In its packet an event follows a byte.
    pub(super) fn limit(&mut self, bytes_max: usize) {
        self.codec.max_allowed_packet = bytes_max.saturating_add(1);
    }

    /// Returns true if bytes came or a packet was returned since the last call: also if a packet is large, or the network slow.
    pub(crate) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }

    /// Returns the next packet. It refers to the block that it was collected in, which is freed with the last packet of it.
    ///
    /// # Errors
    /// `PacketTooLarge` before its bytes are awaited, `UnexpectedEof` if the server closed the connection.
    ///
    /// # Cancel safety
    /// Cancel safe: what was read of a packet is kept.
    pub(crate) async fn packet(&mut self) -> DriverResult<Bytes> {
        loop {
            if self.packet.is_empty() && self.packet.capacity() < ROOM_BYTES_MIN {
                self.packet.reserve(BLOCK_BYTES);
            }
            if self.codec.decode(&mut self.input, &mut self.packet)? {
                self.progress = true;
                let packet = self.packet.split().freeze();
                // The rest of its block would keep the block of a large packet until it is used up.
                if packet.len() > KEPT_BYTES_MAX {
                    self.packet = BytesMut::new();
                }
                return Ok(packet);
            }
            if self.input.is_empty() && self.input.capacity() > KEPT_BYTES_MAX {
                self.input = BytesMut::new();
            }
            self.input.reserve(BLOCK_BYTES);
            if self.io.read_buf(&mut self.input).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed").into());
            }
            self.progress = true;
        }
    }

    /// Returns the next packet, unless it is an error of the server.
    ///
    /// # Errors
    /// The error that the packet is.
    pub(super) async fn reply(&mut self) -> DriverResult<Bytes> {
        let packet = self.packet().await?;
        match server_error(&packet) {
            Some(error) => Err(error),
            None => Ok(packet),
        }
    }

    /// Sends a packet that continues a command.
    pub(super) async fn send(&mut self, contents: &[u8]) -> DriverResult<()> {
        let mut output = BytesMut::new();
        self.codec.encode(&mut &*contents, &mut output)?;
        self.io.write_all(&output).await?;
        Ok(self.io.flush().await?)
    }

    /// Sends a command. Its replies are [packets](LogConn::packet).
    pub(crate) async fn command(&mut self, command: &(impl MySerialize + Sync)) -> DriverResult<()> {
        let mut contents = Vec::new();
        command.serialize(&mut contents);
        self.codec.reset_seq_id();
        self.send(&contents).await
    }

    /// Sends a command and waits until the server agrees.
    ///
    /// # Errors
    /// That of the server if it does not.
    pub(crate) async fn agreed(&mut self, command: &(impl MySerialize + Sync)) -> DriverResult<()> {
        self.command(command).await?;
        self.reply().await.map(drop)
    }

    /// Runs a statement and returns its first row as text. `None` if there is none.
    ///
    /// It is for the few statements that precede the log: all rows are read, and one is kept.
    ///
    /// # Errors
    /// That of the server, or `UnexpectedPacket` if the reply has more than 250 columns or cannot be read.
    pub(crate) async fn query(&mut self, sql: &str) -> DriverResult<Option<Vec<Option<String>>>> {
        self.codec.reset_seq_id();
        self.send(&[&[COM_QUERY], sql.as_bytes()].concat()).await?;
        let head = self.reply().await?;
        let columns = match head.first() {
            Some(0) => return Ok(None),
            Some(count @ 1..NULL) if head.len() == 1 => usize::from(*count),
            _ => return Err(unexpected(&head)),
        };
        // The columns' descriptions, and their end.
        for _ in 0..=columns {
            self.reply().await?;
        }
        let mut first = None;
        loop {
            let packet = self.reply().await?;
            if is_end(&packet) {
                return Ok(first);
            }
            if first.is_none() {
                first = Some(row(&packet, columns).ok_or_else(|| unexpected(&packet))?);
            }
        }
    }
}

/// Returns the error that a packet is. `None` if it is no error.
pub(crate) fn server_error(packet: &[u8]) -> Option<DriverFailure> {
    let rest = packet.strip_prefix(&[ERROR])?;
    let Some((code, text)) = rest.split_first_chunk::<2>() else { return Some(unexpected(packet)) };
    let text = String::from_utf8_lossy(text);
    // Before the login there is no state.
    let (state, message) = text.strip_prefix('#').and_then(|text| text.split_at_checked(5)).unwrap_or(("", &text));
    Some(ServerError { code: u16::from_le_bytes(*code), message: message.into(), state: state.into() }.into())
}

/// Returns true if a packet ends rows, or the log.
pub(crate) fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&END) && packet.len() <= END_BYTES_MAX
}

/// The error of a packet that does not belong where it came.
pub(crate) fn unexpected(packet: &[u8]) -> DriverFailure {
    DriverError::UnexpectedPacket { payload: packet.to_vec() }.into()
}

/// Reads a row of text. `None` if it is malformed.
fn row(packet: &[u8], columns: usize) -> Option<Vec<Option<String>>> {
    let mut cursor = Cursor::new(packet);
    (0..columns).map(|_| value(&mut cursor)).collect()
}

/// Reads a value, `Some(None)` if it is NULL.
fn value(cursor: &mut Cursor<'_>) -> Option<Option<String>> {
    let mut ahead = *cursor;
    if ahead.u8().ok()? == NULL {
        *cursor = ahead;
        return Some(None);
    }
    let text = cursor.packed_bytes().ok()?;
    Some(Some(String::from_utf8_lossy(text).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_server_has_its_number_and_text() {
        let failure = |packet: &[u8]| match server_error(packet) {
            Some(DriverFailure::Server(error)) => (error.code, error.state, error.message),
            other => panic!("{other:?}"),
        };
        let text = |text: &str| text.to_owned();
        assert_eq!(failure(b"\xff\x15\x04#28000denied"), (1045, text("28000"), text("denied")));
        assert_eq!(failure(b"\xff\x10\x04Too many connections"), (1040, text(""), text("Too many connections")));
        assert!(matches!(server_error(b"\xff\x15"), Some(DriverFailure::Driver(_))));
        assert!(server_error(&[0]).is_none());
    }

    /// A connection, and its other end.
    fn connected() -> (LogConn, tokio::io::DuplexStream) {
        let (io, server) = tokio::io::duplex(8 << 20);
        (LogConn::over(Box::new(io)), server)
    }

    fn framed(number: u8, contents: &[u8]) -> Vec<u8> {
        let head = (contents.len() as u32 | u32::from(number) << 24).to_le_bytes();
        [&head, contents].concat()
    }

    #[tokio::test]
    async fn a_packet_that_is_still_arriving_is_progress() {
        let (mut conn, mut server) = connected();
        let packet = framed(0, &[7; 1_000]);
        for part in packet[..600].chunks(200) {
            server.write_all(part).await.expect("sent");
            let waits = futures_util::poll!(std::pin::pin!(conn.packet()));
            assert!(waits.is_pending() && conn.take_progress());
            assert!(!conn.take_progress(), "it is taken once");
        }
        server.write_all(&packet[600..]).await.expect("sent");
        assert_eq!(conn.packet().await.expect("a packet"), [7; 1_000].as_slice());
    }

    #[tokio::test]
    async fn a_large_packet_leaves_no_large_block() {
        let (mut conn, mut server) = connected();
        server.write_all(&framed(0, &vec![7; 3 * KEPT_BYTES_MAX])).await.expect("sent");
        server.write_all(&framed(1, &[8; 10])).await.expect("sent");
        assert_eq!(conn.packet().await.expect("a packet").len(), 3 * KEPT_BYTES_MAX);
        assert_eq!(conn.packet.capacity(), 0);
        assert_eq!(conn.packet().await.expect("a packet"), [8; 10].as_slice());
        conn.limit(1_000);
        server.write_all(&framed(2, &vec![7; 1_002])).await.expect("sent");
        assert!(
            matches!(conn.packet().await, Err(DriverFailure::Io(_))),
            "above the limit, with the byte before the event"
        );
    }

    #[test]
    fn a_row_of_text_is_read_or_refused() {
        let packet = [&[3][..], b"a:1", &[NULL, 0]].concat();
        assert_eq!(row(&packet, 3), Some(vec![Some("a:1".into()), None, Some(String::new())]));
        assert_eq!(row(&packet, 4), None);
        assert_eq!(row(&[5, b'a'], 1), None);
        assert!(is_end(&[END, 0, 0, 2, 0]) && !is_end(&[END; 9]) && !is_end(&[]));
    }
}
