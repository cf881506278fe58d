//! Coverage: which caches the current invalidator keeps correct, and under which mapping.
//!
//! `applied` says something only about the caches that the holder of the term maps. So the meta lists every covered cache
//! by its [`MappingId`], with its own generation; for a reader whose mapping is not listed, every entry is a miss and no
//! value is stored.

use crate::error::{Error, ErrorKind, Result};
use crate::identity::Generation;
use crate::mapping::MappingId;

/// Size of one encoded row of a coverage table, in bytes: a mapping id and a generation.
pub const COVERED_BYTES: usize = 32;

/// Maximum number of covered caches in one namespace. The table is part of every read.
pub const COVERED_MAX: usize = 1_024;

/// One covered cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The cache under its mapping.
    pub mapping: MappingId,
    /// The generation of its entries: random, and replaced when the cache is flushed.
    pub generation: Generation,
    /// The cache's name, for logs.
    pub cache: Box<str>,
}

/// The caches that a meta covers, ordered by mapping id.
///
/// ```
/// use cachefront::store::{Coverage, Covered, Generation, MappingId};
///
/// let users = Covered { mapping: MappingId(1), generation: Generation(10), cache: "users".into() };
/// let coverage = Coverage::new([users]);
/// assert_eq!(coverage.generation(MappingId(1)), Some(Generation(10)));
/// assert!(!coverage.covers(MappingId(2)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(Vec<Covered>);

impl Coverage {
    /// No cache is covered.
    pub const EMPTY: Self = Self(Vec::new());

    /// Makes a table of these rows; of two rows with the same mapping the first one counts.
    pub fn new(rows: impl IntoIterator<Item = Covered>) -> Self {
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by_key(|row| row.mapping);
        rows.dedup_by_key(|row| row.mapping);
        Self(rows)
    }

    /// Returns the generation of a cache's entries; `None` if the cache is not covered under this mapping.
    pub fn generation(&self, mapping: MappingId) -> Option<Generation> {
        let at = self.0.binary_search_by_key(&mapping, |row| row.mapping).ok()?;
        self.0.get(at).map(|row| row.generation)
    }

    /// Returns true if a covered cache has this generation.
    pub fn has_generation(&self, generation: Generation) -> bool {
        self.0.iter().any(|row| row.generation == generation)
    }

    /// Returns true if the cache is covered under this mapping.
    pub fn covers(&self, mapping: MappingId) -> bool {
        self.generation(mapping).is_some()
    }

    /// Returns the rows, ordered by mapping id.
    pub fn rows(&self) -> &[Covered] {
        &self.0
    }

    /// Returns the rows of several tables, each mapping once: what any of them covers.
    pub fn union<'a>(tables: impl IntoIterator<Item = &'a Self>) -> Self {
        Self::new(tables.into_iter().flat_map(|table| table.rows().iter().cloned()))
    }

    /// Returns the covered mappings, in order.
    pub fn mappings(&self) -> impl Iterator<Item = MappingId> {
        self.0.iter().map(|row| row.mapping)
    }

    /// Returns true if no cache is covered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the rows that `other` covers too, with the generations of this table.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.iter().filter(|row| other.covers(row.mapping)).cloned().collect())
    }

    /// Returns the table after [`StoreWriter::cover`](crate::store::StoreWriter::cover): a mapping that is covered already
    /// keeps its generation, unless its row is fresh.
    #[must_use]
    pub fn covering(&self, rows: &[Cover]) -> Self {
        Self::new(rows.iter().map(|row| {
            let kept = if row.fresh { None } else { self.generation(row.covered.mapping) };
            Covered { generation: kept.unwrap_or(row.covered.generation), ..row.covered.clone() }
        }))
    }

    /// Returns the table after [`Store::flush_caches`](crate::store::Store::flush_caches): the covered caches among `rows`
    /// have the generations given there.
    #[must_use]
    pub fn flushing(&self, rows: &[(MappingId, Generation)]) -> Self {
        let flushed = |row: &Covered| rows.iter().find(|(mapping, _)| *mapping == row.mapping);
        let row = |row: &Covered| match flushed(row) {
            Some((_, generation)) => Covered { generation: *generation, ..row.clone() },
            None => row.clone(),
        };
        Self(self.0.iter().map(row).collect())
    }

    /// Appends the encoded rows, each a mapping id and a generation.
    pub fn encode_rows(&self, out: &mut Vec<u8>) {
        for row in &self.0 {
            out.extend_from_slice(&row.mapping.0.to_be_bytes());
            out.extend_from_slice(&row.generation.0.to_be_bytes());
        }
    }

    /// Appends the names, in the order of the rows, each preceded by its length in one byte.
    pub fn encode_names(&self, out: &mut Vec<u8>) {
        for row in &self.0 {
            // A cache's name has at most 64 bytes.
            let name = row.cache.as_bytes().get(..row.cache.len().min(255)).unwrap_or_default();
            out.push(name.len() as u8);
            out.extend_from_slice(name);
        }
    }

    /// Decodes the output of [`encode_rows`](Self::encode_rows) and [`encode_names`](Self::encode_names).
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the rows are not in order, or the names do not match them.
    pub fn decode(rows: &[u8], mut names: &[u8]) -> Result<Self> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "the store's meta value has a damaged coverage table");
        let mut read = Vec::with_capacity(rows.len() / COVERED_BYTES);
        for row in rows.chunks(COVERED_BYTES) {
            let (mapping, generation) = row.split_at_checked(16).ok_or_else(corrupt)?;
            let (length, rest) = names.split_first().ok_or_else(corrupt)?;
            let (name, rest) = rest.split_at_checked(usize::from(*length)).ok_or_else(corrupt)?;
            names = rest;
            read.push(Covered {
                mapping: MappingId(u128::from_be_bytes(mapping.try_into().map_err(|_| corrupt())?)),
                generation: Generation(u128::from_be_bytes(generation.try_into().map_err(|_| corrupt())?)),
                cache: String::from_utf8_lossy(name).into(),
            });
        }
        let ordered = read.windows(2).all(|pair| matches!(pair, [one, other] if one.mapping < other.mapping));
        if ordered { Ok(Self(read)) } else { Err(corrupt()) }
    }
}

/// A row of the desired coverage table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover {
    /// The cache, and the generation that it gets if it is not covered yet.
    pub covered: Covered,
    /// True if it gets this generation in any case: the cache is flushed.
    pub fresh: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(mapping: u128, generation: u128) -> Covered {
        Covered { mapping: MappingId(mapping), generation: Generation(generation), cache: format!("c{mapping}").into() }
    }

    #[test]
    fn a_mapping_keeps_its_generation_unless_its_row_is_fresh() {
        let table = Coverage::new([covered(3, 30), covered(1, 10), covered(2, 20)]);
        let cover = |mapping, fresh| Cover { covered: covered(mapping, 99), fresh };
        let next = table.covering(&[cover(1, false), cover(2, true), cover(4, false)]);
        assert_eq!(next.generation(MappingId(1)), Some(Generation(10)));
        assert_eq!(next.generation(MappingId(2)), Some(Generation(99)));
        assert_eq!(next.generation(MappingId(3)), None, "it is no longer covered");
        assert_eq!(next.generation(MappingId(4)), Some(Generation(99)));
        assert_eq!(table.intersection(&next).mappings().collect::<Vec<_>>(), [MappingId(1), MappingId(2)]);
    }

    #[test]
    fn an_encoded_table_is_decoded_and_damage_is_an_error() {
        let table = Coverage::new([covered(1, 10), covered(u128::MAX, 20)]);
        let (mut rows, mut names) = (Vec::new(), Vec::new());
        table.encode_rows(&mut rows);
        table.encode_names(&mut names);
        assert_eq!(Coverage::decode(&rows, &names).expect("a table"), table);
        assert!(Coverage::decode(&rows[..40], &names).is_err());
        assert!(Coverage::decode(&rows, &names[..2]).is_err());
        rows.rotate_left(COVERED_BYTES);
        assert!(Coverage::decode(&rows, &names).is_err(), "not in order");
    }
}
