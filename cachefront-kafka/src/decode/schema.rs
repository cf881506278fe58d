//! The column types in the schemas that the JSON converter embeds with `schemas.enable=true`: Debezium marks them by
//! [semantic type names](https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-data-types).

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;

use super::settings::{BytesForm, ColumnType, TimeUnit};

/// The types of a row's columns, by name, without those that are [`ColumnType::Plain`].
pub(super) type Types = HashMap<Box<str>, ColumnType>;

/// As Kafka Connect's JSON converter writes it: a struct has fields, and each has a type, and a
/// name if the type has a meaning beyond it.
#[derive(Deserialize)]
struct Schema<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    field: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    fields: Vec<Schema<'a>>,
    #[serde(borrow, default)]
    parameters: Option<Parameters<'a>>,
}

/// A DECIMAL has its scale here, as text.
#[derive(Deserialize)]
struct Parameters<'a> {
    #[serde(borrow, default)]
    scale: Option<Cow<'a, str>>,
}

/// Returns the column types of a schema: those of `before` and `after` in an envelope, of the row itself elsewhere.
pub(super) fn types(schema: &str) -> Result<Types, serde_json::Error> {
    let schema: Schema<'_> = serde_json::from_str(schema)?;
    let row =
        |name: &str| schema.fields.iter().find(|field| field.kind == "struct" && field.field.as_deref() == Some(name));
    let row = row("after").or_else(|| row("before")).unwrap_or(&schema);
    let typed = row.fields.iter().filter_map(|field| {
        let kind = kind(field);
        let name = field.field.as_deref().filter(|_| kind != ColumnType::Plain)?;
        Some((Box::from(name), kind))
    });
    Ok(typed.collect())
}

/// A name that is not known is [`ColumnType::Plain`]: the value is taken as the JSON has it.
fn kind(field: &Schema<'_>) -> ColumnType {
    use TimeUnit::{Micros, Millis, Nanos};
    let time = |unit| ColumnType::Time { unit, digits: None };
    let datetime = |unit| ColumnType::DateTime { unit, digits: None };
    match field.name.as_deref().unwrap_or_default() {
        "org.apache.kafka.connect.data.Decimal" => {
            let scale = field.parameters.as_ref().and_then(|parameters| parameters.scale.as_deref()?.parse().ok());
            ColumnType::Decimal { scale: scale.unwrap_or(0) }
        }
        "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date" | "io.debezium.time.IsoDate" => ColumnType::Date,
        "io.debezium.time.Time" | "org.apache.kafka.connect.data.Time" => time(Millis),
        "io.debezium.time.MicroTime" | "io.debezium.time.IsoTime" => time(Micros),
        "io.debezium.time.NanoTime" => time(Nanos),
        "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp" => datetime(Millis),
        "io.debezium.time.MicroTimestamp" | "io.debezium.time.IsoTimestamp" => datetime(Micros),
        "io.debezium.time.NanoTimestamp" => datetime(Nanos),
        "io.debezium.time.ZonedTimestamp" => ColumnType::Timestamp { digits: None },
        "io.debezium.time.Year" => ColumnType::Year,
        "io.debezium.data.Bits" => ColumnType::Bit,
        "io.debezium.data.Json" => ColumnType::Json,
        "" if field.kind == "bytes" => ColumnType::Bytes(BytesForm::Base64),
        "" if field.kind == "float" => ColumnType::Float,
        "" if field.kind == "boolean" => ColumnType::Bit,
        _ => ColumnType::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_an_envelope_is_under_after() {
        let schema = r#"{"type":"struct","fields":[{"type":"struct","fields":[{"type":"int64","field":"id"},
            {"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"},"field":"b"},
            {"type":"bytes","field":"raw"}],"optional":true,"field":"before"},
            {"type":"struct","fields":[{"type":"string","field":"version"}],"field":"source"}]}"#;
        let types = types(schema).expect("types");
        assert_eq!(types.get("b"), Some(&ColumnType::Decimal { scale: 2 }));
        assert_eq!(types.get("raw"), Some(&ColumnType::Bytes(BytesForm::Base64)));
        assert_eq!(types.len(), 2);
    }
}
