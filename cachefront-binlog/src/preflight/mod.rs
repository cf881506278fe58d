//! Whether a server can be followed exactly: what is found, why it matters, and the SQL that fixes it.
//!
//! Checked are the server's *global* values. A session may set its own (with the right to); what it then writes is
//! noticed in the log and is a gap, never a loss.

mod collation;
mod missing;
mod rights;
mod server;
mod tables;

use std::collections::HashMap;
use std::fmt;

use cachefront_core::source::TableFilter;
use cachefront_core::{Error, ErrorKind, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::config::{BinlogSettings, Collations};
use crate::conn::Server;
use crate::origin::Origin;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    refuse: bool,
    what: String,
    why: &'static str,
    fix: String,
}

impl Finding {
    /// The source could not be exact.
    pub(crate) fn refuse(what: impl Into<String>, why: &'static str, fix: impl Into<String>) -> Self {
        Self { refuse: true, what: what.into(), why, fix: fix.into() }
    }

    /// It can, but somebody should know.
    pub(crate) fn warn(what: impl Into<String>, why: &'static str, fix: impl Into<String>) -> Self {
        Self { refuse: false, what: what.into(), why, fix: fix.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. To fix it: {}", self.what, self.why, self.fix)
    }
}

/// What is allowed of the mapped tables.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) collations: Collations,
    pub(crate) allow_missing_tables: bool,
}

/// Asks everything over one connection of its own, so that it can be called at any time, and dropped at any time.
///
/// # Errors
/// `Config` with every finding that forbids a start; `Timeout` after the settings' limit; or any error of the server.
pub(crate) async fn run(
    server: &Server,
    origin: &Origin,
    filter: &TableFilter,
    settings: &BinlogSettings,
    rules: Rules,
) -> Result<Vec<String>> {
    let asking = async {
        let mut conn = server.connect().await?;
        let findings = ask(&mut conn, server, origin, filter, settings, rules).await;
        server.disconnect(conn).await;
        findings
    };
    let limit = settings.preflight_timeout;
    let findings = tokio::time::timeout(limit, asking).await.map_err(|_| {
        let text = format!("the settings and tables of {} could not be checked within {limit:?}", server.address());
        Error::new(ErrorKind::Timeout, text)
    })??;
    let (refused, warned): (Vec<_>, Vec<_>) = findings.into_iter().partition(|finding| finding.refuse);
    if refused.is_empty() {
        return Ok(warned.iter().map(ToString::to_string).collect());
    }
    let list: Vec<String> = refused.iter().map(ToString::to_string).collect();
    let text = format!("the log of {} can not be followed exactly: {}", server.address(), list.join("; "));
    Err(Error::new(ErrorKind::Config, text))
}

/// What the server's settings alone say, for those who read its log through another program.
///
/// # Errors
/// Any error of the server.
pub(crate) async fn of_server(server: &Server, settings: &BinlogSettings) -> Result<Vec<String>> {
    let mut conn = server.connect().await?;
    let variables = Variables::read(&mut Questions { conn: &mut conn, server }).await;
    server.disconnect(conn).await;
    let mut variables = variables?;
    // They know the columns by other means.
    variables.0.remove("binlog_row_metadata");
    Ok(server::check(&variables, settings).iter().map(ToString::to_string).collect())
}

async fn ask(
    conn: &mut Conn,
    server: &Server,
    origin: &Origin,
    filter: &TableFilter,
    settings: &BinlogSettings,
    rules: Rules,
) -> Result<Vec<Finding>> {
    let mut questions = Questions { conn, server };
    let variables = Variables::read(&mut questions).await?;
    if let Some(uuid) = variables.get("server_uuid") {
        origin.note(uuid);
    }
    let mut findings = server::check(&variables, settings);
    if server.trusts_anybody() {
        findings.push(Finding::warn(
            "the URL says verify_ca=false",
            "the server's certificate is not checked, so anybody in between can read and change everything",
            "leave verify_ca out, and name the authority's file as `tls_ca`",
        ));
    }
    let mut checks = Checks { account: account(&mut questions).await?, variables, rules, findings };
    // What is asked next needs a log.
    if checks.variables.is("log_bin", "ON") {
        rights::check(&mut questions, filter, &mut checks).await?;
    }
    // A table that is locked or being altered is not waited for.
    questions
        .rows::<mysql_async::Row>("limiting the wait for locks", "SET SESSION lock_wait_timeout = 1", None)
        .await?;
    for (table, columns) in filter.iter() {
        tables::check(&mut questions, table, columns, &mut checks).await?;
    }
    Ok(checks.findings)
}

/// What the checks share.
pub(crate) struct Checks {
    /// The account as GRANT writes it: `'repl'@'%'`.
    account: String,
    variables: Variables,
    rules: Rules,
    findings: Vec<Finding>,
}

async fn account(questions: &mut Questions<'_>) -> Result<String> {
    let rows: Vec<String> = questions.rows("reading the account's name", "SELECT CURRENT_USER()", None).await?;
    let account = rows.into_iter().next().unwrap_or_default();
    let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
    Ok(format!("'{user}'@'{host}'"))
}

/// The connection that all questions share.
pub(crate) struct Questions<'a> {
    conn: &'a mut Conn,
    server: &'a Server,
}

impl Questions<'_> {
    async fn rows<R>(&mut self, doing: &str, sql: &str, table: Option<(&str, &str)>) -> Result<Vec<R>>
    where
        R: mysql_async::prelude::FromRow + Send + 'static,
    {
        let limit = self.server.query_timeout();
        match table {
            Some(names) => self.server.within(doing, limit, self.conn.exec(sql, names)).await,
            None => self.server.within(doing, limit, self.conn.query(sql)).await,
        }
    }

    /// The server's error number if it refuses, with whatever rows it answers else.
    async fn attempt(&mut self, sql: &str) -> Result<std::result::Result<Vec<mysql_async::Row>, u16>> {
        let limit = self.server.query_timeout();
        let query = async {
            match self.conn.query(sql).await {
                Ok(rows) => Ok(Ok(rows)),
                Err(mysql_async::Error::Server(refused)) => Ok(Err(refused.code)),
                Err(cause) => Err(cause),
            }
        };
        self.server.within("asking for the server's state", limit, query).await
    }
}

/// The server's global variables; one that it does not know is absent.
#[derive(Debug, Default)]
pub(crate) struct Variables(HashMap<String, String>);

impl Variables {
    async fn read(questions: &mut Questions<'_>) -> Result<Self> {
        let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name LIKE 'binlog\\_%' OR Variable_name LIKE '%log\\_bin' OR \
                   Variable_name IN ('gtid_mode', 'enforce_gtid_consistency', 'version', 'lower_case_table_names', \
                   'log_replica_updates', 'innodb_native_foreign_keys', 'server_uuid')";
        let rows: Vec<(String, String)> = questions.rows("reading the server's variables", sql, None).await?;
        Ok(Self(rows.into_iter().collect()))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.get(name).is_some_and(|own| own.eq_ignore_ascii_case(value))
    }

    /// Major and minor version; zero if it can not be read.
    pub(crate) fn version(&self) -> (u32, u32) {
        let mut numbers =
            self.get("version").unwrap_or_default().split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}
