//! Checks whether a server can be followed exactly. Each finding has a reason and the SQL that fixes it.
//!
//! The checks read the *global* variables. A session with the privilege to do so may set its own; what it then writes is
//! detected in the log as a gap and is never lost.

mod collation;
mod finding;
mod kept;
mod mariadb;
mod missing;
mod queries;
mod relay;
mod rights;
mod server;
mod tables;

use std::collections::BTreeSet;

use cachefront_core::event::TableName;
use cachefront_core::source::TableFilter;
use cachefront_core::{Error, ErrorKind, Result};
use mysql_async::Conn;

use crate::config::BinlogSettings;
use crate::conn::Server;
use crate::names::Names;
use crate::origin::Origin;
use crate::position::POSITION;
use crate::preflight::finding::Finding;
pub(crate) use crate::preflight::finding::Rules;
use crate::preflight::queries::{Checks, Queries, Variables};

/// Runs all checks over a connection of its own, so that it can be called and dropped at any time. Returns the warnings, and notes
/// which of the filter's tables are `missing`.
///
/// # Errors
/// `Config` with every finding that prevents a start; `Timeout` if the settings, or one table, take longer than
/// `preflight_timeout`; otherwise the server's error.
pub(crate) async fn run(
    server: &Server,
    origin: &Origin,
    filter: &TableFilter,
    settings: &BinlogSettings,
    rules: Rules,
    missing: &mut BTreeSet<TableName>,
) -> Result<Vec<String>> {
    let mut conn = limited("the server's settings", server, settings, server.connect()).await?;
    let checks = check(&mut conn, server, origin, filter, settings, rules).await?;
    server.disconnect(conn).await;
    missing.retain(|table| filter.get(table).is_none());
    missing.extend(checks.missing);
    let findings = checks.findings;
    let (refused, warned): (Vec<_>, Vec<_>) = findings.into_iter().partition(|finding| finding.refuse);
    if refused.is_empty() {
        return Ok(warned.iter().map(ToString::to_string).collect());
    }
    let list: Vec<String> = refused.iter().map(ToString::to_string).collect();
    let text = format!("the log of {} cannot be followed exactly: {}", server.address(), list.join("; "));
    Err(Error::new(ErrorKind::Config, text))
}

/// Checks only the server's settings, for programs that read its log by other means.
///
/// # Errors
/// The error of the server.
pub(crate) async fn of_server(server: &Server, settings: &BinlogSettings) -> Result<Vec<String>> {
    let mut conn = server.connect().await?;
    let variables = Variables::read(&mut Queries { conn: &mut conn, server }).await;
    server.disconnect(conn).await;
    let mut variables = variables?;
    // Such programs do not need the column names of the log.
    variables.0.remove("binlog_row_metadata");
    let findings = match variables.is_mariadb() {
        true => mariadb::check(&variables, settings),
        false => server::check(&variables, settings),
    };
    Ok(findings.iter().map(ToString::to_string).collect())
}

/// Waits for a part of the checks, up to `preflight_timeout`.
///
/// # Errors
/// `Timeout`, naming the setting.
async fn limited<T>(
    what: &str,
    server: &Server,
    settings: &BinlogSettings,
    checks: impl Future<Output = Result<T>>,
) -> Result<T> {
    let limit = settings.preflight_timeout;
    tokio::time::timeout(limit, checks).await.unwrap_or_else(|_| {
        let address = server.address();
        let text = format!("{what} could not be checked on {address} within {limit:?}: if the server is only slow, raise `preflight_timeout`");
        Err(Error::new(ErrorKind::Timeout, text))
    })
}

/// Runs the checks in order of their cost. Each adds its findings.
async fn check(
    conn: &mut Conn,
    server: &Server,
    origin: &Origin,
    filter: &TableFilter,
    settings: &BinlogSettings,
    rules: Rules,
) -> Result<Checks> {
    let mut queries = Queries { conn, server };
    let general = check_server(&mut queries, origin, filter, settings, rules);
    let mut checks = limited("the server's settings", server, settings, general).await?;
    for (table, _) in filter.iter() {
        let checked = tables::check(&mut queries, table, filter, &mut checks);
        limited(&format!("table `{table}`"), server, settings, checked).await?;
    }
    Ok(checks)
}

/// Checks what concerns no single table.
async fn check_server(
    queries: &mut Queries<'_>,
    origin: &Origin,
    filter: &TableFilter,
    settings: &BinlogSettings,
    rules: Rules,
) -> Result<Checks> {
    let server = queries.server;
    let variables = Variables::read(queries).await?;
    if let Some(identity) = identity(queries).await? {
        origin.note(&identity);
    }
    let mut findings = match variables.is_mariadb() {
        true => mariadb::check(&variables, settings),
        false => server::check(&variables, settings),
    };
    if filter.is_relayed() {
        findings.retain(|finding| !finding.is_of("binlog_row_value_options"));
        findings.extend(relay::server(&variables));
    }
    for (option, why) in server.unprotected() {
        findings.push(Finding::warn(
            format!("the URL says {option}"),
            why,
            "remove it from the URL, and name the file of the CA with `tls_ca_file`",
        ));
    }
    let mut checks = Checks { account: account(queries).await?, variables, rules, findings, missing: Vec::new() };
    // These checks need a log.
    if checks.variables.is("log_bin", "ON") {
        rights::check(queries, filter, &mut checks).await?;
    }
    // The checks do not wait for a table that is locked or being altered.
    queries.rows::<mysql_async::Row>("limiting the wait for locks", "SET SESSION lock_wait_timeout = 1", None).await?;
    if let Some(twice) = checks.variables.casing().and_then(|casing| Names::new(filter.clone(), casing).err()) {
        return Err(twice);
    }
    Ok(checks)
}

/// Reads the identity of the server. `None` if it has no GTIDs.
async fn identity(queries: &mut Queries<'_>) -> Result<Option<String>> {
    match queries.attempt(POSITION).await? {
        Ok(rows) => Ok(rows.first().and_then(|row| row.get_opt(1)?.ok())),
        Err(_) => Ok(None),
    }
}

/// Reads the account, in the syntax of GRANT.
async fn account(queries: &mut Queries<'_>) -> Result<String> {
    let rows: Vec<String> = queries.rows("reading the account's name", "SELECT CURRENT_USER()", None).await?;
    let account = rows.into_iter().next().unwrap_or_default();
    let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
    Ok(format!("'{user}'@'{host}'"))
}
