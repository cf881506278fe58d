//! Replies of many strings as one string: it is taken apart where it is used, and its parts share one buffer.
//!
//! The client's parser makes a vector of each element of a reply. Of a read of many keys that is a third of the work of this
//! process. [`Packed`] is between the socket and the client. It passes replies on as they are, except for *flat* ones: arrays
//! of at least two elements which all are strings or nil. It makes one string of such a reply, whose content is the array as the
//! server sent it. [`Elements`] takes it apart without a copy.
//!
//! ```text
//! the server sends        *2\r\n$1\r\na\r\n$-1\r\n
//! the client receives     $16\r\n*2\r\n$1\r\na\r\n$-1\r\n\r\n
//! ```
//!
//! Readers' connections over TCP have it. Everything flat that they receive is the reply to an `MGET`, which is never a plain
//! string, so its content cannot be confused with a value.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Room that is made for what is received next, in bytes: several replies, or a large part of one.
const ROOM_BYTES: usize = 16 << 10;

/// The end of each line and of each string.
const LINE_END: &[u8] = b"\r\n";

/// A socket whose flat replies are received as one string each.
pub(crate) struct Packed<S> {
    socket: S,
    /// What was received and is not passed on yet.
    received: BytesMut,
    /// How far the first reply of `received` was looked through, apart from `passing`.
    scan: Scan,
    passing: Passing,
    /// Something was received that is not a reply: all is passed on as it is, and the client says what is wrong.
    transparent: bool,
}

/// What is passed on next: a line, then `body` bytes of what was received, then the end of a string.
#[derive(Default)]
struct Passing {
    head: Bytes,
    body: usize,
    tail: &'static [u8],
}

impl Passing {
    fn is_done(&self) -> bool {
        self.head.is_empty() && self.body == 0 && self.tail.is_empty()
    }
}

impl<S> Packed<S> {
    pub(crate) fn new(socket: S) -> Self {
        let (received, scan, passing) = (BytesMut::new(), Scan::default(), Passing::default());
        Self { socket, received, scan, passing, transparent: false }
    }

    /// Passes on what there is room for, and returns true if that was anything.
    fn pass_on(&mut self, out: &mut ReadBuf<'_>) -> bool {
        let before = out.filled().len();
        while out.remaining() > 0 && (!self.passing.is_done() || self.take_reply()) {
            let Passing { head, body, tail } = &mut self.passing;
            pass(head, usize::MAX, out);
            *body -= pass(&mut self.received, *body, out);
            if *body == 0 {
                pass(tail, usize::MAX, out);
            }
        }
        out.filled().len() > before
    }

    /// Begins to pass on the next reply, if it was received as a whole.
    fn take_reply(&mut self) -> bool {
        if self.transparent {
            self.passing.body = self.received.len();
            return !self.received.is_empty();
        }
        match self.scan.look_through(&self.received) {
            Found::Part => false,
            Found::Reply { bytes, flat: true } => {
                self.passing = Passing { head: format!("${bytes}\r\n").into(), body: bytes, tail: LINE_END };
                true
            }
            Found::Reply { bytes, flat: false } => {
                self.passing.body = bytes;
                true
            }
            Found::Unknown => {
                self.transparent = true;
                self.take_reply()
            }
        }
    }
}

/// Passes on at most `max` bytes, and returns how many.
fn pass(from: &mut impl Buf, max: usize, out: &mut ReadBuf<'_>) -> usize {
    let bytes = from.remaining().min(max).min(out.remaining());
    out.put_slice(&from.chunk()[..bytes]);
    from.advance(bytes);
    bytes
}

impl<S: AsyncRead + Unpin> AsyncRead for Packed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while !this.pass_on(out) && out.remaining() > 0 {
            this.received.reserve(ROOM_BYTES);
            let mut receive = std::pin::pin!(tokio::io::AsyncReadExt::read_buf(&mut this.socket, &mut this.received));
            // The end of the stream within a reply is the end of the stream.
            if ready!(receive.as_mut().poll(cx))? == 0 {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Packed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// What is known of the reply at the beginning of the received bytes.
#[derive(Default)]
struct Scan {
    /// Where the next element begins; 0 before the first one.
    at: usize,
    /// Number of elements that are still to come, of all arrays that have begun.
    missing: u64,
    flat: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// The reply is not complete.
    Part,
    /// A reply, and its length.
    Reply { bytes: usize, flat: bool },
    /// What was received is no reply of a server that this release knows.
    Unknown,
}

impl Scan {
    /// Looks through the next elements of the reply that `received` begins with. After a reply was found, the next one begins.
    fn look_through(&mut self, received: &[u8]) -> Found {
        let mut missing = if self.at == 0 { 1 } else { self.missing };
        while missing > 0 {
            let Some(Line { kind, number, end }) = Line::at(received, self.at) else { return Found::Part };
            let is_first = self.at == 0;
            let (children, end) = match (kind, number) {
                (b'*' | b'~' | b'>', Some(count)) => (count.max(0).cast_unsigned(), end),
                (b'%', Some(pairs)) => (pairs.max(0).cast_unsigned().saturating_mul(2), end),
                // It precedes the element that it describes.
                (b'|', Some(pairs)) => (pairs.max(0).cast_unsigned().saturating_mul(2).saturating_add(1), end),
                (b'$' | b'=' | b'!', Some(bytes)) => {
                    let whole = usize::try_from(bytes).map_or(end, |bytes| end.saturating_add(bytes).saturating_add(2));
                    if whole > received.len() {
                        return Found::Part;
                    }
                    (0, whole)
                }
                (b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(', _) => (0, end),
                _ => return Found::Unknown,
            };
            self.flat = if is_first { kind == b'*' && children >= 2 } else { self.flat && matches!(kind, b'$' | b'_') };
            missing = (missing - 1).saturating_add(children);
            (self.at, self.missing) = (end, missing);
        }
        let Self { at: bytes, flat, .. } = std::mem::take(self);
        Found::Reply { bytes, flat }
    }
}

/// The line that an element begins with.
struct Line {
    kind: u8,
    /// `None` if the line is another text.
    number: Option<i64>,
    /// Where the next line, or the content, begins.
    end: usize,
}

impl Line {
    /// Returns the line at a place, if it was received as a whole.
    #[inline]
    fn at(received: &[u8], at: usize) -> Option<Self> {
        let (&kind, rest) = received.get(at..)?.split_first()?;
        let length = rest.windows(2).position(|two| two == LINE_END)?;
        Some(Self { kind, number: number(&rest[..length]), end: at + 1 + length + LINE_END.len() })
    }
}

/// Parses a number of at most 18 digits.
fn number(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let digit = |value: i64, digit: &u8| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0'));
    digits.iter().try_fold(0, digit).map(|value| sign * value)
}

/// The elements of a flat reply. They share its buffer.
pub(crate) struct Elements {
    reply: Bytes,
    at: usize,
    missing: usize,
}

impl Elements {
    /// Returns `None` if it is not the content of an array.
    pub(crate) fn of(reply: Vec<u8>) -> Option<Self> {
        let Line { kind: b'*', number: Some(count), end } = Line::at(&reply, 0)? else { return None };
        Some(Self { reply: reply.into(), at: end, missing: usize::try_from(count).ok()? })
    }
}

impl Iterator for Elements {
    type Item = Option<Bytes>;

    /// Ends early if an element is neither a string nor nil.
    fn next(&mut self) -> Option<Self::Item> {
        self.missing = self.missing.checked_sub(1)?;
        let Line { kind, number, end } = Line::at(&self.reply, self.at)?;
        let bytes = match (kind, number) {
            (b'_', _) => -1,
            (b'$', Some(bytes)) => bytes,
            _ => return None,
        };
        let Ok(bytes) = usize::try_from(bytes) else {
            self.at = end;
            return Some(None);
        };
        self.at = end.saturating_add(bytes).saturating_add(LINE_END.len());
        if self.at > self.reply.len() {
            return None;
        }
        Some(Some(self.reply.slice(end..end + bytes)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// A socket that delivers at most `size` bytes at a time.
    struct Pieces {
        bytes: Bytes,
        size: usize,
    }

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let size = self.size;
            pass(&mut self.bytes, size, out);
            Poll::Ready(Ok(()))
        }
    }

    /// What the client receives if the server's bytes arrive in pieces of `size`, and it reads `room` bytes at a time.
    async fn received(sent: &[u8], size: usize, room: usize) -> Vec<u8> {
        let mut packed = Packed::new(Pieces { bytes: Bytes::copy_from_slice(sent), size });
        let (mut all, mut part) = (Vec::new(), vec![0; room]);
        loop {
            match packed.read(&mut part).await.expect("the bytes are read") {
                0 => return all,
                bytes => all.extend_from_slice(&part[..bytes]),
            }
        }
    }

    async fn check(sent: &[u8], expected: &[u8]) {
        for size in 1..=sent.len() {
            for room in [1, 2, 7, 1000] {
                let all = received(sent, size, room).await;
                assert_eq!(all, expected, "{:?} in pieces of {size}", String::from_utf8_lossy(sent));
            }
        }
    }

    #[tokio::test]
    async fn a_flat_reply_is_one_string_and_the_others_are_passed_on() {
        let flat = b"*3\r\n$4\r\na\r\nb\r\n$-1\r\n_\r\n";
        let packed = [format!("${}\r\n", flat.len()).as_bytes(), flat, b"\r\n"].concat();
        let others: [&[u8]; 18] = [
            b"+OK\r\n",
            b"-ERR *2\r\n",
            b":-7\r\n",
            b"$5\r\n*2\r\nx\r\n",
            b"$0\r\n\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*1\r\n$1\r\na\r\n",
            b"*2\r\n:1\r\n$1\r\na\r\n",
            b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"%1\r\n$1\r\na\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"~2\r\n$1\r\na\r\n$1\r\nb\r\n",
            b">2\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"|1\r\n$1\r\na\r\n:1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"=5\r\ntxt:a\r\n",
            b"!3\r\nERR\r\n",
            b",1.5\r\n",
        ];
        for other in others {
            check(other, other).await;
            check(&[flat, other, flat].concat(), &[&packed, other, &packed].concat()).await;
        }
    }

    #[tokio::test]
    async fn what_is_no_reply_is_passed_on_as_it_is() {
        for odd in
            [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"*x\r\n", b"$12345678901234567890\r\n", b"*?\r\n:1\r\n.\r\n"]
        {
            check(odd, odd).await;
            check(&[&b"+OK\r\n"[..], odd].concat(), &[&b"+OK\r\n"[..], odd].concat()).await;
        }
    }

    #[tokio::test]
    async fn the_end_of_the_stream_within_a_reply_is_its_end() {
        assert_eq!(received(b"+OK\r\n*2\r\n$1\r\na\r\n$1\r", 4, 8).await, b"+OK\r\n");
        assert_eq!(received(b"", 4, 8).await, b"");
    }

    #[test]
    fn a_packed_reply_is_taken_apart_and_damaged_bytes_end_early() {
        let reply = b"*4\r\n$4\r\na\r\nb\r\n$-1\r\n_\r\n$0\r\n\r\n";
        let elements: Vec<_> = Elements::of(reply.to_vec()).expect("an array").collect();
        let text = |text: &'static [u8]| Some(Bytes::from_static(text));
        assert_eq!(elements, [text(b"a\r\nb"), None, None, text(b"")]);
        for length in 0..reply.len() {
            let whole = Elements::of(reply[..length].to_vec()).map_or(0, Iterator::count);
            assert!(whole < 4, "cut after {length} bytes");
        }
        assert!(Elements::of(b"$1\r\na\r\n".to_vec()).is_none());
        assert_eq!(Elements::of(b"*2\r\n:1\r\n$1\r\na\r\n".to_vec()).expect("an array").count(), 0);
    }
}
