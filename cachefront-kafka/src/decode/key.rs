//! The message's key, as a row that has the key's columns only.

use std::sync::Arc;

use cachefront_core::event::RowImage;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Record;
use super::error::{Part, Problem};
use super::json::Scan;
use super::plan::Plan;
use super::row::{self, Filling, Shape};
use super::schema::Types;
use super::schemas::Schemas;

#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    schema: &'a RawValue,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// The columns that are asked for, if the key has them all.
#[inline]
pub(super) fn image(schemas: &mut Schemas, record: &Record<'_>, plan: &mut Plan) -> Option<RowImage> {
    if !plan.key_suffices {
        return None;
    }
    // A key that is no row, or none that can be read, is no reason for an error: the value has it all.
    let (row, whole) = columns(schemas, record, &mut plan.key).ok().flatten()?;
    plan.key_suffices = whole;
    whole.then_some(row)
}

/// The columns that a key has, and whether they are all that are asked for. Nothing if there is no key.
pub(super) fn columns(
    schemas: &mut Schemas,
    record: &Record<'_>,
    shape: &mut Shape,
) -> Result<Option<(RowImage, bool)>, Problem> {
    let Some(key) = record.key else { return Ok(None) };
    let known = schemas.strip(record.topic, key).map(|(payload, types)| (payload, Arc::clone(types)));
    let (payload, types) = match known {
        Some((payload, types)) => (text(payload)?, Some(types)),
        None => unwrap(schemas, record, text(key)?)?,
    };
    if payload == "null" {
        return Ok(None);
    }
    shape.use_schema(types.as_ref());
    if let Some(row) = quick(payload, shape) {
        return Ok(Some(row));
    }
    let mut row = Filling::new(shape);
    row::parse(payload, &mut row, Part::Key)?;
    let whole = row.is_whole();
    Ok(Some((row.finish(), whole)))
}

#[inline]
fn quick(payload: &str, shape: &mut Shape) -> Option<(RowImage, bool)> {
    let mut scan = Scan::new(payload);
    let mut row = Filling::new(shape);
    row::scan(&mut scan, &mut row)?;
    let whole = row.is_whole();
    scan.is_empty().then(|| (row.finish(), whole))
}

fn text(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|_| Problem::NotUtf8(Part::Key))
}

/// The payload of a key with a schema; the key itself if it has none.
fn unwrap<'a>(
    schemas: &mut Schemas,
    record: &Record<'_>,
    key: &'a str,
) -> Result<(&'a str, Option<Arc<Types>>), Problem> {
    // A key may have columns of these names, but then it has no object under `schema`.
    if !key.trim_start().starts_with("{\"schema\":{") {
        return Ok((key, None));
    }
    let wrapped: Wrapped<'_> = serde_json::from_str(key).map_err(|error| Problem::json(Part::Key, &error))?;
    let (schema, payload) = (wrapped.schema.get(), wrapped.payload.get());
    let types = schemas.learn(record.topic, key, schema, payload, Part::Key)?;
    Ok((payload, Some(types)))
}
