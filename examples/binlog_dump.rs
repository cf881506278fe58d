//! Prints how the binlog adapter decodes MySQL's log, as one JSON object per line.
//!
//! `cargo run --example binlog_dump -- FILE..` reads log files, without a server. `.. -- mysql://user@host/` follows a
//! server's log as a replica would: first everything that the server still has, then every commit as it happens, until
//! interrupted. `--from now` skips existing transactions, `--from 'uuid:1-57'` starts after these transactions, and
//! `--until-now` stops where the log ended at the start.
//!
//! For events that cannot be decoded it prints `gap` with the reason, and the exit code is 3; 1 means that a file or
//! the server could not be read at all. Rows after a gap in a file are shown if the file itself is intact.

#[path = "show/mod.rs"]
mod show;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use cachefront::binlog::{BinlogFile, BinlogSource};
use cachefront::event::{Change, Transaction};
use cachefront::source::{BatchLimits, ChangeSource, Checkpoint, TableFilter};
use cachefront::{Error, ErrorKind, Position};
use clap::Parser;
use show::Line;

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
}

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
        if transaction.changes.is_empty() && transaction.complete {
            return self.line(&Line { op: "none", kind: Some("no-rows"), gtid, ..Line::default() });
        }
        transaction.changes.iter().try_for_each(|change| self.line(&line(change, gtid.clone())))
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = Out { out: std::io::stdout(), gaps: false };
    let url = arguments.inputs.iter().find(|input| input.starts_with("mysql://"));
    let ended = match (url, arguments.inputs.as_slice()) {
        (None, files) => files.iter().try_for_each(|file| show_file(file, &mut out)),
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

fn show_file(file: &str, out: &mut Out) -> Result<(), Stop> {
    let bytes = std::fs::read(file).map_err(|error| Stop::Failed(format!("{file}: {error}")))?;
    let log = match BinlogFile::new(&bytes) {
        Ok(log) => log,
        Err(error) => return out.gap(&error, None),
    };
    let mut transactions = log.inspect(&TableFilter::everything());
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
    let everything = TableFilter::everything();
    let mut source = BinlogSource::connect(url).await.map_err(failed)?;
    for finding in source.preflight(&everything).await.map_err(failed)? {
        eprintln!("binlog_dump: {finding}");
    }
    let now = source.probe().head().await.map_err(failed)?.checkpoint;
    let position = match arguments.from.as_str() {
        "oldest" => source.oldest().await.map_err(failed)?,
        "now" => now.position.clone(),
        text => text.parse::<Position>().map_err(failed)?,
    };
    let from = Checkpoint { position, ..Checkpoint::default() };
    source.open(&from, &everything).await.map_err(failed)?;
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
