//! Checks what a program needs that reads the log for `KafkaSource`: Debezium's connector for MySQL, which sends rows as JSON.

use cachefront_core::event::TableName;
use cachefront_core::source::{Columns, TableFilter};

use crate::preflight::collation::ColumnFacts;
use crate::preflight::finding::Finding;
use crate::preflight::queries::Variables;

/// Checks the server.
pub(super) fn server(variables: &Variables) -> Vec<Finding> {
    let mut findings = Vec::new();
    if variables.is_mariadb() {
        findings.push(Finding::refuse(
            format!("the server is MariaDB ({})", variables.get("version").unwrap_or_default()),
            "the connector's events of MariaDB have no GTID that this library knows, so each one would be a gap",
            "read the log with `BinlogSource`",
        ));
    }
    if let Some(options) = variables.get("binlog_row_value_options").filter(|options| !options.is_empty()) {
        findings.push(Finding::refuse(
            format!("binlog_row_value_options={options}"),
            "the connector passes over updates that are logged as differences, so entries of these rows stay stale",
            "SET PERSIST binlog_row_value_options='', then reconnect the applications: a session keeps the value that it \
             started with",
        ));
    }
    findings
}

/// Refuses named columns whose values have another form in JSON than in SQL, unless their type is known.
pub(super) fn columns(table: &TableName, columns: &[ColumnFacts], filter: &TableFilter) -> Vec<Finding> {
    if !filter.is_relayed() {
        return Vec::new();
    }
    let named = Columns::Only(filter.named(table).to_vec());
    let unknown = columns.iter().filter(|column| column.matters(&named) && !filter.is_typed(table, &column.name));
    let refuse = |column: &ColumnFacts| {
        let hint = hint(&column.column_type)?;
        Some(Finding::refuse(
            format!("column `{}` of `{table}`, of which keys are made, is {}", column.name, column.column_type),
            "the connector writes it in another form than SQL, and records without a schema do not say its type, so a change \
             would remove another key than the cache has",
            format!(
                "name its type with `KafkaSourceBuilder::column_type(\"{table}.{}\", {hint})`; `ColumnType::Plain` if the records \
                 have schemas",
                column.name
            ),
        ))
    };
    unknown.filter_map(refuse).collect()
}

/// The type to name for a column. `None` if its form in JSON is that of SQL.
fn hint(column_type: &str) -> Option<&'static str> {
    match column_type.split(['(', ' ']).next().unwrap_or_default() {
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            Some("ColumnType::Bytes(BytesForm::Base64)")
        }
        "date" => Some("ColumnType::Date"),
        "time" => Some("ColumnType::Time { .. }"),
        "datetime" => Some("ColumnType::DateTime { .. }"),
        "timestamp" => Some("ColumnType::Timestamp { .. }"),
        "bit" if column_type != "bit(1)" => Some("ColumnType::Bit"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_the_connector_cannot_follow_is_refused() {
        let findings = |name: &str, value: &str| {
            let variables = [("version", "9.7.4"), ("binlog_row_value_options", ""), (name, value)];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            server(&Variables(variables.into_iter().collect()))
        };
        assert!(findings("version", "9.7.4").is_empty());
        for (name, value) in [("version", "11.8.2-MariaDB"), ("binlog_row_value_options", "PARTIAL_JSON")] {
            let found = findings(name, value);
            assert!(found.len() == 1 && found[0].refuse, "{name}: {found:?}");
        }
    }

    #[test]
    fn a_key_column_of_another_form_in_json_needs_a_type() {
        let table = TableName::from("shop.users");
        let refused = |column_type: &str, filter: &TableFilter| {
            let column = ColumnFacts { name: "id".into(), column_type: column_type.into(), ..ColumnFacts::default() };
            columns(&table, &[column], filter).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let mut direct = TableFilter::new();
        direct.add(table.clone(), &Columns::Only(vec!["id".into()]));
        let relayed = direct.clone().relayed(["shop.users.at"]);
        let typed = direct.clone().relayed(["shop.users.ID"]);
        for column_type in ["binary(16)", "varbinary(9)", "blob", "timestamp(6)", "datetime", "date", "time", "bit(8)"]
        {
            assert!(
                refused(column_type, &direct).is_empty() && refused(column_type, &typed).is_empty(),
                "{column_type}"
            );
            let found = refused(column_type, &relayed);
            assert!(found.len() == 1 && found[0].contains("column_type(\"shop.users.id\", ColumnType::"), "{found:?}");
        }
        for column_type in
            ["int", "bigint unsigned", "varchar(9)", "char(36)", "bit(1)", "enum('a')", "year", "decimal(9,2)"]
        {
            assert!(refused(column_type, &relayed).is_empty(), "{column_type}");
        }
        let mut all = TableFilter::new().relayed([""; 0]);
        all.add(table.clone(), &Columns::All);
        assert!(refused("blob", &all).is_empty(), "it is not known to be part of a key");
    }
}
