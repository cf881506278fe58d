//! The connection that the log is read from.
//!
//! The driver decompresses a transaction before its event can be verified: a damaged size then ends the process. So the log
//! has a connection of its own, whose packets are returned as they are. The framing of packets, their compression, and the
//! computations of the login are those of the driver (`mysql_common`); the order of messages is in [`login`].
//!
//! # Packets
//!
//! | bytes | field |
//! |---:|---|
//! | 3 | size, little-endian; 2^24 - 1 if the next packet continues this one |
//! | 1 | number within the command |
//! | n | contents |
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html>. After the login, joined packets are
//! limited by `event_bytes_max`, which is checked before their bytes are awaited.

mod login;
mod packets;
mod tls;

pub(crate) use login::connect;
pub(crate) use packets::{DriverResult, LogConn, is_end, server_error, unexpected};
