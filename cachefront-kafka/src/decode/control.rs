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
use serde_json::value::RawValue;

use super::message::{Message, TableChange, read, snapshot_at};
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
    #[serde(borrow, default)]
    file: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pos: Option<&'a RawValue>,
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
            let snapshot_at = snapshot_at(source.file, source.pos);
            let origin = Origin { committed_at, snapshot_at, ..Origin::default() };
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
    let statement = Statement {
        database: message.database.as_deref().unwrap_or_default(),
        scope: match creates {
            true => StatementScope::Created,
            false if may_be_of_database(&words) => StatementScope::Database,
            false => StatementScope::Named,
        },
        ddl: ddl.replace("``", "`").replace("\"\"", "\"").to_lowercase(),
        changes: &changes,
    };
    for change in &changes {
        plans.inspect(&table_of(change));
    }
    let tables: Vec<TableName> = plans.tables().filter(|table| statement.concerns(table)).cloned().collect();
    if tables.is_empty() {
        return Ok(Event::Ignored { kind: if creates { "create" } else { "other" }, gtid });
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
    scope: StatementScope,
    ddl: String,
    changes: &'a [TableChange<'a>],
}

/// Which tables a statement may concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatementScope {
    /// Those that it creates. The connector's record of a RENAME or DROP before it may be missing: the cache has entries of
    /// the table's former rows.
    Created,
    /// Those that it names.
    Named,
    /// All of its database.
    Database,
}

impl Statement<'_> {
    /// Returns whether the statement may have changed the table's rows. A RENAME is recorded under the new name only, so
    /// the text is searched too: a mention of the name is enough. Flushing a table too often is harmless. What a CREATE
    /// mentions besides its own table is only read.
    fn concerns(&self, table: &TableName) -> bool {
        let full = table.as_str();
        // A server that folds names may be given another case than the mapping's.
        let (folded, database) = (lower(full), lower(self.database));
        let listed = |change: &TableChange<'_>| lower(table_of(change).as_str()) == folded;
        if self.changes.iter().any(listed) {
            return true;
        }
        let in_database = folded.strip_prefix(&database).is_some_and(|rest| rest.starts_with('.'));
        match self.scope {
            StatementScope::Created => return false,
            StatementScope::Database if in_database || database.is_empty() => return true,
            StatementScope::Database | StatementScope::Named => {}
        }
        let (_, name) = full.split_once('.').unwrap_or(("", full));
        let last = full.rsplit_once('.').map_or(full, |(_, name)| name);
        mentions(&self.ddl, &name.to_lowercase()) || mentions(&self.ddl, &last.to_lowercase())
    }
}

/// Returns whether a text has a name that is not a part of a longer one, such as `item` in `order_item`.
fn mentions(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    text.match_indices(name).any(|(at, _)| {
        let (before, rest) = text.split_at(at);
        let after = rest.get(name.len()..).unwrap_or_default();
        !before.chars().next_back().is_some_and(is_part) && !after.chars().next().is_some_and(is_part)
    })
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
    use cachefront_core::source::{Columns, TableFilter};

    use super::super::settings::DecoderSettings;
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
            scope: StatementScope::Named,
            ddl: "rename table nokey to nokey2".into(),
            changes: &changes,
        };
        assert!(statement.concerns(&"app.nokey".into()), "only the text has the old name");
        assert!(statement.concerns(&"app.nokey2".into()));
        assert!(!statement.concerns(&"app.users".into()));
        assert!(!statement.concerns(&"app.key".into()), "a part of another name");
        statement.scope = StatementScope::Database;
        assert!(statement.concerns(&"app.users".into()));
        assert!(!statement.concerns(&"apple.users".into()));
        statement.database = "APP";
        assert!(statement.concerns(&"App.users".into()), "a server that folds names finds the database in any case");
    }

    #[test]
    fn a_mapped_table_that_is_created_flushes() {
        let mut filter = TableFilter::new();
        filter.add("app.users".into(), &Columns::All);
        let mut plans = Plans::new(&DecoderSettings::default(), &filter);
        let mut decode = |ddl: &str, snapshot: &str, table: &str| {
            let text = format!(
                r#"{{"source":{{"gtid":"3e11fa47-71ca-11e1-9e33-c80aa9429562:24","ts_ms":1,"snapshot":"{snapshot}",
                "file":"binlog.000007","pos":4711}},"databaseName":"app","ddl":"{ddl}",
                "tableChanges":[{{"type":"CREATE","id":"\"app\".\"{table}\""}}]}}"#
            );
            let message: Message<'_> = read(&text).expect("a message");
            schema_change(&message, &mut plans, &mut Origins::default()).expect("a schema change")
        };
        let Event::Tables { tables, .. } = decode("CREATE TABLE users LIKE users_old", "false", "users") else {
            panic!("rows of a table that was renamed away may be cached")
        };
        assert_eq!(tables, ["app.users".into()]);
        let other = decode("CREATE TABLE report SELECT * FROM users", "false", "report");
        assert!(matches!(other, Event::Ignored { kind: "create", gtid: Some(_) }), "{other:?}");
        let schema = decode("CREATE TABLE users (id INT)", "true", "users");
        let Event::Read { snapshot: Snapshot::Schema, origin, .. } = schema else { panic!("a snapshot: {schema:?}") };
        assert_eq!(origin.snapshot_at.as_deref(), Some("binlog.000007:4711"));
    }

    #[test]
    fn a_create_concerns_only_the_table_that_it_creates() {
        let changes = [TableChange { kind: "CREATE".into(), id: "\"app\".\"users\"".into() }];
        let mut statement = Statement {
            database: "app",
            scope: StatementScope::Created,
            ddl: "create table users like users_old".into(),
            changes: &changes,
        };
        assert!(statement.concerns(&"app.users".into()), "the cache may have rows of a table that was renamed away");
        assert!(statement.concerns(&"app.Users".into()), "a server that folds names");
        assert!(!statement.concerns(&"app.users_old".into()), "it is only read");
        statement.changes = &[];
        assert!(!statement.concerns(&"app.users".into()), "a view or an index");
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
