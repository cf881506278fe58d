//! Row images: the columns that mappings read, from a JSON object, with names shared by all rows of a table.
//!
//! A row is read in one pass over its text. Columns that no mapping reads are skipped without being
//! parsed; for the others the text of the value is classified, because `serde_json`'s own numbers
//! would lose digits of a BIGINT UNSIGNED or a DECIMAL.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cachefront_core::event::{Column, RowImage};
use cachefront_core::source::Columns;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::convert::{self, Kind, Mismatch};
use super::json::Json;
use super::problem::{Part, Problem};
use super::schema::Types;
use super::settings::ColumnType;

/// What the rows of one table look like: the names of their columns, and how to read their values.
#[derive(Debug)]
pub(super) struct Shape {
    names: Arc<[Box<str>]>,
    kinds: Vec<Kind>,
    /// True if every column is of interest: the names are then learnt from the rows. Otherwise `names` are the columns
    /// of interest, and all others are skipped.
    all: bool,
    /// The configured types, by column.
    hints: Arc<HashMap<Box<str>, ColumnType>>,
    /// The types from the schema in the records.
    schema: Option<Arc<Types>>,
}

impl Shape {
    /// `hints` come from the decoder's settings and take precedence over a schema.
    pub(super) fn new(columns: &Columns, hints: Arc<HashMap<Box<str>, ColumnType>>) -> Self {
        let (names, all): (Arc<[Box<str>]>, bool) = match columns {
            Columns::All => (Arc::from([]), true),
            Columns::Only(names) => (names.clone().into(), false),
        };
        let mut shape = Self { names, kinds: Vec::new(), all, hints, schema: None };
        shape.kinds = shape.names.iter().map(|name| shape.kind(name)).collect();
        shape
    }

    /// True if only some columns are of interest.
    pub(super) fn is_choice(&self) -> bool {
        !self.all
    }

    /// Uses the types of the record's schema; `None` if the record has no schema.
    #[inline]
    pub(super) fn use_schema(&mut self, schema: Option<&Arc<Types>>) {
        let same = match (&self.schema, schema) {
            (None, None) => true,
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            _ => false,
        };
        if !same {
            self.schema = schema.cloned();
            self.kinds = self.names.iter().map(|name| self.kind(name)).collect();
        }
    }

    /// The type of a column, by its name without regard to case.
    fn kind(&self, column: &str) -> Kind {
        let find = |types: &HashMap<Box<str>, ColumnType>| {
            let exact = types.get(column).copied();
            exact.or_else(|| types.iter().find(|(name, _)| name.eq_ignore_ascii_case(column)).map(|(_, kind)| *kind))
        };
        let schema = self.schema.as_deref().and_then(find);
        let of = find(&self.hints).or(schema).unwrap_or_default();
        Kind { of, by_schema: schema == Some(of) }
    }
}

/// A row image under construction.
pub(super) struct RowBuilder<'s> {
    shape: &'s mut Shape,
    columns: Vec<Column>,
    /// The names, as soon as they differ from those of the shape.
    fresh: Option<Vec<Box<str>>>,
    /// True if names that begin with two underscores are not columns.
    flat: bool,
}

impl<'s> RowBuilder<'s> {
    /// An empty row.
    pub(super) fn new(shape: &'s mut Shape) -> Self {
        let mut columns = Vec::with_capacity(shape.names.len());
        if !shape.all {
            columns.resize(shape.names.len(), Column::Missing);
        }
        Self { shape, columns, fresh: None, flat: false }
    }

    /// A row to which a transformation has added fields of its own.
    pub(super) fn flat(shape: &'s mut Shape) -> Self {
        Self { flat: true, ..Self::new(shape) }
    }

    /// Returns the index of the column `name` and its type; `None` if the column is not of interest.
    #[inline]
    fn slot(&mut self, name: &str) -> Option<(usize, Kind)> {
        if !self.shape.all {
            let names = &self.shape.names;
            let index = names
                .iter()
                .position(|wanted| **wanted == *name)
                .or_else(|| names.iter().position(|wanted| wanted.eq_ignore_ascii_case(name)))?;
            return Some((index, self.shape.kinds.get(index).copied().unwrap_or_default()));
        }
        if self.flat && name.starts_with("__") {
            return None;
        }
        let index = self.columns.len();
        if self.fresh.is_none() {
            if self.shape.names.get(index).is_some_and(|known| **known == *name) {
                return Some((index, self.shape.kinds.get(index).copied().unwrap_or_default()));
            }
            self.fresh = Some(self.shape.names.iter().take(index).cloned().collect());
        }
        if let Some(fresh) = &mut self.fresh {
            fresh.push(name.into());
        }
        Some((index, self.shape.kind(name)))
    }

    /// Stores a column's value.
    #[inline]
    fn put(&mut self, index: usize, kind: Kind, json: Json<'_>) -> Result<(), Problem> {
        let value = convert::value(json, kind).map_err(|mismatch| self.problem(index, mismatch))?;
        if self.shape.all {
            self.columns.push(Column::Value(value));
        } else if let Some(column) = self.columns.get_mut(index) {
            *column = Column::Value(value);
        }
        Ok(())
    }

    /// Why a column cannot be read.
    #[cold]
    fn problem(&self, index: usize, mismatch: Mismatch) -> Problem {
        let column = self.name(index).into();
        match mismatch {
            Mismatch::Wanted(wanted) => Problem::Column { column, wanted },
            Mismatch::Ambiguous => Problem::Ambiguous { column },
        }
    }

    /// A column's name, for messages.
    fn name(&self, index: usize) -> &str {
        let names = self.fresh.as_deref().unwrap_or(&self.shape.names);
        names.get(index).map_or("?", |name| name)
    }

    /// True if the row has every column of interest.
    pub(super) fn is_whole(&self) -> bool {
        !self.shape.all && !self.columns.contains(&Column::Missing)
    }

    /// Returns the image.
    #[inline]
    pub(super) fn finish(self) -> RowImage {
        if self.shape.all && (self.fresh.is_some() || self.columns.len() < self.shape.names.len()) {
            let names = match self.fresh {
                Some(fresh) => fresh,
                None => self.shape.names.iter().take(self.columns.len()).cloned().collect(),
            };
            self.shape.kinds = names.iter().map(|name| self.shape.kind(name)).collect();
            self.shape.names = names.into();
        }
        RowImage::new(Arc::clone(&self.shape.names), self.columns)
    }
}

/// Deserializes an object into a row.
struct RowSeed<'f, 's> {
    row: &'f mut RowBuilder<'s>,
    /// The first column that could not be converted: `serde_json`'s own errors cannot carry it.
    problem: &'f mut Option<Problem>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            let Some((index, kind)) = self.row.slot(&name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw: &RawValue = map.next_value()?;
            let put = match Json::read(raw) {
                Some(json) => self.row.put(index, kind, json),
                None => Err(Problem::Column { column: name.into(), wanted: "a number in the range of a double" }),
            };
            if let Err(problem) = put {
                self.problem.get_or_insert(problem);
                return Err(serde::de::Error::custom("a column"));
            }
        }
        Ok(())
    }
}

/// A name, borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Fills a row from an object's text.
///
/// # Errors
/// The first column that is not of its type, or the position at which the text is not JSON.
pub(super) fn parse(text: &str, row: &mut RowBuilder<'_>, part: Part) -> Result<(), Problem> {
    let mut problem = None;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = RowSeed { row, problem: &mut problem };
    let outcome = seed.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (outcome, problem) {
        (_, Some(problem)) => Err(problem),
        (Err(error), None) => Err(Problem::json(part, &error)),
        (Ok(()), None) => Ok(()),
    }
}
