//! A wrong URL, user or password, a server that is not there: each says what to do, and never the password.

use cachefront_binlog::{BinlogSettings, BinlogSource, MySqlGate};
use cachefront_core::source::{ChangeSource, Columns};
use cachefront_core::{Error, ErrorKind};
use cachefront_testkit::port;
use cachefront_testkit::server::mysql::MySql;

use crate::server::{Database, USERS};

async fn refused(url: &str) -> Error {
    let source = BinlogSource::connect(url).await.expect_err("it cannot connect");
    let gate = MySqlGate::connect(url).await.expect_err("it cannot connect");
    assert_eq!((source.kind(), source.to_string()), (gate.kind(), gate.to_string()), "both say the same");
    assert!(!source.chain().contains("s3cret"), "{}", source.chain());
    assert!(!format!("{source:?}").contains("s3cret"), "{source:?}");
    source
}

#[tokio::test]
async fn a_wrong_password_names_the_user() {
    let mut db = Database::create().await;
    let user = db.user("").await;
    let error = refused(&user.url.replace("s3cret%21", "s3cret-wrong")).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains(&format!("refused user `{}`", user.name)), "{error}");
    assert!(error.to_string().contains("password"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let port = port::free();
    let error = refused(&format!("mysql://repl:s3cret@127.0.0.1:{port}")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().starts_with(&format!("no MySQL server listens at 127.0.0.1:{port}")), "{error}");
}

#[tokio::test]
async fn something_that_is_no_server_is_given_up_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    let mut settings = BinlogSettings::default();
    settings.connect_timeout = std::time::Duration::from_millis(200);
    let silent = BinlogSource::builder(format!("mysql://repl:s3cret@{address}")).settings(settings).connect();
    let error = silent.await.expect_err("no server replies");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("200ms"), "{error}");
}

#[tokio::test]
async fn a_malformed_url_says_how_one_looks() {
    for url in ["mysql://repl:s3cret@", "http://repl:s3cret@db/", "db:3306"] {
        let error = refused(url).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
        assert!(error.to_string().contains("mysql://user:password@host:3306/"), "{error}");
    }
}

#[tokio::test]
async fn a_database_in_the_url_need_not_exist() {
    let db = Database::create().await;
    let url = format!("{}/there_is_no_such_database", db.url.trim_end_matches('/'));
    BinlogSource::connect(&url).await.expect("the log is of all databases");
}

#[tokio::test]
async fn the_error_of_a_user_who_may_not_read_the_log_names_the_grant() {
    let mut db = Database::create().await;
    db.run(&[USERS]).await;
    let user = db.user("SELECT, TRIGGER ON *.*").await;
    let filter = db.interest("users", Columns::All);
    let mut source = BinlogSource::connect(&user.url).await.expect("a login");
    let error = source.preflight(&filter).await.expect_err("rights are missing");
    assert_eq!(error.kind(), ErrorKind::Config);
    let grant = format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{}'@'%'", user.name);
    assert!(error.to_string().contains(&grant), "{error}");
    // And without the preflight the log's stream says so itself.
    let from = db.checkpoint().await;
    let error = source.open(&from, &filter).await.expect_err("rights are missing");
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.chain());
    assert!(error.to_string().contains("GRANT REPLICATION SLAVE"), "{error}");
    db.run(&[&grant]).await;
    let mut source = BinlogSource::connect(&user.url).await.expect("a login");
    assert_eq!(source.preflight(&filter).await.expect("all is well"), Vec::<String>::new());
    source.open(&from, &filter).await.expect("the log opens");
}

#[tokio::test]
async fn a_gate_needs_gtids() {
    let mysql = MySql::start(&["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]).await;
    let error = MySqlGate::connect(&mysql.url()).await.expect_err("no GTIDs");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("SET PERSIST gtid_mode=ON"), "{error}");
}
