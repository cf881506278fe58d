//! TLS: checked against the CA given, refused with every other.

use std::path::{Path, PathBuf};
use std::process::Command;

use cachefront_binlog::{BinlogSource, MySqlGate};
use cachefront_core::source::{ChangeSource, Columns};
use cachefront_core::{Error, ErrorKind};
use cachefront_testkit::server::{self, mysql::MySql};

use crate::server::{Database, USERS, drain, lines};

/// Certificates made for one test.
pub(crate) struct Authority {
    dir: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let authority = Self { dir: server::temporary_dir("tls") };
        authority.run("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem");
        authority
    }

    /// A server's key and certificate for these names.
    pub(crate) fn issue(&self, name: &str, names: &str) {
        std::fs::write(self.path("names"), format!("subjectAltName={names}\n")).expect("the names are written");
        self.run(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        self.run(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out {name}.pem"
        ));
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn run(&self, arguments: &str) {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(self.dir.path()).output();
        let output = output.expect("the program openssl is needed: apt-get install openssl");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

async fn refused(url: &str, ca: Option<&Path>) -> Error {
    let mut builder = BinlogSource::builder(url);
    if let Some(ca) = ca {
        builder = builder.tls_ca_file(ca);
    }
    builder.connect().await.expect_err("it must not connect")
}

/// Starts a server with the certificate `server` of this authority.
pub(crate) async fn server_of(authority: &Authority) -> MySql {
    let file = |name: &str| authority.path(name).display().to_string();
    let options = [
        format!("--ssl-ca={}", file("ca.pem")),
        format!("--ssl-cert={}", file("server.pem")),
        format!("--ssl-key={}", file("server.key")),
    ];
    MySql::start(&options.each_ref().map(String::as_str)).await
}

#[tokio::test]
async fn the_certificate_is_checked_against_the_ca() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    ours.issue("server", "IP:127.0.0.1,DNS:db.internal");
    let mysql = server_of(&ours).await;
    let mut db = Database::on_private(&mysql).await;
    let user = db.user("REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.*").await;
    db.run(&[USERS, &format!("ALTER USER {} REQUIRE SSL", user.name)]).await;

    let error = refused(&user.url, None).await;
    assert_eq!(error.kind(), ErrorKind::Config, "without TLS the server refuses connections: {error}");
    for (ca, what) in [(Some(theirs.path("ca.pem")), "another CA"), (None, "the public CAs")] {
        let error = refused(&format!("{}?require_ssl=true", user.url), ca.as_deref()).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{what}: {}", error.chain());
        let cause = if ca.is_some() { "not signed by the CA given" } else { "no CA was given" };
        assert!(error.to_string().contains(cause) && error.to_string().contains("`tls_ca_file`"), "{error}");
    }
    let error = refused(&user.url, Some(Path::new("/nowhere/ca.pem"))).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");

    let from = db.checkpoint().await;
    let mut source =
        BinlogSource::builder(&user.url).tls_ca_file(ours.path("ca.pem")).connect().await.expect("the right CA");
    source.open(&from, &db.interest("users", Columns::All)).await.expect("open");
    db.run(&["INSERT INTO users VALUES (1, 'a@x', 1)"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["insert >1"]);
    let gate = source.gate().expect("a gate over the same TLS");
    assert!(gate.wait(&from.position, std::time::Duration::from_secs(1)).await.expect("the server replies"));
    MySqlGate::connect_tls(&user.url, ours.path("ca.pem")).await.expect("a gate");

    // The name counts too: by another name of the certificate, and by one that it lacks.
    let named =
        |name: &str| BinlogSource::builder(&user.url).tls_ca_file(ours.path("ca.pem")).tls_server_name(name).connect();
    named("db.internal").await.expect("the certificate has this name");
    let error = named("other.internal").await.expect_err("the certificate lacks this name");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("subject alternative name"), "{error}");
}

#[tokio::test]
async fn an_account_may_require_a_certificate_of_the_client() {
    let ours = Authority::new();
    ours.issue("server", "IP:127.0.0.1");
    ours.issue("client", "DNS:cache");
    let mysql = server_of(&ours).await;
    let mut db = Database::on_private(&mysql).await;
    let user = db.user("REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.*").await;
    db.run(&[USERS, &format!("ALTER USER {} REQUIRE X509", user.name)]).await;
    let error = refused(&user.url, Some(&ours.path("ca.pem"))).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.chain());
    let builder = BinlogSource::builder(&user.url).tls_ca_file(ours.path("ca.pem"));
    let mut source =
        builder.tls_client_files(ours.path("client.pem"), ours.path("client.key")).connect().await.expect("both");
    let filter = db.interest("users", Columns::All);
    source.preflight(&filter).await.expect("every connection has the certificate");
    let from = db.checkpoint().await;
    source.open(&from, &filter).await.expect("the log's too");
    db.run(&["INSERT INTO users VALUES (1, 'a@x', 1)"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["insert >1"]);
    let absent = BinlogSource::builder(&user.url).tls_client_files("/nowhere/client.pem", "/nowhere/client.key");
    assert!(absent.connect().await.expect_err("no file").to_string().contains("/nowhere/client.pem"));
}

#[tokio::test]
async fn the_certificate_that_mysql_makes_by_itself_names_no_host() {
    let mut mysql = MySql::start(&[]).await;
    let url = mysql.url();
    let error = refused(&url, Some(&mysql.data_dir().join("ca.pem"))).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.chain());
    assert!(error.to_string().contains("the one that MySQL generates by itself never does"), "{error}");
    mysql.restart_with(&["--tls-version="]).await;
    let error = refused(&format!("{url}?require_ssl=true"), None).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.chain());
    assert!(error.to_string().contains("offers no TLS"), "{error}");
}
