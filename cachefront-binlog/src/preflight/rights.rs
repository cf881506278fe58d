//! Checks the user's privileges by using them, so that roles count too, and whether the log omits databases.
//!
//! | right | needed for | without it |
//! |---|---|---|
//! | REPLICATION SLAVE | reading the log | refused |
//! | REPLICATION CLIENT (MySQL) | the filters of the log by database | warning |
//! | BINLOG MONITOR (MariaDB) | the end of the log, which the gate reads | refused |
//! | SELECT on the mapped tables | their columns and collations | refused |
//! | SELECT, TRIGGER on all tables | triggers, views and foreign keys | warning: statements flush everything |
//!
//! A right is tried and not looked up where that is possible: `SHOW GRANTS` does not show what a
//! role that is not active would permit.

use cachefront_core::Result;
use cachefront_core::event::fold_char;
use cachefront_core::source::TableFilter;

use crate::effects::sees_all;
use crate::names::Casing;
use crate::preflight::finding::Finding;
use crate::preflight::queries::{Checks, Queries};

/// Access denied: a privilege is missing.
const ER_SPECIFIC_ACCESS_DENIED: u16 = 1227;

/// Checks the privileges, and adds findings to `checks`.
///
/// # Errors
/// The error of the server, unless it is the lack of a privilege.
pub(crate) async fn check(queries: &mut Queries<'_>, filter: &TableFilter, checks: &mut Checks) -> Result<()> {
    let Checks { account, variables, findings, .. } = checks;
    let is_mariadb = variables.is_mariadb();
    let folds = variables.casing() == Some(Casing::Folded);
    // The old statements are gone in 8.4; the new ones are unknown before 8.0.22 and 8.2.
    let old = is_mariadb || variables.version() < (8, 2);
    let grants = grants(queries).await?;
    let reads = match is_mariadb {
        // There, listing the replicas needs another right than reading the log.
        true => grants.iter().any(|grant| is_replica(grant)),
        false => match queries.attempt(if old { "SHOW SLAVE HOSTS" } else { "SHOW REPLICAS" }).await? {
            Ok(_) => true,
            Err(ER_SPECIFIC_ACCESS_DENIED) => false,
            Err(code) => {
                findings.push(Finding::warn(
                    format!("the server refused to list its replicas (error {code})"),
                    "so it is unknown whether the user may read the log, which shows when the log is opened",
                    format!("GRANT REPLICATION SLAVE ON *.* TO {account}"),
                ));
                true
            }
        },
    };
    if !sees_all(&grants) {
        findings.push(Finding::warn(
            format!("user {account} lacks the rights SELECT and TRIGGER on all tables"),
            "so it is unknown which tables have triggers, are views or have foreign keys that cascade: a statement that a \
             session logs without its rows (its own binlog_format) flushes every cache, not only those of its tables",
            format!("GRANT SELECT, TRIGGER ON *.* TO {account}"),
        ));
    }
    if !reads {
        findings.push(Finding::refuse(
            format!("user {account} lacks the right REPLICATION SLAVE"),
            "without it the server does not send its log",
            format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {account}"),
        ));
    }
    match queries.attempt(if old { "SHOW MASTER STATUS" } else { "SHOW BINARY LOG STATUS" }).await? {
        Ok(rows) => {
            if let Some(row) = rows.first() {
                let text = |index| {
                    row.get_opt::<Option<String>, _>(index).and_then(|text| text.ok().flatten()).unwrap_or_default()
                };
                findings.extend(filters(&text(2), &text(3), filter, (folds, is_mariadb)));
            }
        }
        // The gate reads the end of the log there.
        Err(ER_SPECIFIC_ACCESS_DENIED) if is_mariadb => findings.push(Finding::refuse(
            format!("user {account} lacks the right BINLOG MONITOR"),
            "without it the end of the log cannot be read, which shows when commits are visible",
            format!("GRANT BINLOG MONITOR ON *.* TO {account}"),
        )),
        Err(ER_SPECIFIC_ACCESS_DENIED) => findings.push(Finding::warn(
            format!("user {account} lacks the right REPLICATION CLIENT"),
            "so it is unknown whether the log omits databases (--binlog-do-db, --binlog-ignore-db)",
            format!("GRANT REPLICATION CLIENT ON *.* TO {account}"),
        )),
        Err(code) => findings.push(Finding::warn(
            format!("the server refused to show the end of its log (error {code})"),
            "so it is unknown whether the log omits databases (--binlog-do-db, --binlog-ignore-db)",
            format!("GRANT REPLICATION CLIENT ON *.* TO {account}"),
        )),
    }
    Ok(())
}

/// Reads the rights of the user, and of the roles that are active.
async fn grants(queries: &mut Queries<'_>) -> Result<Vec<String>> {
    queries.rows("reading the user's rights", "SHOW GRANTS", None).await
}

/// Returns true if a grant includes reading the log.
///
/// The form is `GRANT <list> ON *.* TO <account>`.
fn is_replica(grant: &str) -> bool {
    let rights = grant.strip_prefix("GRANT ").and_then(|grant| grant.split_once(" ON *.* TO ")).map(|(list, _)| list);
    rights.is_some_and(|list| list.split(", ").any(|own| matches!(own, "REPLICATION SLAVE" | "ALL PRIVILEGES")))
}

/// Checks `--binlog-do-db` and `--binlog-ignore-db`, which are comma-separated lists.
///
/// A filter applies to the current database of a statement, so even one that spares all mapped
/// tables may leave out DDL.
///
/// `folds` is true for a server whose names of databases have no case. MariaDB compares its own name of the database, which is in lower
/// case then, exactly with those of the lists.
fn filters(only: &str, ignored: &str, filter: &TableFilter, (folds, is_mariadb): (bool, bool)) -> Vec<Finding> {
    if only.is_empty() && ignored.is_empty() {
        return Vec::new();
    }
    let fold = |name: &str| name.chars().map(fold_char).collect::<String>();
    let same = |name: &str, database: &str| match (folds, is_mariadb) {
        (true, true) => name == fold(database),
        (true, false) => fold(name) == fold(database),
        (false, _) => name == database,
    };
    let listed = |list: &str, database: &str| list.split(',').any(|name| same(name.trim(), database));
    let mut findings: Vec<Finding> = filter
        .iter()
        .filter_map(|(table, _)| {
            let database = table.database();
            let is_omitted = !only.is_empty() && !listed(only, database) || listed(ignored, database);
            is_omitted.then(|| {
                Finding::refuse(
                    format!("the log leaves out `{table}`"),
                    "the server's --binlog-do-db or --binlog-ignore-db excludes its database",
                    "start mysqld without these options",
                )
            })
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::warn(
            "the server filters its log by database (--binlog-do-db or --binlog-ignore-db)",
            "DDL that is executed while another database is current may be missing from it",
            "start mysqld without these options",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use cachefront_core::source::Columns;

    use super::*;

    #[test]
    fn a_mapped_table_that_the_log_omits_is_refused() {
        let mut filter = TableFilter::new();
        filter.add("shop.users".into(), &Columns::All);
        assert!(filters("", "", &filter, (false, false)).is_empty());
        for (only, ignored, folds) in
            [("crm", "", false), ("", "crm,shop", false), ("Shop", "", false), ("", "SHOP", true)]
        {
            let found = filters(only, ignored, &filter, (folds, false));
            assert!(found.iter().all(|finding| finding.refuse), "{only} {ignored}");
        }
        for (only, ignored, folds) in [("shop", "", false), ("", "SHOP", false), ("crm, Shop", "", true)] {
            let found = filters(only, ignored, &filter, (folds, false));
            assert!(found.len() == 1 && !found[0].refuse, "{only} {ignored}");
        }
        // MariaDB with lower_case_table_names=1, and a mapping in another case.
        let mut upper = TableFilter::new();
        upper.add("Shop.users".into(), &Columns::All);
        for (only, ignored, refuse) in
            [("shop", "", false), ("Shop", "", true), ("", "shop", true), ("", "SHOP", false)]
        {
            let found = filters(only, ignored, &upper, (true, true));
            assert!(found.iter().all(|finding| finding.refuse == refuse), "{only} {ignored}");
        }
    }
}
