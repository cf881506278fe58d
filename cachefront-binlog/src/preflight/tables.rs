//! The mapped tables: are they there, under these names, with these columns, and are all their changes logged.

use cachefront_core::Result;
use cachefront_core::event::TableName;
use cachefront_core::source::Columns;

use crate::preflight::collation::{self, ColumnFacts};
use crate::preflight::{Checks, Finding, Questions, Variables, missing};

pub(crate) async fn check(
    questions: &mut Questions<'_>,
    table: &TableName,
    wanted: &Columns,
    checks: &mut Checks,
) -> Result<()> {
    let Checks { account, variables, rules, findings } = checks;
    let Some((database, name)) = table.as_str().split_once('.') else {
        findings.push(Finding::refuse(
            format!("the mapped table `{table}` names no database"),
            "the log knows tables by database and name",
            "name it `database.table` in the mapping",
        ));
        return Ok(());
    };
    let sql = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND \
               TABLE_NAME = ?";
    let found: Vec<(String, String, String)> =
        questions.rows("looking for a table", sql, Some((database, name))).await?;
    let Some((own_database, own_name, table_type)) = found.into_iter().next() else {
        findings.push(missing::table(questions, account, table, (database, name), *rules).await?);
        return Ok(());
    };
    if (own_database.as_str(), own_name.as_str()) != (database, name) {
        findings.push(Finding::refuse(
            format!("the mapped table `{table}` is called `{own_database}.{own_name}` by the server"),
            "the log's names are compared as they stand, so its changes would not be found",
            format!("name it `{own_database}.{own_name}` in the mapping"),
        ));
        return Ok(());
    }
    if table_type == "VIEW" {
        findings.push(Finding::refuse(
            format!("`{table}` is a view"),
            "the log has the changes of the tables beneath it only",
            "map those tables",
        ));
        return Ok(());
    }
    let columns = read_columns(questions, database, name).await?;
    let visible: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let unknown = match wanted {
        Columns::All => Vec::new(),
        Columns::Only(names) => missing::columns(table, &visible, names.iter().map(|name| &**name), *rules),
    };
    // A right to some columns shows only these: what seems missing may only be invisible.
    if (*wanted == Columns::All || !unknown.is_empty())
        && !missing::may_select(questions, "*", (database, name)).await?
    {
        findings.push(missing::lacks_select(account, (database, name), *rules));
    } else {
        findings.extend(unknown);
    }
    findings.extend(collation::check(table, &columns, wanted, rules.collations));
    findings.extend(nullable(table, &columns, wanted));
    findings.extend(cascades(questions, table, (database, name), variables).await?);
    Ok(())
}

type ColumnRow = (String, String, Option<String>, Option<String>, String, Option<String>, String, String, u64);

async fn read_columns(questions: &mut Questions<'_>, database: &str, name: &str) -> Result<Vec<ColumnFacts>> {
    let sql = "SELECT c.COLUMN_NAME, c.COLUMN_TYPE, c.COLLATION_NAME, (SELECT PAD_ATTRIBUTE FROM \
               information_schema.COLLATIONS l WHERE l.COLLATION_NAME = c.COLLATION_NAME), c.IS_NULLABLE, \
               c.COLUMN_DEFAULT, c.EXTRA, c.COLUMN_COMMENT, (SELECT COUNT(*) FROM information_schema.STATISTICS s WHERE \
               s.TABLE_SCHEMA = c.TABLE_SCHEMA AND s.TABLE_NAME = c.TABLE_NAME AND s.COLUMN_NAME = c.COLUMN_NAME AND \
               s.NON_UNIQUE = 0) FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = ? AND c.TABLE_NAME = ? ORDER \
               BY c.ORDINAL_POSITION";
    let rows: Vec<ColumnRow> = questions.rows("reading a table's columns", sql, Some((database, name))).await?;
    Ok(rows
        .into_iter()
        .map(|(name, column_type, collation, pad, nullable, default, extra, comment, unique)| ColumnFacts {
            name,
            column_type,
            collation,
            pads: pad.as_deref() != Some("NO PAD"),
            nullable: nullable == "YES",
            default,
            extra,
            comment,
            in_unique_key: unique > 0,
        })
        .collect())
}

/// Columns that a rule must not read as if they always had a value.
fn nullable(table: &TableName, columns: &[ColumnFacts], wanted: &Columns) -> Vec<Finding> {
    columns
        .iter()
        .filter(|column| column.matters(wanted) && column.nullable)
        .map(|column| {
            let name = &column.name;
            Finding::warn(
                format!("column `{name}` of `{table}` may be NULL"),
                "a rule that reads it as a plain value fails on such a row, and a change that cannot be mapped voids the \
                 cache",
                format!("read it with `row.get::<Option<_>>(\"{name}\")` in `depends_on`, or declare it NOT NULL"),
            )
        })
        .collect()
}

/// Before MySQL 9.6 the storage engine changes the child rows of a foreign key by itself, past the log.
async fn cascades(
    questions: &mut Questions<'_>,
    table: &TableName,
    names: (&str, &str),
    variables: &Variables,
) -> Result<Vec<Finding>> {
    if variables.version() >= (9, 6) && !variables.is("innodb_native_foreign_keys", "ON") {
        return Ok(Vec::new());
    }
    let sql = "SELECT CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ? AND \
               TABLE_NAME = ? AND (DELETE_RULE NOT IN ('RESTRICT', 'NO ACTION') OR UPDATE_RULE NOT IN ('RESTRICT', \
               'NO ACTION'))";
    let keys: Vec<String> = questions.rows("reading a table's foreign keys", sql, Some(names)).await?;
    Ok(keys
        .into_iter()
        .map(|key| {
            Finding::warn(
                format!("foreign key `{key}` of `{table}` changes rows by cascade"),
                "before MySQL 9.6 such changes are not in the log, so their keys stay cached until their time to live ends",
                format!(
                    "ALTER TABLE {table} DROP FOREIGN KEY `{key}`, add it again without CASCADE and SET NULL, and change \
                     the rows by statements; or use MySQL 9.6"
                ),
            )
        })
        .collect())
}
