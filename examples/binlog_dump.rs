//! Prints how the binlog adapter decodes MySQL's log, as one JSON object per line.
//!
//! `cargo run --example binlog_dump -- FILE..` reads log files, without a server. `.. -- mysql://user@host/` follows a
//! server's log as a replica would: first everything that the server still has, then every commit as it happens, until
//! interrupted. `--from now` skips existing transactions, `--from 'uuid:1-57'` (on MariaDB `0-101-57`) starts after these
//! transactions, and `--until-now` stops where the log ended at the start.
//!
//! `--table shop.users` shows one table's changes, `--columns id,email` these columns only. `--as-mapping` shows what happens
//! to a cache that is keyed by these columns: each key that a change makes stale, once for each change, and the flushes.
//! `--progress` reports the position on standard error.
//!
//! For events that cannot be decoded it prints `gap` with the reason, and the exit code is 3; 1 means that a file or
//! the server could not be read at all. Rows after a gap in a file are shown if the file itself is intact.

#[path = "show/compact.rs"]
mod compact;
#[path = "show/mod.rs"]
mod show;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use cachefront::binlog::{BinlogFile, BinlogSource};
use cachefront::event::{Change, TableName, Transaction};
use cachefront::source::{BatchLimits, ChangeSource, Checkpoint, Columns, TableFilter};
use cachefront::{Error, ErrorKind, Position};
use clap::Parser;
use show::{Line, Row};

/// Prints how the binlog adapter decodes MySQL's log, as one JSON object per line.
#[derive(Debug, Parser)]
#[command(name = "binlog_dump")]
struct Arguments {
    /// Log files, or the URL of one server: mysql://user:password@host:3306/?require_ssl=true
    #[arg(required = true, value_name = "FILE..|URL")]
    inputs: Vec<String>,
    /// With a URL: where to begin. `oldest` is the first transaction that the server still has, `now` its next one, and
    /// a GTID set names the transactions that are not to be shown again.
    #[arg(long, default_value = "oldest", value_name = "oldest|now|GTID-SET")]
    from: String,
    /// With a URL: end where the log ends now, instead of waiting for more.
    #[arg(long)]
    until_now: bool,
    /// Show this table only; it may be given several times. Changes that may concern any table are always shown. A name with a
    /// dot is in backticks: `shop.example.org`.users
    #[arg(long, value_name = "DATABASE.TABLE")]
    table: Vec<String>,
    /// Show these columns only.
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,..")]
    columns: Vec<String>,
    /// Show what happens to a cache whose keys are made of `--columns`.
    #[arg(long, requires = "columns")]
    as_mapping: bool,
    /// Report the position on standard error, every ten thousand transactions.
    #[arg(long)]
    progress: bool,
}

impl Arguments {
    /// The tables and columns to read.
    fn filter(&self) -> TableFilter {
        if self.table.is_empty() {
            return TableFilter::everything();
        }
        let columns = match self.columns.as_slice() {
            [] => Columns::All,
            names => Columns::Only(names.iter().map(|name| name.as_str().into()).collect()),
        };
        let mut filter = TableFilter::new();
        for table in &self.table {
            filter.add(table_of(table), &columns);
        }
        filter
    }
}

/// The table of `shop.users`, or of `` `shop.example.org`.users `` if a name has a dot.
fn table_of(text: &str) -> TableName {
    match text.strip_prefix('`').and_then(|rest| rest.split_once("`.")) {
        Some((database, name)) => TableName::new(database, name.trim_matches('`')),
        None => match text.split_once(".`") {
            Some((database, name)) => TableName::new(database, name.trim_end_matches('`')),
            None => text.into(),
        },
    }
}

/// Why the program stops early.
enum Stop {
    /// The reader of standard output has closed it.
    Closed,
    /// A file or the server could not be read.
    Failed(String),
}

/// The output, and whether a gap was printed.
struct Out {
    out: std::io::Stdout,
    gaps: bool,
    /// Only these columns are shown; all of them if there are none.
    columns: Vec<String>,
    as_mapping: bool,
    progress: bool,
    /// Number of transactions so far.
    transactions: u64,
}

/// A report of the progress comes after this number of transactions.
const PROGRESS_EVERY: u64 = 10_000;

impl Out {
    fn line(&mut self, line: &Line) -> Result<(), Stop> {
        self.gaps |= line.op == "gap";
        writeln!(self.out.lock(), "{}", line.json()).map_err(|_| Stop::Closed)
    }

    fn gap(&mut self, error: &Error, gtid: Option<String>) -> Result<(), Stop> {
        self.line(&Line { op: "gap", gtid, reason: Some(error.chain()), ..Line::default() })
    }

    fn transaction(&mut self, transaction: &Transaction) -> Result<(), Stop> {
        let gtid = Some(transaction.gtid.to_string());
        self.transactions += 1;
        if self.progress && self.transactions.is_multiple_of(PROGRESS_EVERY) {
            eprintln!("binlog_dump: {} transactions, the last one {}", self.transactions, transaction.gtid);
        }
        if transaction.changes.is_empty() && transaction.complete {
            if self.as_mapping {
                return Ok(());
            }
            return self.line(&Line { op: "none", kind: Some("no-rows"), gtid, ..Line::default() });
        }
        transaction.changes.iter().try_for_each(|change| self.change(change, &gtid))
    }

    fn change(&mut self, change: &Change, gtid: &Option<String>) -> Result<(), Stop> {
        let mut line = line(change, gtid.clone());
        if self.as_mapping {
            return self.mapped(line);
        }
        if !self.columns.is_empty() {
            line.before = line.before.map(|row| among(row, &self.columns));
            line.after = line.after.map(|row| among(row, &self.columns));
        }
        self.line(&line)
    }

    /// Prints what happens to a cache: the key of the row before the change, and that after it if it is another one.
    fn mapped(&mut self, change: Line) -> Result<(), Stop> {
        let Line { table, before, after, gtid, reason, op, .. } = change;
        if op == "gap" {
            return self.line(&Line { op, gtid, reason, ..Line::default() });
        }
        let (rows, mut keys) = (usize::from(before.is_some()) + usize::from(after.is_some()), Vec::new());
        for key in [before, after].into_iter().flatten().filter_map(|row| key_of(row, &self.columns)) {
            keys.push(key);
        }
        if rows == 0 || keys.len() < rows {
            let reason = reason.or_else(|| Some("a column of the key is not in the log".into()));
            return self.line(&Line { op: "flush", table, gtid, reason, ..Line::default() });
        }
        keys.dedup();
        keys.into_iter().try_for_each(|key| {
            self.line(&Line {
                op: "invalidate",
                table: table.clone(),
                key: Some(key),
                gtid: gtid.clone(),
                ..Line::default()
            })
        })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = Out {
        out: std::io::stdout(),
        gaps: false,
        columns: arguments.columns.clone(),
        as_mapping: arguments.as_mapping,
        progress: arguments.progress,
        transactions: 0,
    };
    let url = arguments.inputs.iter().find(|input| input.starts_with("mysql://"));
    let ended = match (url, arguments.inputs.as_slice()) {
        (None, files) => files.iter().try_for_each(|file| show_file(file, &arguments.filter(), &mut out)),
        (Some(url), [_]) => show_server(url, &arguments, &mut out),
        (Some(_), _) => Err(Stop::Failed("name either one URL or files".into())),
    };
    match ended {
        Err(Stop::Failed(why)) => {
            eprintln!("binlog_dump: {why}");
            ExitCode::from(1)
        }
        _ if out.gaps => ExitCode::from(3),
        _ => ExitCode::SUCCESS,
    }
}

fn show_file(file: &str, filter: &TableFilter, out: &mut Out) -> Result<(), Stop> {
    let bytes = std::fs::read(file).map_err(|error| Stop::Failed(format!("{file}: {error}")))?;
    let log = match BinlogFile::new(&bytes) {
        Ok(log) => log,
        Err(error) => return out.gap(&error, None),
    };
    let mut transactions = log.inspect(filter);
    while let Some(transaction) = transactions.next() {
        match transaction {
            Ok(transaction) => out.transaction(&transaction)?,
            Err(error) => out.gap(&error, transactions.refused().map(ToString::to_string))?,
        }
    }
    Ok(())
}

fn show_server(url: &str, arguments: &Arguments, out: &mut Out) -> Result<(), Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Stop::Failed(error.to_string()))?;
    runtime.block_on(follow(url, arguments, out))
}

async fn follow(url: &str, arguments: &Arguments, out: &mut Out) -> Result<(), Stop> {
    let failed = |error: Error| Stop::Failed(error.chain());
    let filter = arguments.filter();
    let mut source = BinlogSource::connect(url).await.map_err(failed)?;
    match source.preflight(&filter).await {
        Ok(findings) => findings.iter().for_each(|finding| eprintln!("binlog_dump: {finding}")),
        Err(error) if error.kind() == ErrorKind::Config => return out.gap(&error, None),
        Err(error) => return Err(failed(error)),
    }
    let now = source.probe().head().await.map_err(failed)?.checkpoint;
    let position = match arguments.from.as_str() {
        "oldest" => source.oldest().await.map_err(failed)?,
        "now" => now.position.clone(),
        text => position_of(text).map_err(failed)?,
    };
    let from = Checkpoint { position, ..Checkpoint::default() };
    match source.open(&from, &filter).await {
        Err(error) if matches!(error.kind(), ErrorKind::Gap | ErrorKind::Config) => return out.gap(&error, None),
        opened => opened.map_err(failed)?,
    }
    eprintln!("binlog_dump: following {}", source.describe());
    let limits = BatchLimits {
        changes_max: 1_000,
        bytes_max: 1 << 20,
        wait_max: Duration::from_secs(1),
        linger_max: Duration::ZERO,
    };
    loop {
        let batch = match source.next_batch(&limits).await {
            Ok(batch) => batch,
            Err(error) if error.kind() == ErrorKind::Gap => return out.gap(&error, None),
            Err(error) => return Err(failed(error)),
        };
        batch.transactions.iter().try_for_each(|transaction| out.transaction(transaction))?;
        if arguments.until_now && batch.checkpoint.position.covers(&now.position) {
            return Ok(());
        }
    }
}

/// Parses a GTID set, also in MariaDB's form: `0-101-57` is what server 101 has logged in domain 0 up to number 57.
fn position_of(text: &str) -> Result<Position, Error> {
    let ranges = text.split(',').map(|part| match part.trim().rsplit_once('-') {
        Some((origin, last)) if !part.contains(':') => format!("{origin}:1-{last}"),
        _ => part.to_owned(),
    });
    ranges.collect::<Vec<_>>().join(",").parse()
}

/// Keeps these columns only.
fn among(mut row: Row, columns: &[String]) -> Row {
    row.0.retain(|(name, _)| columns.iter().any(|column| name.eq_ignore_ascii_case(column)));
    row
}

/// The key that is made of these columns, in this order. `None` if the row lacks one of them.
fn key_of(mut row: Row, columns: &[String]) -> Option<Row> {
    let take = |column: &String| {
        let index = row.0.iter().position(|(name, _)| name.eq_ignore_ascii_case(column))?;
        Some(row.0.swap_remove(index))
    };
    columns.iter().map(take).collect::<Option<Vec<_>>>().map(Row)
}

fn line(change: &Change, gtid: Option<String>) -> Line {
    match change {
        Change::Row(row) => Line::row(row, gtid),
        Change::Tables { tables, reason } => Line::tables(tables, reason, gtid),
        other => Line {
            op: "gap",
            gtid,
            reason: Some(format!("a change that is not known here: {other:?}")),
            ..Line::default()
        },
    }
}
