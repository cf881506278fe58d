//! The connection that the checks share, and what they read of the server.

use std::collections::HashMap;

use cachefront_core::Result;
use cachefront_core::event::TableName;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::conn::Server;
use crate::names::Casing;
use crate::preflight::finding::{Finding, Rules};
use crate::rows_of::RowsOf;

/// The state that the checks share.
pub(crate) struct Checks {
    /// The account in the syntax of GRANT: `'repl'@'%'`.
    pub(super) account: String,
    pub(super) variables: Variables,
    pub(super) rules: Rules,
    pub(super) findings: Vec<Finding>,
    /// Tables that do not exist, or are not visible to the account.
    pub(super) missing: Vec<TableName>,
}

/// The connection that all checks share.
pub(crate) struct Queries<'a> {
    pub(super) conn: &'a mut Conn,
    pub(super) server: &'a Server,
}

impl Queries<'_> {
    /// Returns the rows of a query, whose parameters are a database and a table if `table` is given. `doing` names it in
    /// errors, as a participle.
    pub(super) async fn rows<R>(&mut self, doing: &str, sql: &str, table: Option<(&str, &str)>) -> Result<Vec<R>>
    where
        R: mysql_async::prelude::FromRow + Send,
    {
        let limit = self.server.query_timeout();
        match table {
            Some(names) => self.server.within(doing, limit, self.conn.all_with(sql, names)).await,
            None => self.server.within(doing, limit, self.conn.all_of(sql)).await,
        }
    }

    /// Returns the rows of a query, or the error number if the server refuses it.
    pub(super) async fn attempt(&mut self, sql: &str) -> Result<std::result::Result<Vec<mysql_async::Row>, u16>> {
        let limit = self.server.query_timeout();
        let query = async {
            match self.conn.query(sql).await {
                Ok(rows) => Ok(Ok(rows)),
                Err(mysql_async::Error::Server(refused)) => Ok(Err(refused.code)),
                Err(cause) => Err(cause),
            }
        };
        self.server.within("reading the server's state", limit, query).await
    }
}

/// The global variables of the server. A variable that it does not know is absent.
#[derive(Debug, Default)]
pub(crate) struct Variables(pub(super) HashMap<String, String>);

impl Variables {
    /// # Errors
    /// That of the server.
    pub(super) async fn read(queries: &mut Queries<'_>) -> Result<Self> {
        // The underscores match any character: a server with NO_BACKSLASH_ESCAPES cannot escape them with a backslash.
        let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name LIKE 'binlog_%' OR Variable_name LIKE '%log_bin' OR \
                   Variable_name IN ('gtid_mode', 'enforce_gtid_consistency', 'version', 'lower_case_table_names', \
                   'log_replica_updates', 'log_slave_updates', 'gtid_strict_mode', 'innodb_native_foreign_keys')";
        let rows: Vec<(String, String)> = queries.rows("reading the server's variables", sql, None).await?;
        Ok(Self(rows.into_iter().collect()))
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns true if the variable has this value, without regard to case.
    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.get(name).is_some_and(|own| own.eq_ignore_ascii_case(value))
    }

    pub(crate) fn is_mariadb(&self) -> bool {
        self.get("version").is_some_and(|version| version.to_ascii_lowercase().contains("mariadb"))
    }

    /// How the server compares names. `None` if it does not say.
    pub(crate) fn casing(&self) -> Option<Casing> {
        Some(Casing::of_server(self.get("lower_case_table_names")?.parse().ok()?))
    }

    /// The major and minor version; 0 if a part cannot be parsed.
    pub(crate) fn version(&self) -> (u32, u32) {
        let mut numbers =
            self.get("version").unwrap_or_default().split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}
