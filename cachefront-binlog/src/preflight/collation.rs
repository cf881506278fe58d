//! Text columns that keys are made of must compare by their bytes.
//!
//! MySQL compares texts by their collation, the cache compares keys by their bytes. Under a
//! collation such as `utf8mb4_0900_ai_ci`, `WHERE name = 'Zoe'` finds the row `ZOË`. An entry under
//! the key `Zoe` then holds that row, and a change of the row invalidates the key `ZOË`. Only
//! binary collations without padding compare as the cache does.

use cachefront_core::event::TableName;
use cachefront_core::source::Columns;

use crate::charset::Charset;
use crate::config::Collations;
use crate::preflight::finding::Finding;

/// A column, as `information_schema` describes it.
#[derive(Debug, Default)]
pub(crate) struct ColumnFacts {
    pub(crate) name: String,
    pub(crate) column_type: String,
    /// `None` if it is not a text column.
    pub(crate) collation: Option<String>,
    pub(crate) pads: bool,
    pub(crate) nullable: bool,
    pub(crate) default: Option<String>,
    pub(crate) extra: String,
    pub(crate) comment: String,
    /// True if it is part of a PRIMARY or UNIQUE key.
    pub(crate) in_unique_key: bool,
    /// Of a server of MariaDB.
    pub(crate) is_mariadb: bool,
}

impl ColumnFacts {
    /// Returns true if texts are equal if and only if their bytes are.
    fn is_exact(&self) -> bool {
        match self.collation.as_deref() {
            None | Some("binary") => true,
            Some(collation) => collation.ends_with("_bin") && !self.pads,
        }
    }

    /// Returns true if keys are likely made of it: a mapping names it, or it is unique and a mapping reads all columns.
    pub(crate) fn matters(&self, wanted: &Columns) -> bool {
        match wanted {
            Columns::All => self.in_unique_key,
            Columns::Only(names) => names.iter().any(|name| name.eq_ignore_ascii_case(&self.name)),
        }
    }

    /// The MODIFY clause that makes the column exact. It needs the whole definition: parts that it omits would be dropped.
    fn modify(&self) -> String {
        let exact = if self.is_mariadb { "utf8mb4_nopad_bin" } else { "utf8mb4_0900_bin" };
        let mut sql = format!(
            "MODIFY `{}` {} CHARACTER SET utf8mb4 COLLATE {exact} {}",
            self.name,
            self.column_type,
            if self.nullable { "NULL" } else { "NOT NULL" }
        );
        if let Some(default) = &self.default {
            match self.extra.contains("DEFAULT_GENERATED") {
                _ if self.is_mariadb => sql.push_str(&format!(" DEFAULT {default}")),
                true => sql.push_str(&format!(" DEFAULT ({default})")),
                false => sql.push_str(&format!(" DEFAULT {}", quote(default))),
            }
        }
        if self.extra.contains("INVISIBLE") {
            sql.push_str(" INVISIBLE");
        }
        if !self.comment.is_empty() {
            sql.push_str(&format!(" COMMENT {}", quote(&self.comment)));
        }
        sql
    }
}

/// Quotes a text for SQL.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// With [`Collations::Refuse`].
const REFUSED: &str = "it treats different texts as equal (case, accents or trailing spaces), so a value that is cached under \
                       one spelling would never be invalidated by a change that names another. The ALTER below makes the \
                       column exact, and with it every comparison that the application makes. Without it, if the same \
                       function normalises every key in readers and in `depends_on`, `collations(Collations::Warn)` on \
                       the builder of the source accepts such columns; an entry with a key that was not normalised then \
                       is stale until its time to live ends";
/// With [`Collations::Warn`].
const WARNED: &str = "it treats different texts as equal (case, accents or trailing spaces), so an entry with a key that \
                      the application does not normalise is stale until its time to live ends";

/// Refuses columns whose values cannot be decoded, if a mapping can read them: with a mapping of all columns, each one.
pub(crate) fn undecodable(table: &TableName, columns: &[ColumnFacts], wanted: &Columns) -> Vec<Finding> {
    let is_read = |column: &&ColumnFacts| *wanted == Columns::All || column.matters(wanted);
    let charset = |column: &ColumnFacts| Some(column.collation.as_deref()?.split('_').next()?.to_owned());
    let found = columns.iter().filter(is_read).filter_map(|column| Some((column, charset(column)?)));
    found
        .filter(|(_, charset)| !Charset::of_name(charset).is_decodable())
        .map(|(column, charset)| {
            Finding::refuse(
                format!("column `{}` of `{table}` has character set {charset}", column.name),
                "the source cannot decode it, so a key that is made of it would be wrong",
                format!(
                    "ALTER TABLE `{}`.`{}` {}; or name the columns that the mapping reads with `depends_on_columns`, \
                     without this one",
                    table.database(),
                    table.name(),
                    column.modify()
                ),
            )
        })
        .collect()
}

/// Refuses columns of MariaDB whose values are logged in a form that is not decoded, if a mapping can read them.
pub(crate) fn unreadable(table: &TableName, columns: &[ColumnFacts], wanted: &Columns) -> Vec<Finding> {
    let is_read = |column: &&ColumnFacts| *wanted == Columns::All || column.matters(wanted);
    let opaque = |column: &&ColumnFacts| {
        column.is_mariadb
            && (matches!(column.column_type.as_str(), "uuid" | "inet4" | "inet6")
                || column.column_type.contains("COMPRESSED"))
    };
    let found = columns.iter().filter(is_read).filter(opaque);
    found
        .map(|column| {
            Finding::refuse(
                format!("column `{}` of `{table}` has type {}", column.name, column.column_type),
                "the log has its values in another form than readers of the table, so a key that is made of it would be wrong",
                "name the columns that the mapping reads with `depends_on_columns`, without this one; or keep the value in a \
                 column of another type",
            )
        })
        .collect()
}

/// Checks the columns of one table.
pub(crate) fn check(
    table: &TableName,
    columns: &[ColumnFacts],
    wanted: &Columns,
    collations: Collations,
) -> Vec<Finding> {
    columns
        .iter()
        .filter(|column| column.matters(wanted) && !column.is_exact())
        .map(|column| {
            let what = format!(
                "column `{}` of `{table}` has collation {}",
                column.name,
                column.collation.as_deref().unwrap_or_default()
            );
            let why = match collations {
                Collations::Refuse => REFUSED,
                Collations::Warn => WARNED,
            };
            let (database, name) = (table.database(), table.name());
            let fix = match column.extra.contains("GENERATED") && !column.extra.contains("DEFAULT_GENERATED") {
                true => "define the generated column with that collation".to_owned(),
                false => format!("ALTER TABLE `{database}`.`{name}` {}", column.modify()),
            };
            match collations {
                Collations::Refuse => Finding::refuse(what, why, fix),
                Collations::Warn => Finding::warn(what, why, fix),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email(collation: &str, pads: bool) -> ColumnFacts {
        ColumnFacts {
            name: "email".into(),
            column_type: "varchar(255)".into(),
            collation: Some(collation.into()),
            pads,
            default: Some("it's".into()),
            in_unique_key: true,
            ..ColumnFacts::default()
        }
    }

    #[test]
    fn only_bytes_without_padding_compare_exactly() {
        let table = TableName::from("shop.users");
        let refused = |column| !check(&table, &[column], &Columns::All, Collations::Refuse).is_empty();
        assert!(!refused(email("utf8mb4_0900_bin", false)));
        assert!(!refused(email("binary", false)));
        assert!(refused(email("utf8mb4_bin", true)));
        assert!(refused(email("utf8mb4_0900_ai_ci", false)));
        assert!(!refused(ColumnFacts { in_unique_key: false, ..email("utf8mb4_0900_ai_ci", false) }));
    }

    #[test]
    fn a_column_that_cannot_be_decoded_is_refused_if_mapped() {
        let table = TableName::from("shop.users");
        let refused = |collation, wanted| undecodable(&table, &[email(collation, true)], &wanted).len();
        for collation in ["gbk_bin", "sjis_bin", "gb18030_bin", "unheardof_bin"] {
            assert_eq!(refused(collation, Columns::All), 1, "{collation}");
            assert_eq!(refused(collation, Columns::Only(vec!["Email".into()])), 1);
            assert_eq!(refused(collation, Columns::Only(vec!["id".into()])), 0);
        }
        for collation in ["utf8mb4_bin", "latin1_bin", "cp1251_bin", "utf16_bin", "binary"] {
            assert_eq!(refused(collation, Columns::All), 0, "{collation}");
        }
    }

    #[test]
    fn the_fix_has_the_whole_definition_of_the_column() {
        let only = Columns::Only(vec!["EMAIL".into()]);
        let findings = check(&"shop.users".into(), &[email("utf8mb4_0900_ai_ci", false)], &only, Collations::Refuse);
        assert!(findings[0].fix.ends_with(
            "ALTER TABLE `shop`.`users` MODIFY `email` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin \
             NOT NULL DEFAULT 'it''s'"
        ));
    }
}
