//! The connection that the log is read from logs in by the rules of all others: each server that it could reach is one that
//! the others do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cachefront_binlog::{BinlogSource, BinlogSourceBuilder};
use cachefront_core::source::{ChangeSource, Columns};
use cachefront_core::{Error, ErrorKind};
use cachefront_testkit::server::mysql::MySql;
use cachefront_testkit::{address, port};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::server::{Database, USERS, drain, lines};
use crate::tls::{Authority, server_of};

/// An address whose first connections lead to one server, and all others to another.
struct Turn {
    port: u16,
    /// Connections that were made.
    made: Arc<AtomicUsize>,
    /// The number of the first connection that leads to the other server.
    turns_at: Arc<AtomicUsize>,
    _listening: JoinSet<()>,
}

impl Turn {
    async fn of(first: u16, second: u16) -> Self {
        let own = port::free();
        let listener = TcpListener::bind(("127.0.0.1", own)).await.expect("a listener");
        let (made, turns_at) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(usize::MAX)));
        let (counted, limit) = (Arc::clone(&made), Arc::clone(&turns_at));
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let turned = counted.fetch_add(1, Ordering::SeqCst) >= limit.load(Ordering::SeqCst);
                let port = if turned { second } else { first };
                connections.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                        // Either side may end it at any time.
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { port: own, made, turns_at, _listening: listening }
    }

    /// Opens the log twice: on one server, and then so that the last connection, which is that of the log, leads to the other.
    async fn open(&self, db: &mut Database, builder: impl Fn(String) -> BinlogSourceBuilder) -> Error {
        let (from, filter) = (db.checkpoint().await, db.interest("users", Columns::All));
        let mut source = builder(address::admin_url(self.port)).connect().await.expect("a source");
        let before = self.made.load(Ordering::SeqCst);
        source.open(&from, &filter).await.expect("all of it on the first server");
        let connections = self.made.load(Ordering::SeqCst) - before;
        self.turns_at.store(self.made.load(Ordering::SeqCst) + connections - 1, Ordering::SeqCst);
        source.open(&from, &filter).await.expect_err("the log's connection leads to the second server")
    }
}

#[tokio::test]
async fn the_logs_connection_checks_certificate_and_server() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    ours.issue("server", "IP:127.0.0.1");
    theirs.issue("server", "IP:127.0.0.1");
    let (first, stranger, twin) = tokio::join!(server_of(&ours), server_of(&theirs), server_of(&ours));
    let mut db = Database::on_private(&first).await;
    db.run(&[USERS]).await;
    let builder = |url: String| BinlogSource::builder(url).tls_ca_file(ours.path("ca.pem"));
    let error = Turn::of(first.port(), stranger.port()).await.open(&mut db, builder).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.chain());
    assert!(error.to_string().contains("not signed by the CA given"), "{error}");
    let error = Turn::of(first.port(), twin.port()).await.open(&mut db, builder).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(error.to_string().contains("the log's connection reached server"), "{error}");
    // By the name that is set instead of the host.
    let named = |url: String| builder(url).tls_server_name("127.0.0.1");
    let error = Turn::of(first.port(), twin.port()).await.open(&mut db, named).await;
    assert!(error.to_string().contains("the log's connection reached server"), "{error}");
    let unchecked = |url: String| BinlogSource::builder(format!("{url}?require_ssl=true&verify_ca=false"));
    let error = Turn::of(first.port(), stranger.port()).await.open(&mut db, unchecked).await;
    assert!(error.to_string().contains("the log's connection reached server"), "{error}");
}

#[tokio::test]
async fn the_logs_connection_sends_a_password_that_is_not_cached() {
    let ours = Authority::new();
    ours.issue("server", "IP:127.0.0.1");
    let (first, second) = tokio::join!(server_of(&ours), server_of(&ours));
    let mut db = Database::on_private(&first).await;
    db.run(&[USERS]).await;
    let plain = |url: String| BinlogSource::builder(url);
    let secure = |url: String| BinlogSource::builder(url).tls_ca_file(ours.path("ca.pem"));
    // It forgets the passwords that it has seen, so that one is sent: encrypted with its key, and over TLS.
    second.execute("FLUSH PRIVILEGES").await;
    let error = Turn::of(first.port(), second.port()).await.open(&mut db, plain).await;
    assert!(error.to_string().contains("the log's connection reached server"), "{}", error.chain());
    second.execute("FLUSH PRIVILEGES").await;
    let error = Turn::of(first.port(), second.port()).await.open(&mut db, secure).await;
    assert!(error.to_string().contains("the log's connection reached server"), "{}", error.chain());
    // A wrong one is refused.
    let change = "ALTER USER CURRENT_USER() IDENTIFIED BY 'another'";
    second.execute(change).await;
    let error = Turn::of(first.port(), second.port()).await.open(&mut db, plain).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.chain());
    assert!(error.to_string().contains("refused user"), "{error}");
}

#[tokio::test]
async fn a_compressed_connection_has_the_same_log() {
    let mut db = Database::create().await;
    db.run(&["CREATE TABLE docs (id INT PRIMARY KEY, doc LONGTEXT)"]).await;
    let from = db.checkpoint().await;
    let url = format!("{}/?compression=true", db.url.trim_end_matches('/'));
    let mut source = BinlogSource::connect(&url).await.expect("a source");
    source.open(&from, &db.interest("docs", Columns::All)).await.expect("open");
    // Less than is compressed, and more than a packet holds.
    db.run(&["INSERT INTO docs VALUES (1, 'a')", "INSERT INTO docs VALUES (2, REPEAT('xyz', 7 * 1024 * 1024))"]).await;
    db.run(&["DELETE FROM docs WHERE id = 1"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["insert >1", "insert >2", "delete 1>"]);
}

#[tokio::test]
async fn a_socket_of_the_file_system_leads_to_the_log() {
    let mysql = MySql::start(&[]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[USERS]).await;
    let from = db.checkpoint().await;
    let socket: String = mysql_async::prelude::Queryable::query_first(&mut db.conn, "SELECT @@GLOBAL.socket")
        .await
        .expect("a reply")
        .expect("a path");
    let socket = mysql.data_dir().join(socket);
    let url = format!("{}/?socket={}", db.url.trim_end_matches('/'), socket.display());
    let mut source = BinlogSource::connect(&url).await.expect("a source");
    source.open(&from, &db.interest("users", Columns::All)).await.expect("open");
    db.run(&["INSERT INTO users VALUES (1, 'a@x', 1)"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["insert >1"]);
}
