//! A server for tests that logs any user in, replies to the queries of a reader, and then sends the log that a test wrote;
//! and the events of such a log.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The UUID of the server.
pub(crate) const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
const EOF: &[u8] = &[0xfe, 0, 0, 2, 0];

/// A server that runs until it is dropped.
pub(crate) struct Scripted {
    pub(crate) url: String,
    _serving: JoinSet<()>,
}

impl Scripted {
    /// Serves the same events to every reader, and then ends the stream.
    pub(crate) async fn serve(events: Vec<Vec<u8>>) -> Self {
        Self::serve_as("9.7.4", events).await
    }

    /// Serves events as a server of this version. It has MySQL's variables, except that `@@read_only` is a word.
    pub(crate) async fn serve_as(version: &'static str, events: Vec<Vec<u8>>) -> Self {
        Self::play(Script { version, events, ..Script::default() }).await
    }

    /// Serves events as the server of this identity, and waits before the last one.
    pub(crate) async fn serve_late(identity: &'static str, delay: Duration, events: Vec<Vec<u8>>) -> Self {
        Self::play(Script { identity, delay, events, ..Script::default() }).await
    }

    /// Never replies to this query.
    pub(crate) async fn without_reply_to(sql: &'static str) -> Self {
        Self::play(Script { unanswered: Some(sql), ..Script::default() }).await
    }

    async fn play(script: Script) -> Self {
        Self::listen(move |mut client| {
            let script = script.clone();
            async move { session(&mut client, &script).await }
        })
        .await
    }

    /// Refuses every client with this error instead of a greeting.
    pub(crate) async fn refuse(code: u16, message: &'static str) -> Self {
        Self::listen(move |mut client| async move {
            // Before a greeting, an error has no SQLSTATE.
            let packet = [&[0xff], &code.to_le_bytes()[..], message.as_bytes()].concat();
            send(&mut client, 0, &packet).await
        })
        .await
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("mysql://repl@").trim_end_matches('/')
    }

    async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let url = format!("mysql://repl@{}/", listener.local_addr().expect("its address"));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let session = serve(client);
                sessions.spawn(async move { session.await.unwrap_or_default() });
            }
        });
        Self { url, _serving: serving }
    }
}

/// What a server says.
#[derive(Clone)]
struct Script {
    version: &'static str,
    identity: &'static str,
    events: Vec<Vec<u8>>,
    /// How long it waits before the last event.
    delay: Duration,
    /// A query that it never replies to.
    unanswered: Option<&'static str>,
}

impl Default for Script {
    fn default() -> Self {
        Self { version: "9.7.4", identity: UUID, events: Vec::new(), delay: Duration::ZERO, unanswered: None }
    }
}

/// The bytes of an event without a checksum.
pub(crate) fn bytes_of(kind: u8, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.push(kind);
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend((19 + body.len() as u32).to_le_bytes());
    bytes.extend(4_u32.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(body);
    bytes
}

/// The body of a format description with this algorithm, and room for its checksum.
pub(crate) fn format_body(algorithm: u8) -> Vec<u8> {
    let mut body = vec![4, 0];
    body.extend(b"9.7.4");
    body.resize(56, 0);
    body.push(19);
    body.resize(57 + 42, 0);
    body.push(algorithm);
    body.extend([0; 4]);
    body
}

/// The body of a compressed transaction that declares `unpacked` bytes of events.
pub(crate) fn payload_body(algorithm: u8, unpacked: u64, packed: &[u8]) -> Vec<u8> {
    let algorithm = if algorithm == 255 { vec![2, 3, 0xfc, 255, 0] } else { vec![2, 1, algorithm] };
    let mut body = algorithm;
    body.extend([3, 9, 0xfe]);
    body.extend(unpacked.to_le_bytes());
    body.extend([1, 9, 0xfe]);
    body.extend((packed.len() as u64).to_le_bytes());
    body.push(0);
    body.extend(packed);
    body
}

/// Logs a client in, and replies to its commands until it goes.
async fn session(client: &mut TcpStream, script: &Script) -> std::io::Result<()> {
    send(client, 0, &greeting_as(script.version, false)).await?;
    receive(client).await?;
    send(client, 2, OK).await?;
    loop {
        let command = receive(client).await?;
        match command.split_first() {
            Some((0x03, sql)) if script.unanswered.is_some_and(|query| query.as_bytes() == sql) => {}
            Some((0x03, sql)) => reply(client, &String::from_utf8_lossy(sql), script.identity).await?,
            // With a position of MySQL, or of MariaDB.
            Some((0x1e | 0x12, _)) => {
                for (number, event) in script.events.iter().enumerate() {
                    if number + 1 == script.events.len() {
                        // sleep: a server that searches its log for the position.
                        tokio::time::sleep(script.delay).await;
                    }
                    let packet = [&[0], &event[..]].concat();
                    send(client, number as u8 + 1, &packet).await?;
                }
                send(client, script.events.len() as u8 + 1, EOF).await?;
            }
            _ => send(client, 1, OK).await?,
        }
    }
}

/// Replies to a query: one row if it reads variables.
async fn reply(client: &mut TcpStream, sql: &str, identity: &str) -> std::io::Result<()> {
    // A variable that is not compared is returned as it is.
    let read_only = if sql.contains("CAST(@@GLOBAL.read_only AS CHAR) NOT IN") { "0" } else { "OFF" };
    let row = if sql.contains("@@GLOBAL.server_uuid") {
        let mut row = vec![format!("{UUID}:1-5"), identity.to_owned()];
        row.extend(sql.contains("@@GLOBAL.read_only").then(|| read_only.to_owned()));
        row
    } else if sql.contains("@@GLOBAL.read_only") {
        vec![read_only.to_owned()]
    } else if sql == "SELECT 'a word'" {
        vec!["word".to_owned()]
    } else if sql.contains("@@") && sql.starts_with("SELECT") {
        vec!["28800".to_owned()]
    } else {
        return send(client, 1, OK).await;
    };
    let mut packets = vec![vec![row.len() as u8]];
    packets.extend(row.iter().map(|_| column()));
    packets.push(EOF.to_vec());
    packets.push(row.iter().flat_map(|value| [&[value.len() as u8], value.as_bytes()].concat()).collect());
    packets.push(EOF.to_vec());
    for (number, packet) in (1..).zip(packets) {
        send(client, number, &packet).await?;
    }
    Ok(())
}

/// The first packet of a server that takes native passwords, and TLS or not.
pub(crate) fn greeting(tls: bool) -> Vec<u8> {
    greeting_as("9.7.4", tls)
}

/// The first packet of a server of this version.
fn greeting_as(version: &str, tls: bool) -> Vec<u8> {
    let capabilities: u32 = 0x0008_a201 | if tls { 0x0800 } else { 0 };
    let mut packet = vec![10];
    packet.put_slice(version.as_bytes());
    packet.put_u8(0);
    packet.put_u32_le(7);
    packet.put_slice(b"saltsalt\0");
    packet.put_u16_le(capabilities as u16);
    packet.put_slice(&[255, 2, 0]);
    packet.put_u16_le((capabilities >> 16) as u16);
    packet.put_u8(21);
    packet.put_bytes(0, 10);
    packet.put_slice(b"saltsaltsalt\0mysql_native_password\0");
    packet
}

/// The description of a column of text.
fn column() -> Vec<u8> {
    let mut packet = Vec::new();
    for name in ["def", "", "", "", "v", ""] {
        packet.put_u8(name.len() as u8);
        packet.put_slice(name.as_bytes());
    }
    packet.put_u8(12);
    packet.put_u16_le(45);
    packet.put_u32_le(1_024);
    packet.put_slice(&[0xfd, 0, 0, 0, 0, 0]);
    packet
}

async fn send(client: &mut TcpStream, number: u8, packet: &[u8]) -> std::io::Result<()> {
    let mut bytes = BytesMut::new();
    bytes.put_u32_le(packet.len() as u32 | u32::from(number) << 24);
    bytes.put_slice(packet);
    client.write_all(&bytes).await
}

async fn receive(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = client.read_u32_le().await? & 0x00ff_ffff;
    let mut packet = vec![0; length as usize];
    client.read_exact(&mut packet).await?;
    Ok(packet)
}
