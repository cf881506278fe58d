//! The first connection: reports an error in one line, and creates what is missing.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Error, Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts};
use simulator_cli::{CliError, ExposeSecret, host, root_cause};
use tokio::time::Instant;

use crate::settings::{Settings, Stack};
use crate::waiting::{PAUSE, Waiting};

/// The database if the URL names none.
const DATABASE_DEFAULT: &str = "cachefront";

/// Minimum and maximum number of connections in the pool.
const CONNECTIONS: (usize, usize) = (2, 64);

const USERS: &str = "CREATE TABLE IF NOT EXISTS users (
    id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    email VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL UNIQUE,
    updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    status VARCHAR(16) CHARACTER SET ascii NOT NULL DEFAULT 'active'
) DEFAULT CHARACTER SET utf8mb4";

/// Columns that tables of earlier versions lack: table, column, and its definition. Each is added once: it is in the log as a
/// change of the table.
const ADDED: [(&str, &str, &str); 2] = [
    ("users", "status", "VARCHAR(16) CHARACTER SET ascii NOT NULL DEFAULT 'active'"),
    ("cachefront_audit", "times", "BIGINT UNSIGNED NOT NULL DEFAULT 1"),
];

/// Another process has added the column at the same moment.
const DUPLICATE_COLUMN: u16 = 1060;

const SETTINGS: &str = "CREATE TABLE IF NOT EXISTS cachefront_settings (
    name VARCHAR(64) CHARACTER SET ascii PRIMARY KEY,
    value VARCHAR(255) NOT NULL,
    environment VARCHAR(255),
    version BIGINT UNSIGNED NOT NULL,
    changed_at TIMESTAMP(6) NOT NULL
) DEFAULT CHARACTER SET utf8mb4";

/// Debezium writes the set of executed transactions into its one row, and reads it back from the log: there, all
/// transactions that the row names come before it.
const HEARTBEAT: &str = "CREATE TABLE IF NOT EXISTS cachefront_heartbeat (
    id INT PRIMARY KEY,
    executed LONGTEXT NOT NULL,
    beat BIGINT UNSIGNED NOT NULL
) DEFAULT CHARACTER SET utf8mb4";

const MODES: &str = "CREATE TABLE IF NOT EXISTS cachefront_modes (
    version BIGINT UNSIGNED PRIMARY KEY,
    mode VARCHAR(8) CHARACTER SET ascii NOT NULL,
    changed_at TIMESTAMP(6) NOT NULL
) DEFAULT CHARACTER SET utf8mb4";

const AUDIT: &str = "CREATE TABLE IF NOT EXISTS cachefront_audit (
    id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
    at TIMESTAMP(6) NOT NULL,
    who VARCHAR(255) NOT NULL,
    what VARCHAR(255) NOT NULL,
    result VARCHAR(255) NOT NULL,
    times BIGINT UNSIGNED NOT NULL DEFAULT 1
) DEFAULT CHARACTER SET utf8mb4";

/// Texts of any length, some of which expire at a time in seconds since 1970.
const KEPT: &str = "CREATE TABLE IF NOT EXISTS cachefront_kept (
    name VARCHAR(128) CHARACTER SET ascii PRIMARY KEY,
    value LONGTEXT NOT NULL,
    expires BIGINT UNSIGNED
) DEFAULT CHARACTER SET utf8mb4";

/// The database that a URL names, or the default one.
pub fn database_name(opts: &Opts) -> &str {
    opts.db_name().filter(|name| !name.is_empty()).unwrap_or(DATABASE_DEFAULT)
}

/// The URL's options, with this program's own settings.
///
/// # Errors
/// A line that names the variable.
pub fn options(stack: &Stack) -> Result<Opts, CliError> {
    let opts = Opts::from_url(stack.mysql_url.expose_secret())
        .map_err(|error| CliError::new(format!("CACHEFRONT_MYSQL_URL is not a MySQL URL: {error}")))?;
    let database = database_name(&opts).to_owned();
    if !database.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$')) {
        return Err(CliError::new(
            "CACHEFRONT_MYSQL_URL: the database's name may hold letters, digits, _, - and $ only",
        ));
    }
    let constraints = PoolConstraints::new(CONNECTIONS.0, CONNECTIONS.1).unwrap_or_default();
    let ssl = opts.ssl_opts().cloned();
    let mut builder = OptsBuilder::from_opts(opts)
        .db_name(Some(database))
        .prefer_socket(Some(false))
        .setup(vec!["SET time_zone = '+00:00'"])
        // No statement changes the session, so a connection is returned as it was taken.
        .pool_opts(PoolOpts::default().with_constraints(constraints).with_reset_connection(false));
    if let (Some(ssl), Some(ca)) = (ssl, stack.tls_ca.as_deref()) {
        // A configured authority is the only one that is trusted: the built-in ones are not.
        let ssl = ssl.with_root_certs(vec![ca.to_owned().into()]).with_disable_built_in_roots(true);
        builder = builder.ssl_opts(ssl);
    }
    Ok(builder.into())
}

/// Connects, and creates the database if it is missing. Tries again until the start's deadline if the server cannot be
/// reached.
///
/// # Errors
/// A line that says what to fix.
pub async fn connect(stack: &Stack, opts: &Opts, settings: &Settings) -> Result<Pool, CliError> {
    let (host, deadline, timeout) = (host(&stack.mysql_url), settings.startup_deadline, settings.startup_timeout);
    let waiting = Waiting::default();
    loop {
        let failure = match tokio::time::timeout_at(deadline, Conn::new(opts.clone())).await {
            Ok(Ok(connection)) => {
                let _ = connection.disconnect().await;
                return Ok(Pool::new(opts.clone()));
            }
            Ok(Err(Error::Server(error))) if error.code == 1049 => {
                match tokio::time::timeout_at(deadline, create_database(opts)).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(failure)) => return Err(refused(host, database_name(opts), &failure)),
                    Err(_) => "no answer".to_owned(),
                }
            }
            Ok(Err(failure @ Error::Server(_))) if !is_passing(&failure) => {
                return Err(refused(host, database_name(opts), &failure));
            }
            Ok(Err(failure)) if is_certificate(&failure) => {
                return Err(CliError::new(format!(
                    "MySQL at {host} is not trusted: {}; name the authority of its certificate in CACHEFRONT_TLS_CA",
                    root_cause(&failure)
                )));
            }
            // For an unknown user a server makes up an authentication plug-in, so that a client cannot find out which
            // names exist.
            Ok(Err(failure @ Error::Driver(DriverError::UnknownAuthPlugin { .. }))) => {
                return Err(CliError::new(format!(
                    "MySQL at {host} refuses: {}; check user and password in CACHEFRONT_MYSQL_URL",
                    root_cause(&failure)
                )));
            }
            Ok(Err(failure)) => root_cause(&failure),
            Err(_) => "no answer".to_owned(),
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(CliError::new(format!(
                "MySQL at {host} cannot be reached within {timeout:?} (CACHEFRONT_MYSQL_URL, \
                 CACHEFRONT_STARTUP_TIMEOUT): {failure}"
            )));
        }
        waiting.pause("MySQL", host, &failure).await;
    }
}

/// The server's certificate is not trusted: trying again does not help.
fn is_certificate(failure: &Error) -> bool {
    matches!(failure, Error::Io(_)) && root_cause(failure).contains("certificate")
}

/// Too many connections, or the server is shutting down or starting up.
fn is_passing(failure: &Error) -> bool {
    matches!(failure, Error::Server(error) if matches!(error.code, 1040 | 1053 | 1203))
}

async fn create_database(opts: &Opts) -> mysql_async::Result<()> {
    let without = OptsBuilder::from_opts(opts.clone()).db_name(None::<String>);
    let mut connection = Conn::new(without).await?;
    // The name was checked: quoting it is enough.
    connection.query_drop(format!("CREATE DATABASE IF NOT EXISTS `{}`", database_name(opts))).await?;
    connection.disconnect().await
}

fn refused(host: &str, database: &str, failure: &Error) -> CliError {
    let code = match failure {
        Error::Server(error) => error.code,
        _ => 0,
    };
    let advice = match code {
        1045 => "check user and password in CACHEFRONT_MYSQL_URL".to_owned(),
        1044 | 1142 | 1049 => format!("GRANT ALL ON `{database}`.* TO the user of CACHEFRONT_MYSQL_URL"),
        _ => "check CACHEFRONT_MYSQL_URL".to_owned(),
    };
    CliError::new(format!("MySQL at {host} refuses: {failure}; {advice}"))
}

/// Creates the tables that are missing. Existing ones are left alone: even a statement that changes nothing would be in
/// the log as a change of the table.
pub(super) async fn install(connection: &mut Conn) -> mysql_async::Result<()> {
    let tables = [
        ("users", USERS),
        ("cachefront_settings", SETTINGS),
        ("cachefront_heartbeat", HEARTBEAT),
        ("cachefront_modes", MODES),
        ("cachefront_audit", AUDIT),
        ("cachefront_kept", KEPT),
    ];
    for (table, create) in tables {
        let found: Option<u8> = connection
            .exec_first(
                "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?",
                (table,),
            )
            .await?;
        if found.is_none() {
            connection.query_drop(create).await?;
        }
    }
    for (table, column, definition) in ADDED {
        add(connection, table, column, definition).await?;
    }
    Ok(())
}

/// Adds a column if the table lacks it.
async fn add(connection: &mut Conn, table: &str, column: &str, definition: &str) -> mysql_async::Result<()> {
    let found: Option<u8> = connection
        .exec_first(
            "SELECT 1 FROM information_schema.columns
             WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ?",
            (table, column),
        )
        .await?;
    if found.is_some() {
        return Ok(());
    }
    match connection.query_drop(format!("ALTER TABLE {table} ADD COLUMN {column} {definition}")).await {
        Err(Error::Server(error)) if error.code == DUPLICATE_COLUMN => Ok(()),
        added => added,
    }
}

#[cfg(test)]
mod tests {
    use simulator_cli::Environment;

    use super::*;
    use crate::settings::{Backend, Flags};

    #[test]
    fn a_url_that_names_an_authority_trusts_no_other() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let ca = file.path().to_str().expect("a path");
        for (ca, only_this_one) in [(ca, true), ("", false)] {
            let environment = Environment::of(&[
                ("CACHEFRONT_MYSQL_URL", "mysql://u@db/shop?require_ssl=true"),
                ("CACHEFRONT_TLS_CA", ca),
            ]);
            let settings = Settings::resolve(true, &Flags::default(), &environment).expect("settings");
            let Backend::Stack(stack) = &settings.backend else { panic!("servers were named") };
            let opts = options(stack).expect("options");
            assert_eq!(opts.ssl_opts().map(|ssl| ssl.disable_built_in_roots()), Some(only_this_one));
        }
    }
}
