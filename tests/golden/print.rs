//! Transactions as lines of text.

use cachefront_core::event::{Change, Column, RowImage, TableName, Transaction, Value};
use cachefront_core::{Error, Result};

pub(crate) fn transaction(transaction: Result<Transaction>) -> String {
    match transaction {
        Ok(transaction) => {
            let mut text = format!("{} at {}\n", transaction.gtid, transaction.committed_at.as_micros());
            for change in &transaction.changes {
                text.push_str(&format!("  {}\n", self::change(change)));
            }
            text
        }
        Err(error) => self::error(&error),
    }
}

fn error(error: &Error) -> String {
    format!("{}: {}\n", error.kind().as_str(), error.chain())
}

pub(crate) fn change(change: &Change) -> String {
    match change {
        Change::Row(row) => {
            let mut text = format!("{} {}", row.operation.as_str(), table(&row.table));
            for (side, row) in [("before", &row.before), ("after", &row.after)] {
                if let Some(row) = row {
                    text.push_str(&format!(" {side} {}", image(row)));
                }
            }
            text
        }
        Change::Tables { tables, reason } => {
            let names: Vec<String> = tables.iter().map(table).collect();
            format!("tables [{}] by {reason}", names.join(", "))
        }
        other => format!("{other:?}"),
    }
}

/// A name as text; with a dot in a part, in quotes.
fn table(name: &TableName) -> String {
    match name.as_str().matches('.').count() {
        1 => name.to_string(),
        _ => format!("`{}`.`{}`", name.database(), name.name()),
    }
}

pub(crate) fn image(image: &RowImage) -> String {
    let cells: Vec<String> = image
        .columns()
        .map(|(name, column)| match column {
            Column::Value(value) => format!("{name}={}", self::value(value)),
            Column::Missing => format!("{name} missing"),
            other => format!("{name} {other:?}"),
        })
        .collect();
    format!("{{{}}}", cells.join(", "))
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Int(number) => format!("{number}i"),
        Value::UInt(number) => format!("{number}u"),
        Value::Float(number) => format!("{number:?}f"),
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("0x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        other => format!("{other:?}"),
    }
}
