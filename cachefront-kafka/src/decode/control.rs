//! Records that are not rows: the begin and end of transactions ([transaction metadata]) and schema changes ([schema
//! change topic]).
//!
//! [transaction metadata]: https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-transaction-metadata
//! [schema change topic]: https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-schema-change-topic
//!
//! ```text
//! {"status": "BEGIN", "id": "3e11fa47-..:23", "ts_ms": 1764417229000}
//! {"status": "END", "id": "3e11fa47-..:23", "event_count": 3,
//!  "data_collections": [{"data_collection": "app.users", "event_count": 2},
//!                       {"data_collection": "app.orders", "event_count": 1}]}
//! {"source": {"gtid": "3e11fa47-..:24", "ts_ms": 1764417230000}, "databaseName": "app",
//!  "ddl": "ALTER TABLE users ADD age INT",
//!  "tableChanges": [{"type": "ALTER", "id": "\"app\".\"users\""}]}
//! ```

use std::borrow::Cow;

use cachefront_core::event::{TableName, lower};
use cachefront_core::{Gtid, Timestamp};
use serde::Deserialize;

use super::message::{Message, TableChange, read};
use super::plan::{Origins, Plans};
use super::problem::Problem;
use crate::event::{Event, Origin, Snapshot};

/// The `source` block of a schema change; the connector's internal schema history has fewer fields.
#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow, default)]
    gtid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    snapshot: Option<Cow<'a, str>>,
    #[serde(default)]
    ts_ms: u64,
}

/// Decodes the begin or the end of a transaction.
///
/// # Errors
/// A field that is missing, or an id that is not a GTID.
pub(super) fn transaction(message: &Message<'_>, plans: &Plans, origins: &mut Origins) -> Result<Event, Problem> {
    let raw = message.id.ok_or(Problem::Field { name: "id", wanted: "present" })?;
    let id: Cow<'_, str> = read::<Text<'_>>(raw.get())?.0;
    // Without GTIDs the connector builds the id from the log file and the position in it.
    let gtid = if id.starts_with("file=") { None } else { Some(origins.gtid(&id)?) };
    match message.status.as_deref() {
        Some("BEGIN") => Ok(Event::Begin { gtid }),
        Some("END") => {
            let events = message.event_count.ok_or(Problem::Field { name: "event_count", wanted: "a number" })?;
            let tables = message.data_collections.iter().flatten();
            let tables = tables.map(|collection| (plans.name(&collection.table), collection.events)).collect();
            Ok(Event::End { gtid, events, tables })
        }
        _ => Err(Problem::Field { name: "status", wanted: "BEGIN or END" }),
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Decodes a statement that changed definitions of tables, and possibly their rows.
///
/// # Errors
/// A field that is missing, or of another type.
pub(super) fn schema_change(message: &Message<'_>, plans: &mut Plans, origins: &mut Origins) -> Result<Event, Problem> {
    let source: Source<'_> = match message.source {
        Some(source) => read(source.get())?,
        None => return Err(Problem::Field { name: "source", wanted: "present" }),
    };
    let gtid = source.gtid.as_deref().map(|gtid| origins.gtid(gtid)).transpose()?;
    let ddl = message.ddl.as_deref().unwrap_or_default();
    let changes: Vec<TableChange<'_>> = match message.table_changes {
        Some(changes) => read(changes.get())?,
        None => Vec::new(),
    };
    match source.snapshot.as_deref() {
        None | Some("false") => {}
        Some("incremental") => return Ok(Event::Ignored { kind: "schema", gtid }),
        // A snapshot lists the schemas that it found. They have not changed, but changes of rows before it may be missing.
        Some(_) => {
            let database = message.database.as_deref().unwrap_or_default();
            let table = changes.first().map_or_else(|| TableName::from(database), table_of);
            let committed_at = Timestamp::from_micros(source.ts_ms.saturating_mul(1_000));
            let origin = Origin { committed_at, ..Origin::default() };
            return Ok(Event::Read { table, snapshot: Snapshot::Schema, row: None, origin });
        }
    }
    let words = first_words(ddl);
    if words.first().is_some_and(|word| word == "XA") {
        return Ok(xa(words, gtid, source.ts_ms));
    }
    let creates = match words.as_slice() {
        [first, second, ..] => first == "CREATE" && second != "OR",
        _ => !changes.is_empty() && changes.iter().all(|change| change.kind == "CREATE"),
    };
    if creates {
        return Ok(Event::Ignored { kind: "create", gtid });
    }
    let whole_database = may_be_of_database(&words);
    let statement = Statement {
        database: message.database.as_deref().unwrap_or_default(),
        whole_database,
        ddl: ddl.replace("``", "`").replace("\"\"", "\"").to_lowercase(),
        changes: &changes,
    };
    for change in &changes {
        plans.inspect(&table_of(change));
    }
    let tables: Vec<TableName> = plans.tables().filter(|table| statement.concerns(table)).cloned().collect();
    if tables.is_empty() {
        return Ok(Event::Ignored { kind: "other", gtid });
    }
    let committed_at = Timestamp::from_micros(source.ts_ms.saturating_mul(1_000));
    Ok(Event::Tables { tables, reason: words.join(" "), origin: Origin { gtid, committed_at, ..Origin::default() } })
}

/// An `XA COMMIT` does not name the rows that it makes visible, so any table may have changed.
fn xa(words: Vec<String>, gtid: Option<Gtid>, committed_ms: u64) -> Event {
    if words.get(1).is_none_or(|word| word != "COMMIT") {
        return Event::Ignored { kind: "xa", gtid };
    }
    let committed_at = Timestamp::from_micros(committed_ms.saturating_mul(1_000));
    let origin = Origin { gtid, committed_at, ..Origin::default() };
    Event::Tables { tables: Vec::new(), reason: words.join(" "), origin }
}

/// A statement that may have changed rows.
struct Statement<'a> {
    database: &'a str,
    whole_database: bool,
    ddl: String,
    changes: &'a [TableChange<'a>],
}

impl Statement<'_> {
    /// Returns whether the statement may have changed the table's rows. A RENAME is recorded under the new name only, so
    /// the text is searched too: a mention of the name is enough. Flushing a table too often is harmless.
    fn concerns(&self, table: &TableName) -> bool {
        let full = table.as_str();
        // A server that folds names may be given another case than the mapping's.
        let (folded, database) = (lower(full), lower(self.database));
        let in_database = folded.strip_prefix(&database).is_some_and(|rest| rest.starts_with('.'));
        if self.whole_database && (in_database || database.is_empty()) {
            return true;
        }
        let (_, name) = full.split_once('.').unwrap_or(("", full));
        let last = full.rsplit_once('.').map_or(full, |(_, name)| name);
        let mentioned = |name: &str| self.ddl.contains(&name.to_lowercase());
        let listed = |change: &TableChange<'_>| lower(table_of(change).as_str()) == folded;
        mentioned(name) || mentioned(last) || self.changes.iter().any(listed)
    }
}

/// `"app"."users"`.
fn table_of(change: &TableChange<'_>) -> TableName {
    let id = change.id.trim_matches('"').replacen("\".\"", ".", 1).replace("\"\"", "\"");
    TableName::from(id.as_str())
}

/// What may be dropped besides databases.
const DROPPED: [&str; 20] = [
    "TABLE",
    "TABLES",
    "TEMPORARY",
    "VIEW",
    "INDEX",
    "USER",
    "ROLE",
    "FUNCTION",
    "AGGREGATE",
    "PROCEDURE",
    "TRIGGER",
    "EVENT",
    "SERVER",
    "TABLESPACE",
    "UNDO",
    "LOGFILE",
    "RESOURCE",
    "SPATIAL",
    "PREPARE",
    "LIBRARY",
];

/// True if a statement concerns a whole database. A DROP of something unknown may be one.
fn may_be_of_database(words: &[String]) -> bool {
    match words {
        [first, rest @ ..] if first == "DROP" => rest.first().is_none_or(|object| !DROPPED.contains(&object.as_str())),
        [_, object, ..] => object == "DATABASE" || object == "SCHEMA",
        _ => false,
    }
}

/// Returns the first two words of a statement in capitals, skipping comments: they name the action and hold no values.
fn first_words(ddl: &str) -> Vec<String> {
    let (mut words, mut rest) = (Vec::new(), ddl);
    while words.len() < 2 {
        rest = skip_comments(rest);
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            break;
        }
        words.push(word.to_ascii_uppercase());
        rest = after;
    }
    words
}

/// Skips white space and comments at the front of a statement.
fn skip_comments(text: &str) -> &str {
    let mut rest = text.trim_start();
    loop {
        let comment_end = match rest.as_bytes() {
            // A version comment is part of the statement for some servers. Its end is skipped by itself.
            [b'/', b'*', b'!', ..] => rest.find(|c: char| c.is_ascii_alphabetic()),
            [b'*', b'/', ..] => Some(2),
            [b'/', b'*', ..] => rest.find("*/").map(|end| end + 2),
            [b'-', b'-', ..] | [b'#', ..] => rest.find('\n'),
            _ => return rest,
        };
        rest = comment_end.and_then(|end| rest.get(end..)).unwrap_or_default().trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_known_by_its_first_words() {
        assert_eq!(first_words("/* app */ -- x\n alter table `a` add b int"), ["ALTER", "TABLE"]);
        assert_eq!(first_words("/*!40000 DROP TABLE x*/"), ["DROP", "TABLE"]);
        assert_eq!(first_words("  truncate `users`"), ["TRUNCATE"]);
        assert!(first_words("/* never ends").is_empty());
        for text in [
            "DROP /* t */ DATABASE app",
            "DROP/**/database app",
            "drop -- x\n# y\n DATABASE app",
            "/*!40000 DROP */ DATABASE x",
        ] {
            assert_eq!(first_words(text), ["DROP", "DATABASE"], "{text}");
        }
        assert_eq!(first_words("CREATE /* x */ OR REPLACE TABLE t"), ["CREATE", "OR"]);
    }

    #[test]
    fn an_unknown_object_that_is_dropped_may_be_the_database() {
        for text in [
            "DROP DATABASE app",
            "DROP /* t */ SCHEMA app",
            "DROP",
            "DROP `app`",
            "DROP FUTURE app",
            "ALTER DATABASE app",
        ] {
            assert!(may_be_of_database(&first_words(text)), "{text}");
        }
        for text in ["DROP TABLE users", "DROP /* t */ TEMPORARY TABLE users", "ALTER TABLE users", "TRUNCATE `users`"]
        {
            assert!(!may_be_of_database(&first_words(text)), "{text}");
        }
    }

    #[test]
    fn a_statement_concerns_the_tables_it_names() {
        let changes = [TableChange { kind: "ALTER".into(), id: "\"app\".\"nokey2\"".into() }];
        let mut statement = Statement {
            database: "app",
            whole_database: false,
            ddl: "rename table nokey to nokey2".into(),
            changes: &changes,
        };
        assert!(statement.concerns(&"app.nokey".into()), "only the text has the old name");
        assert!(statement.concerns(&"app.nokey2".into()));
        assert!(!statement.concerns(&"app.users".into()));
        statement.whole_database = true;
        assert!(statement.concerns(&"app.users".into()));
        assert!(!statement.concerns(&"apple.users".into()));
        statement.database = "APP";
        assert!(statement.concerns(&"App.users".into()), "a server that folds names finds the database in any case");
    }

    #[test]
    fn the_commit_of_an_xa_transaction_may_have_changed_any_table() {
        let gtid = || Some(Gtid { origin: "a".into(), number: 7 });
        let words = |text: &str| first_words(text);
        let Event::Tables { tables, reason, origin } = xa(words("XA COMMIT X'63',X'',1"), gtid(), 5) else { panic!() };
        assert_eq!((tables.len(), reason.as_str(), origin.gtid), (0, "XA COMMIT", gtid()));
        for other in ["XA START X'63',X'',1", "XA END X'63'", "XA ROLLBACK X'63'"] {
            assert!(matches!(xa(words(other), gtid(), 5), Event::Ignored { .. }), "{other}");
        }
    }
}
