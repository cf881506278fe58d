//! Checks that the mapped tables exist under these names with these columns, and that all their changes are logged.

use cachefront_core::Result;
use cachefront_core::event::TableName;
use cachefront_core::source::{Columns, TableFilter};

use crate::preflight::collation::{self, ColumnFacts};
use crate::preflight::finding::Finding;
use crate::preflight::missing;
use crate::preflight::queries::{Checks, Queries, Variables};
use crate::preflight::relay;

/// Checks one mapped table, and adds its findings to `checks`.
///
/// # Errors
/// The error of the server.
pub(crate) async fn check(
    queries: &mut Queries<'_>,
    table: &TableName,
    filter: &TableFilter,
    checks: &mut Checks,
) -> Result<()> {
    let Checks { account, variables, rules, findings, missing } = checks;
    let (Some(wanted), named) = (filter.get(table), filter.named(table)) else { return Ok(()) };
    let (database, name) = (table.database(), table.name());
    if database.is_empty() {
        findings.push(Finding::refuse(
            format!("the mapped table `{table}` names no database"),
            "the log names tables by database and name",
            "name it `database.table` in the mapping, or as the pair (\"database\", \"table\") if a name has a dot",
        ));
        return Ok(());
    }
    // A server that folds names finds the table in any case.
    let sql = "SELECT TABLE_TYPE, COALESCE(ENGINE, '') FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";
    let found: Vec<(String, String)> = queries.rows("looking up a table", sql, Some((database, name))).await?;
    let Some((table_type, engine)) = found.into_iter().next() else {
        findings.push(missing::table(queries, account, table, (database, name), *rules).await?);
        missing.push(table.clone());
        return Ok(());
    };
    if table_type == "VIEW" {
        findings.push(Finding::refuse(
            format!("`{table}` is a view"),
            "the log has only the changes of the tables that it is made of",
            "map those tables",
        ));
        return Ok(());
    }
    findings.extend(versions(table, &table_type, filter));
    findings.extend(elsewhere(table, &engine));
    findings.extend(merged(queries, table, &engine, variables.is_mariadb()).await?);
    let columns = read_columns(queries, database, name, variables.is_mariadb()).await?;
    let visible: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    // Those that a mapping names, also if another one reads all.
    let unknown = missing::columns(table, &visible, named.iter().map(|name| &**name), *rules);
    // A privilege on some columns shows only those: a column that seems missing may be invisible.
    if (*wanted == Columns::All || !unknown.is_empty()) && !missing::may_select(queries, "*", (database, name)).await? {
        findings.push(missing::lacks_select(account, (database, name), *rules));
    } else {
        findings.extend(unknown);
    }
    for wanted in [wanted, &Columns::Only(named.to_vec())] {
        let mut found = collation::undecodable(table, &columns, wanted);
        found.extend(collation::unreadable(table, &columns, wanted));
        found.extend(collation::check(table, &columns, wanted, rules.collations));
        found.extend(nullable(table, &columns, wanted));
        found.retain(|finding| !findings.contains(finding));
        findings.extend(found);
    }
    findings.extend(relay::columns(table, &columns, filter));
    findings.extend(cascades(queries, table, (database, name), variables).await?);
    Ok(())
}

/// Engines whose tables have their rows in other tables or on other servers.
const ELSEWHERE: [&str; 4] = ["MRG_MyISAM", "FEDERATED", "SPIDER", "CONNECT"];

/// Refuses a table whose rows are in other tables, under whose names the log has changes of them, or on other servers.
fn elsewhere(table: &TableName, engine: &str) -> Option<Finding> {
    ELSEWHERE.iter().any(|own| engine.eq_ignore_ascii_case(own)).then(|| {
        Finding::refuse(
            format!("`{table}` has ENGINE={engine}"),
            "its rows are in other tables or on another server, so they change without a change of this table in the log",
            "map the tables that have the rows; if there are none, do not keep this one correct by the log",
        )
    })
}

/// Warns of a MERGE table if a mapped table may be one of those that it is made of: the log has a change under the name that the
/// statement used.
async fn merged(
    queries: &mut Queries<'_>,
    table: &TableName,
    engine: &str,
    is_mariadb: bool,
) -> Result<Option<Finding>> {
    if !engine.eq_ignore_ascii_case("MyISAM") {
        return Ok(None);
    }
    // The server opens many tables for it, and ends it after a while: a warning is worth no failure of the preflight.
    let begin = match is_mariadb {
        true => "SET STATEMENT max_statement_time = 2 FOR SELECT",
        false => "SELECT /*+ MAX_EXECUTION_TIME(2000) */",
    };
    let sql =
        format!("{begin} TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE ENGINE = 'MRG_MyISAM' LIMIT 1");
    let Ok(rows) = queries.attempt(&sql).await? else { return Ok(None) };
    let text = |index| rows.first().and_then(|row| row.get_opt::<String, _>(index)?.ok());
    Ok(text(0).zip(text(1)).map(|(database, name)| {
        Finding::warn(
            format!("`{table}` is of MyISAM, and `{database}.{name}` is a MERGE table"),
            "if the one is a part of the other, rows that are changed through it are not logged under the name of the mapped \
             table, so their entries are stale until their time to live ends",
            format!("change the rows through `{table}` only, or ALTER TABLE it to ENGINE=InnoDB"),
        )
    }))
}

/// Refuses values from rows of a table that keeps its history: the log has rows of the history as rows of the table, so the last
/// row of a key may be an old one.
fn versions(table: &TableName, table_type: &str, filter: &TableFilter) -> Option<Finding> {
    let is_versioned = table_type == "SYSTEM VERSIONED" && filter.has_row_values(table);
    is_versioned.then(|| {
        Finding::refuse(
            format!("`{table}` keeps its history (WITH SYSTEM VERSIONING), and a cache has `refresh_in_place` of it"),
            "the log has the rows of the history as rows of the table, so the last one of a key may be an old one",
            format!(
                "leave out `refresh_in_place`, or ALTER TABLE `{}`.`{}` DROP SYSTEM VERSIONING",
                table.database(),
                table.name()
            ),
        )
    })
}

/// A row of [`read_columns`]: name, type, collation, its padding, nullability, default, extra, comment, number of unique
/// keys.
type ColumnRow = (String, String, Option<String>, Option<String>, String, Option<String>, String, String, u64);

/// Reads the columns of a table that are visible to the user.
async fn read_columns(
    queries: &mut Queries<'_>,
    database: &str,
    name: &str,
    is_mariadb: bool,
) -> Result<Vec<ColumnFacts>> {
    // MariaDB names the collations that do not pad, and prints a default as SQL.
    let pad = match is_mariadb {
        true => "IF(c.COLLATION_NAME LIKE '%_nopad_%', 'NO PAD', 'PAD SPACE')",
        false => {
            "(SELECT PAD_ATTRIBUTE FROM information_schema.COLLATIONS l WHERE l.COLLATION_NAME = c.COLLATION_NAME)"
        }
    };
    let sql = format!(
        "SELECT c.COLUMN_NAME, c.COLUMN_TYPE, c.COLLATION_NAME, {pad}, c.IS_NULLABLE, \
               c.COLUMN_DEFAULT, c.EXTRA, c.COLUMN_COMMENT, (SELECT COUNT(*) FROM information_schema.STATISTICS s WHERE \
               s.TABLE_SCHEMA = c.TABLE_SCHEMA AND s.TABLE_NAME = c.TABLE_NAME AND s.COLUMN_NAME = c.COLUMN_NAME AND \
               s.NON_UNIQUE = 0) FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = ? AND c.TABLE_NAME = ? ORDER \
               BY c.ORDINAL_POSITION"
    );
    let rows: Vec<ColumnRow> = queries.rows("reading a table's columns", &sql, Some((database, name))).await?;
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
            is_mariadb,
        })
        .collect())
}

/// Warns of mapped columns that may be NULL: a rule must not read them as plain values.
fn nullable(table: &TableName, columns: &[ColumnFacts], wanted: &Columns) -> Vec<Finding> {
    columns
        .iter()
        .filter(|column| column.matters(wanted) && column.nullable)
        .map(|column| {
            let name = &column.name;
            Finding::warn(
                format!("column `{name}` of `{table}` may be NULL"),
                "a rule that reads it as a plain value fails on such a row, and a change that cannot be mapped \
                 flushes the cache",
                format!("read it with `row.get::<Option<_>>(\"{name}\")` in `depends_on`, or declare it NOT NULL"),
            )
        })
        .collect()
}

/// Warns of cascades: the storage engine changes the child rows of a foreign key without logging them before MySQL 9.6
/// (<https://dev.mysql.com/doc/refman/8.4/en/innodb-and-mysql-replication.html>), on later servers with
/// `innodb_native_foreign_keys=ON`, and on MariaDB.
async fn cascades(
    queries: &mut Queries<'_>,
    table: &TableName,
    names: (&str, &str),
    variables: &Variables,
) -> Result<Vec<Finding>> {
    if !variables.is_mariadb() && variables.version() >= (9, 6) && !variables.is("innodb_native_foreign_keys", "ON") {
        return Ok(Vec::new());
    }
    let sql = "SELECT CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ? AND \
               TABLE_NAME = ? AND (DELETE_RULE NOT IN ('RESTRICT', 'NO ACTION') OR UPDATE_RULE NOT IN ('RESTRICT', \
               'NO ACTION'))";
    let keys: Vec<String> = queries.rows("reading a table's foreign keys", sql, Some(names)).await?;
    Ok(keys.into_iter().map(|key| cascade(table, &key, names, variables)).collect())
}

/// The warning about one foreign key.
fn cascade(table: &TableName, key: &str, (database, name): (&str, &str), variables: &Variables) -> Finding {
    let (why, otherwise) = match (variables.is_mariadb(), variables.version() >= (9, 6)) {
        (true, _) => {
            ("MariaDB does not log such changes, so their entries are stale until their time to live ends", "")
        }
        (false, true) => (
            "with innodb_native_foreign_keys=ON such changes are not logged, so their entries are stale until their time to live \
             ends",
            "; or start mysqld with --innodb-native-foreign-keys=OFF",
        ),
        (false, false) => (
            "before MySQL 9.6 such changes are not logged, so their entries are stale until their time to live ends",
            "; or use MySQL 9.6",
        ),
    };
    Finding::warn(
        format!("foreign key `{key}` of `{table}` changes rows by cascade"),
        why,
        format!(
            "ALTER TABLE `{database}`.`{name}` DROP FOREIGN KEY `{key}`, add it again without CASCADE and SET NULL, and change \
             the rows by statements{otherwise}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warning_of_a_cascade_names_the_servers_own_remedy() {
        for (version, native, why, remedy) in [
            ("8.4.6", "", "before MySQL 9.6", Some("or use MySQL 9.6")),
            ("9.7.4", "ON", "innodb_native_foreign_keys=ON", Some("--innodb-native-foreign-keys=OFF")),
            ("11.8.2-MariaDB", "", "MariaDB does not log", None),
        ] {
            let values = [("version", version), ("innodb_native_foreign_keys", native)];
            let variables = Variables(values.map(|(name, value)| (name.into(), value.into())).into());
            let text = cascade(&"shop.users".into(), "fk", ("shop", "users"), &variables).to_string();
            assert!(text.contains(why) && text.contains("DROP FOREIGN KEY `fk`"), "{text}");
            assert_eq!(text.contains("; or "), remedy.is_some(), "{text}");
            assert!(remedy.is_none_or(|remedy| text.contains(remedy)), "{text}");
        }
    }

    #[test]
    fn a_table_whose_rows_are_elsewhere_is_refused() {
        let refused = |engine: &str| elsewhere(&"shop.users".into(), engine).is_some_and(|finding| finding.refuse);
        assert!(refused("MRG_MYISAM") && refused("FEDERATED") && !refused("InnoDB") && !refused("MyISAM"));
    }
}
