//! How each reader reads the log: from its first change to its last.

use std::process::Command;
use std::time::{Duration, Instant};

use cachefront::binlog::BinlogSource;
use cachefront::source::{BatchLimits, ChangeSource, Columns, TableFilter};
use mysql_cdc::binlog_client::BinlogClient;
use mysql_cdc::binlog_options::BinlogOptions;
use mysql_cdc::events::binlog_event::BinlogEvent;
use mysql_cdc::replica_options::ReplicaOptions;
use rustcdc::checkpoint::MysqlOffset;
use rustcdc::source::Source;
use rustcdc::{MysqlConnection, MysqlSourceConfig, Operation};

use crate::failure::Failure;
use crate::log::Log;

/// Reads the whole log by the reader of this name, and returns how long it took.
pub(crate) async fn read(name: &str, log: &Log) -> Result<Duration, Failure> {
    let started = Instant::now();
    match name {
        "cachefront_keys" => cachefront(log, &Columns::Only(vec!["id".into()])).await?,
        "cachefront_values" => cachefront(log, &Columns::All).await?,
        "mysql_cdc" => tokio::task::block_in_place(|| mysql_cdc(log))?,
        "rustcdc" => rustcdc(log).await?,
        "mysqlbinlog_raw" => mysqlbinlog(log)?,
        other => return Err(format!("there is no reader {other}").into()),
    }
    Ok(started.elapsed())
}

async fn cachefront(log: &Log, columns: &Columns) -> Result<(), Failure> {
    let mut filter = TableFilter::new();
    filter.add(log.table(), columns);
    let mut source = BinlogSource::connect(&log.url).await?;
    source.open(&log.before, &filter).await?;
    let limits = BatchLimits {
        changes_max: 10_000,
        bytes_max: 16 << 20,
        wait_max: Duration::from_secs(10),
        linger_max: Duration::ZERO,
    };
    let mut changes = 0;
    while changes < log.changes {
        let batch = source.next_batch(&limits).await?;
        if batch.transactions.is_empty() {
            return Err(ended(changes));
        }
        changes += batch.changes() as u64;
    }
    Ok(())
}

fn mysql_cdc(log: &Log) -> Result<(), Failure> {
    let options = ReplicaOptions {
        hostname: log.opts.ip_or_hostname().to_owned(),
        port: log.opts.tcp_port(),
        username: log.opts.user().unwrap_or_default().to_owned(),
        password: log.opts.pass().unwrap_or_default().to_owned(),
        binlog: BinlogOptions::from_position(log.file.clone(), log.offset),
        ..ReplicaOptions::default()
    };
    let failed = |error| format!("mysql_cdc: {error:?}");
    let mut changes = 0;
    for event in BinlogClient::new(options).replicate().map_err(failed)? {
        changes += match event.map_err(failed)?.1 {
            BinlogEvent::WriteRowsEvent(event) => event.rows.len() as u64,
            BinlogEvent::UpdateRowsEvent(event) => event.rows.len() as u64,
            _ => 0,
        };
        if changes >= log.changes {
            return Ok(());
        }
    }
    Err(ended(changes))
}

async fn rustcdc(log: &Log) -> Result<(), Failure> {
    let config = MysqlSourceConfig {
        host: log.opts.ip_or_hostname().to_owned(),
        port: log.opts.tcp_port(),
        user: log.opts.user().unwrap_or_default().to_owned(),
        password: log.opts.pass().unwrap_or_default().into(),
        database: log.database.clone(),
        server_id: 4_000_000_001,
        table_include_list: vec![format!("{}.user", log.database)],
        // As many as cachefront takes at once.
        max_events_per_poll: 10_000,
        ..MysqlSourceConfig::default()
    }
    .with_plaintext_transport();
    let mut source = MysqlConnection::new(config);
    source.connect().await?;
    let from = MysqlOffset::new("mysql", log.file.clone(), log.offset, String::new());
    let mut stream = source.start_stream(Some(&from)).await?;
    let mut changes = 0;
    while changes < log.changes {
        let events = stream.next_events(10_000).await?;
        if events.is_empty() {
            return Err(ended(changes));
        }
        changes +=
            events.iter().filter(|event| matches!(event.op, Operation::Insert | Operation::Update)).count() as u64;
    }
    drop(stream);
    source.close().await;
    Ok(())
}

fn mysqlbinlog(log: &Log) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let program = std::env::var("CACHEFRONT_MYSQLBINLOG").unwrap_or_else(|_| "mysqlbinlog".into());
    let status = Command::new(program)
        .args(["--no-defaults", "--read-from-remote-server", "--raw"])
        .arg(format!("--host={}", log.opts.ip_or_hostname()))
        .arg(format!("--port={}", log.opts.tcp_port()))
        .arg(format!("--user={}", log.opts.user().unwrap_or_default()))
        .arg(format!("--result-file={}/", dir.path().display()))
        .arg(&log.file)
        .env("MYSQL_PWD", log.opts.pass().unwrap_or_default())
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("mysqlbinlog failed: {status}").into()) }
}

fn ended(changes: u64) -> Failure {
    format!("the log ended after {changes} changes").into()
}
