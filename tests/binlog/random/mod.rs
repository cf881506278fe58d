//! Random tables, rows and definitions on real servers: of every committed change the source delivers the keys of the rows before
//! and after it, as the server itself prints them; or that the table changed as a whole; or a gap.
//!
//! `CACHEFRONT_RANDOM_TRANSACTIONS` sets the number of transactions for each server, `CACHEFRONT_RANDOM_SEED` the first seed.

mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cachefront_binlog::BinlogSource;
use cachefront_core::event::{Change, Column, Transaction};
use cachefront_core::source::{BatchLimits, ChangeSource, Columns, TableFilter};
use cachefront_core::{ErrorKind, Position, Result};
use cachefront_testkit::server::mariadb::{MariaDb, Release};
use cachefront_testkit::server::mysql::MySql;
use mysql_async::prelude::Queryable;
use schema::{Random, Table};

use crate::server::{Database, PATIENCE, limits, only, text};

/// Transactions on one schema.
const ON_ONE_SCHEMA: usize = 40;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The rows of a table: for each key and row how many there are.
type Rows = BTreeMap<(String, String), usize>;

/// What differs between two states: the keys of all rows that are not in both.
fn changed(before: &Rows, after: &Rows) -> BTreeSet<String> {
    let keys = before.keys().chain(after.keys());
    keys.filter(|row| before.get(*row) != after.get(*row)).map(|(key, _)| key.clone()).collect()
}

/// What the source delivered about a table.
#[derive(Debug, Default)]
struct Delivered {
    keys: BTreeSet<String>,
    /// All of it, or a row whose key is not known.
    whole: bool,
}

fn delivered(transactions: &[Transaction], database: &str, table: &str) -> Delivered {
    let mut delivered = Delivered::default();
    for change in transactions.iter().flat_map(|transaction| &transaction.changes) {
        match change {
            Change::Row(row) if row.table.name() == table && row.table.database() == database => {
                for image in [&row.before, &row.after].into_iter().flatten() {
                    match image.column("k") {
                        Some(Column::Value(_)) => {
                            delivered.keys.insert(text(image, "k"));
                        }
                        _ => delivered.whole = true,
                    }
                }
            }
            Change::Tables { tables, .. } => {
                delivered.whole |= tables.is_empty() || tables.iter().any(|own| own.name() == table);
            }
            _ => {}
        }
    }
    delivered
}

/// A server with its writer, and the source that follows it.
struct World {
    db: Database,
    source: BinlogSource,
    tables: Vec<Table>,
    filter: TableFilter,
    is_mariadb: bool,
    /// All that was fetched.
    position: Position,
    gaps: usize,
    whole: usize,
    checked: usize,
}

impl World {
    async fn rows(&mut self) -> Vec<Rows> {
        let mut all = Vec::new();
        for table in self.tables.clone() {
            let rows: Vec<(String, String)> = self.db.conn.query(table.read()).await.expect("the rows");
            let mut counted = Rows::new();
            rows.into_iter().for_each(|row| *counted.entry(row).or_default() += 1);
            all.push(counted);
        }
        all
    }

    /// Runs statements; one that the server refuses is left out.
    async fn attempt(&mut self, statements: &[String]) {
        for statement in statements {
            if let Err(error) = self.db.conn.query_drop(statement).await {
                assert!(matches!(error, mysql_async::Error::Server(_)), "{statement}: {error}");
            }
        }
    }

    /// Settings of the session, and sometimes of the server.
    async fn settings(&mut self, random: &mut Random) {
        let mut settings = vec![
            format!("SET SESSION binlog_row_image = {}", random.one_of(&["FULL", "FULL", "MINIMAL", "NOBLOB"])),
            format!(
                "SET SESSION binlog_format = {}",
                random.one_of(&["ROW", "ROW", "ROW", "ROW", "ROW", "ROW", "STATEMENT", "MIXED"])
            ),
        ];
        if self.is_mariadb {
            settings.push(format!("SET GLOBAL log_bin_compress = {}", random.one_of(&["ON", "OFF"])));
            settings
                .push(format!("SET GLOBAL binlog_row_metadata = {}", random.one_of(&["FULL", "NO_LOG", "MINIMAL"])));
        } else {
            settings.push(format!("SET SESSION binlog_transaction_compression = {}", random.one_of(&["ON", "OFF"])));
            settings.push(format!("SET SESSION binlog_row_value_options = '{}'", random.one_of(&["", "PARTIAL_JSON"])));
            settings.push(format!("SET GLOBAL binlog_row_metadata = {}", random.one_of(&["FULL", "MINIMAL"])));
        }
        self.attempt(&settings).await;
    }

    /// One transaction, or some definitions.
    async fn step(&mut self, random: &mut Random) -> Vec<String> {
        let at = random.below(self.tables.len());
        let mut statements = Vec::new();
        if random.once_in(8) {
            statements.extend(self.tables[at].alter(random));
        } else {
            let (begin, commit) = match random.below(6) {
                0 => ("", ""),
                1 => ("XA START 'a'", "XA END 'a';XA PREPARE 'a';XA COMMIT 'a'"),
                2 => ("BEGIN", "ROLLBACK"),
                _ => ("BEGIN", "COMMIT"),
            };
            statements.extend([begin.to_owned()].into_iter().filter(|sql| !sql.is_empty()));
            for number in 0..1 + random.below(3) {
                let table = &self.tables[if number == 0 { at } else { random.below(self.tables.len()) }];
                statements.push(table.change(random));
            }
            if random.once_in(4) && begin == "BEGIN" {
                statements.extend(["SAVEPOINT s".into(), self.tables[at].change(random), "ROLLBACK TO s".into()]);
            }
            statements.extend(commit.split(';').filter(|sql| !sql.is_empty()).map(str::to_owned));
        }
        self.attempt(&statements).await;
        statements
    }

    /// Opens the source at the log's end.
    async fn open(&mut self) {
        let from = self.db.checkpoint().await;
        self.source.open(&from, &self.filter).await.expect("the source opens");
        self.position = from.position;
    }

    /// Fetches up to what is executed now. Most steps log something that no table of the filter has, so no fetch waits for long.
    async fn fetch(&mut self) -> Result<Vec<Transaction>> {
        let goal = self.db.checkpoint().await.position;
        let limits = BatchLimits { wait_max: Duration::from_millis(5), ..limits() };
        let until = Instant::now() + PATIENCE;
        let mut transactions = Vec::new();
        while !self.position.covers(&goal) {
            assert!(Instant::now() < until, "{goal} does not arrive");
            let batch = self.source.next_batch(&limits).await?;
            transactions.extend(batch.transactions);
            self.position = batch.checkpoint.position;
        }
        Ok(transactions)
    }

    /// Fetches everything, and compares it with the states before and after.
    async fn check(&mut self, before: &[Rows], after: &[Rows], what: &str) {
        let transactions = match self.fetch().await {
            Ok(transactions) => transactions,
            Err(error) if error.kind() == ErrorKind::Gap => {
                self.gaps += 1;
                return self.open().await;
            }
            Err(error) => panic!("{what}: {}", error.chain()),
        };
        let database = self.db.name().to_owned();
        for ((table, before), after) in self.tables.iter().zip(before).zip(after) {
            let delivered = delivered(&transactions, &database, &table.name);
            let changed = changed(before, after);
            self.whole += usize::from(delivered.whole);
            self.checked += usize::from(!delivered.whole && !changed.is_empty());
            let missed: Vec<&String> = changed.difference(&delivered.keys).collect();
            assert!(
                delivered.whole || missed.is_empty(),
                "{what}: `{}` missed {missed:?}, delivered {delivered:?}",
                table.name
            );
        }
    }
}

/// Random transactions on several schemas of one server.
async fn run(mut db: Database, is_mariadb: bool, transactions: usize, seed: u64) {
    let (mut gaps, mut whole, mut checked) = (0, 0, 0);
    for round in 0..transactions.div_ceil(ON_ONE_SCHEMA) {
        let seed = seed + round as u64;
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let names = ["plain", "odd `name", "Ünïcode.with.dots"].map(|name| format!("{name}{round}"));
        let tables: Vec<Table> = names.iter().map(|name| Table::new(name, &mut random)).collect();
        db.run(&["SET SESSION time_zone = '+00:00', sql_mode = 'NO_ENGINE_SUBSTITUTION'"]).await;
        let mut filter = TableFilter::new();
        for table in &tables {
            db.run(&[&table.create()]).await;
            let columns = if random.once_in(2) { only(&["k"]) } else { Columns::All };
            filter.add((db.name(), table.name.as_str()).into(), &columns);
        }
        let source = db.source().await;
        let position = Position::new();
        let mut world = World { db, source, tables, filter, is_mariadb, position, gaps: 0, whole: 0, checked: 0 };
        world.open().await;
        let mut before = world.rows().await;
        for step in 0..ON_ONE_SCHEMA {
            if random.once_in(3) {
                world.settings(&mut random).await;
            }
            let old = world.tables.clone();
            let statements = world.step(&mut random).await;
            let after = world.rows().await;
            let what = format!("seed {seed}, step {step}: {statements:?} on {old:?}");
            world.check(&before, &after, &what).await;
            before = after;
        }
        gaps += world.gaps;
        whole += world.whole;
        checked += world.checked;
        db = world.db;
    }
    eprintln!("random: {transactions} transactions, {checked} tables checked by key, {whole} as a whole, {gaps} gaps");
    assert!(checked * 4 > transactions, "too few changes are checked by their keys: {checked} of {transactions}");
    assert!(gaps * 10 < transactions, "{gaps} gaps");
}

fn transactions() -> usize {
    number("CACHEFRONT_RANDOM_TRANSACTIONS", 80) as usize
}

fn seed() -> u64 {
    number("CACHEFRONT_RANDOM_SEED", 1)
}

#[tokio::test]
async fn every_change_of_mysql_is_delivered() {
    let mysql = MySql::start(&[]).await;
    run(Database::on_private(&mysql).await, false, transactions(), seed()).await;
}

#[tokio::test]
async fn every_change_of_mariadb_is_delivered() {
    for release in Release::ALL {
        let server = MariaDb::start(release, &[]).await;
        run(Database::on_mariadb(&server).await, true, transactions(), seed()).await;
    }
}
