//! Columns taken from a record's key, which spares parsing the rows if it has all columns that mappings read.

use std::sync::Arc;

use cachefront_core::event::RowImage;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::plan::Plan;
use super::problem::{Part, Problem};
use super::record::Record;
use super::row::{self, RowBuilder, Shape};
use super::schema::Types;
use super::schemas::Schemas;

/// A key of the JSON converter with `schemas.enable=true`.
#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    schema: &'a RawValue,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// Returns the columns of interest, if the key has all of them.
#[inline]
pub(super) fn image(schemas: &mut Schemas, record: &Record<'_>, plan: &mut Plan) -> Option<RowImage> {
    if !plan.key_suffices {
        return None;
    }
    // A key that cannot be decoded is no error here: the value has every column.
    let (row, whole) = columns(schemas, record, &mut plan.key).ok().flatten()?;
    plan.key_suffices = whole;
    whole.then_some(row)
}

/// Returns the columns of the key, and whether they are all columns of interest; `None` if the record has no key.
pub(super) fn columns(
    schemas: &mut Schemas,
    record: &Record<'_>,
    shape: &mut Shape,
) -> Result<Option<(RowImage, bool)>, Problem> {
    let Some(key) = record.key else { return Ok(None) };
    let key = std::str::from_utf8(key).map_err(|_| Problem::NotUtf8(Part::Key))?;
    let known = schemas.strip(record.topic, key).map(|(payload, types)| (payload, Some(Arc::clone(types))));
    let (payload, types) = match known {
        Some(known) => known,
        None => unwrap(schemas, record, key)?,
    };
    if payload == "null" {
        return Ok(None);
    }
    shape.use_schema(types.as_ref());
    let mut row = RowBuilder::new(shape);
    row::parse(payload, &mut row, Part::Key)?;
    let whole = row.is_whole();
    Ok(Some((row.finish(), whole)))
}

/// Returns the payload of a key with a schema, or the key itself if it has none.
fn unwrap<'a>(
    schemas: &mut Schemas,
    record: &Record<'_>,
    key: &'a str,
) -> Result<(&'a str, Option<Arc<Types>>), Problem> {
    // A table may have columns called `schema` and `payload`, but the first one then holds no object.
    if !key.trim_start().starts_with("{\"schema\":{") {
        return Ok((key, None));
    }
    let wrapped: Wrapped<'_> = serde_json::from_str(key).map_err(|error| Problem::json(Part::Key, &error))?;
    let (schema, payload) = (wrapped.schema.get(), wrapped.payload.get());
    let types = schemas.learn(record.topic, key, schema, payload, Part::Key)?;
    Ok((payload, Some(types)))
}
