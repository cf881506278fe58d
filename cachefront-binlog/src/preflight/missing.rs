//! Mapped tables and columns that are not visible: they do not exist, or the user lacks a privilege.
//!
//! `information_schema` has only what the user may see, so a table without rights looks like one
//! that does not exist. A `SELECT` of no row tells the two apart: its error is either "denied" or
//! "unknown table".

use cachefront_core::Result;
use cachefront_core::event::TableName;

use crate::preflight::finding::{Finding, Rules};
use crate::preflight::queries::Queries;

/// Maximum number of similar names in a finding.
const SIMILAR_MAX: usize = 3;

/// Maximum number of tables that are searched for similar names.
const CANDIDATES_MAX: usize = 10_000;

/// Access denied to the database, the table or a column.
const ER_ACCESS_DENIED: [u16; 3] = [1044, 1142, 1143];

/// A finding that prevents the start, or a warning if the source may start without the table or column.
fn finding(rules: Rules, what: String, why: &'static str, fix: String) -> Finding {
    match rules.allow_missing_tables {
        true => Finding::warn(what, why, fix),
        false => Finding::refuse(what, why, fix),
    }
}

/// Finds out why a mapped table is not visible.
pub(crate) async fn table(
    queries: &mut Queries<'_>,
    account: &str,
    table: &TableName,
    (database, name): (&str, &str),
    rules: Rules,
) -> Result<Finding> {
    if !may_select(queries, "1", (database, name)).await? {
        return Ok(lacks_select(account, (database, name), rules));
    }
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE (TABLE_SCHEMA = ? OR TABLE_NAME = ?) AND \
         TABLE_SCHEMA NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema') LIMIT {CANDIDATES_MAX}"
    );
    let found: Vec<(String, String)> = queries.rows("looking for similar tables", &sql, Some((database, name))).await?;
    let names: Vec<String> = found.into_iter().map(|(database, name)| format!("{database}.{name}")).collect();
    let hint = hint(similar(table.as_str(), names.iter().map(String::as_str)));
    if let Some(other) = in_another_case(queries, (database, name)).await? {
        return Ok(Finding::refuse(
            format!("the mapped table `{table}` does not exist, but `{other}` does"),
            "the server distinguishes the case of names (lower_case_table_names=0), so the changes of that table would \
             not be recognised",
            format!("name it `{other}` in the mapping"),
        ));
    }
    Ok(finding(
        rules,
        format!("the mapped table `{table}` does not exist{hint}"),
        "the log has no changes of it, so entries that are loaded from it would never be invalidated",
        format!("correct the name in the mapping, or create the table{}", allowance(rules)),
    ))
}

/// The name of a table that differs from this one in its case only.
async fn in_another_case(queries: &mut Queries<'_>, names: (&str, &str)) -> Result<Option<TableName>> {
    let sql = "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE LOWER(TABLE_SCHEMA) = LOWER(?) AND \
               LOWER(TABLE_NAME) = LOWER(?) LIMIT 1";
    let found: Vec<(String, String)> = queries.rows("looking for a table in another case", sql, Some(names)).await?;
    Ok(found.first().map(|(database, name)| TableName::new(database, name)))
}

/// Findings for mapped columns that are not among the visible ones.
///
/// A finding lists the columns that are there, and the most similar names.
pub(crate) fn columns<'a>(
    table: &TableName,
    visible: &[&str],
    wanted: impl Iterator<Item = &'a str>,
    rules: Rules,
) -> Vec<Finding> {
    wanted
        .filter(|name| !visible.iter().any(|own| own.eq_ignore_ascii_case(name)))
        .map(|name| {
            let hint = hint(similar(name, visible.iter().copied()));
            finding(
                rules,
                format!("a mapping reads column `{name}` of `{table}`, which has {}{hint}", visible.join(", ")),
                "no key could be made of its changes",
                format!("correct the name in the mapping, or add the column{}", allowance(rules)),
            )
        })
        .collect()
}

/// A finding for a table of which the user may not read every column.
pub(crate) fn lacks_select(account: &str, (database, name): (&str, &str), rules: Rules) -> Finding {
    finding(
        rules,
        format!("user {account} lacks the right SELECT on `{database}.{name}`"),
        "without it neither the existence of the table nor its columns and collations can be checked",
        format!("GRANT SELECT ON {} TO {account}", quoted((database, name))),
    )
}

/// Returns false if the user lacks the privilege to read `columns` of a table. Other errors of the server do not count.
pub(crate) async fn may_select(queries: &mut Queries<'_>, columns: &str, table: (&str, &str)) -> Result<bool> {
    let sql = format!("SELECT {columns} FROM {} LIMIT 0", quoted(table));
    let tried = queries.attempt(&sql).await?;
    Ok(!tried.is_err_and(|code| ER_ACCESS_DENIED.contains(&code)))
}

/// Quotes both names for SQL.
fn quoted((database, name): (&str, &str)) -> String {
    format!("`{}`.`{}`", database.replace('`', "``"), name.replace('`', "``"))
}

/// How to start without the table.
fn allowance(rules: Rules) -> &'static str {
    match rules.allow_missing_tables {
        true => "",
        false => "; to start without it, set `allow_missing_tables(true)` on the builder of the source",
    }
}

/// The similar names in parentheses, or an empty text.
fn hint(similar: Vec<&str>) -> String {
    match similar.as_slice() {
        [] => String::new(),
        names => format!(" (similar: `{}`)", names.join("`, `")),
    }
}

/// Returns the names most similar to `name`, the best first. Of `database.table` names, the database must be equal and the
/// table similar, or the table must be equal.
fn similar<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut ranked: Vec<(usize, &str)> = candidates
        .filter_map(|candidate| {
            let (mine, theirs) = match (name.split_once('.'), candidate.split_once('.')) {
                (Some((my_database, mine)), Some((database, theirs))) if my_database == database => (mine, theirs),
                (Some((mine, my_table)), Some((database, table))) if my_table.eq_ignore_ascii_case(table) => {
                    return Some((distance(mine, database), candidate));
                }
                (None, None) => (name, candidate),
                _ => return None,
            };
            let distance = distance(mine, theirs);
            (distance <= mine.chars().count().div_ceil(3)).then_some((distance, candidate))
        })
        .collect();
    ranked.sort();
    ranked.into_iter().take(SIMILAR_MAX).map(|(_, candidate)| candidate).collect()
}

/// The edit distance (Levenshtein) of two names, without regard to case.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, mine) in one.to_lowercase().chars().enumerate() {
        let mut next = vec![at + 1];
        for ((theirs, pair), left) in other.iter().zip(row.windows(2)).zip(1..) {
            let [diagonal, above] = pair else { continue };
            let before = next.get(left - 1).copied().unwrap_or(usize::MAX - 1);
            next.push((diagonal + usize::from(mine != *theirs)).min(above + 1).min(before + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_edits_without_regard_to_case() {
        for (one, other, edits) in
            [("user", "users", 1), ("Users", "uSERS", 0), ("", "abc", 3), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(one, other), edits, "{one} {other}");
            assert_eq!(distance(other, one), edits, "{other} {one}");
        }
    }

    #[test]
    fn similar_names_are_of_the_same_database_or_the_same_table() {
        let tables = ["shop.users", "shop.orders", "crm.user", "crm.orders", "shop.Usr"];
        assert_eq!(similar("shop.user", tables.into_iter()), ["shop.Usr", "shop.users", "crm.user"]);
        assert_eq!(similar("shpo.users", tables.into_iter()), ["shop.users"]);
        assert!(similar("shop.invoices", tables.into_iter()).is_empty());
        assert_eq!(similar("e_mail", ["id", "email", "age"].into_iter()), ["email"]);
        assert_eq!(similar("a", ["a1", "a2", "a3", "a4"].into_iter()).len(), SIMILAR_MAX);
    }

    #[test]
    fn what_is_missing_is_a_warning_if_it_is_allowed() {
        let table = TableName::from("shop.users");
        for allow_missing_tables in [false, true] {
            let rules = Rules { allow_missing_tables, ..Rules::default() };
            let found = columns(&table, &["id", "email"], ["ID", "e_mail"].into_iter(), rules);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].refuse, !allow_missing_tables);
            assert_eq!(found[0].to_string().contains("allow_missing_tables"), !allow_missing_tables);
            assert_eq!(lacks_select("'u'@'%'", ("shop", "users"), rules).refuse, !allow_missing_tables);
        }
    }

    #[test]
    fn backticks_in_names_are_quoted() {
        assert_eq!(quoted(("sh`op", "users")), "`sh``op`.`users`");
    }
}
