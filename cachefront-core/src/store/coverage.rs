//! Coverage: which caches the invalidator in force keeps correct, and under which mapping.
//!
//! `applied` vouches only for what its holder maps. So the meta lists every covered cache by its [`MappingId`], each
//! with a generation of its own; a reader whose mapping is not listed treats everything it finds as a miss and stores
//! nothing.

use crate::error::{Error, ErrorKind, Result};
use crate::identity::Generation;
use crate::mapping::MappingId;

/// Bytes of one row of a coverage table in the store: a mapping id and a generation.
pub const COVERED_BYTES: usize = 32;

/// At most this many caches in one namespace. The table travels with every read.
pub const COVERED_MAX: usize = 1_024;

/// One covered cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The cache under its mapping.
    pub mapping: MappingId,
    /// The generation of its entries. It is random, and replaced when the cache is flushed.
    pub generation: Generation,
    /// The cache's name, for people.
    pub cache: Box<str>,
}

/// The caches that a meta vouches for, ordered by mapping id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(Vec<Covered>);

impl Coverage {
    /// Nothing is covered.
    pub const EMPTY: Self = Self(Vec::new());

    /// The table of these rows; of two rows with one mapping the first counts.
    pub fn new(rows: impl IntoIterator<Item = Covered>) -> Self {
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by_key(|row| row.mapping);
        rows.dedup_by_key(|row| row.mapping);
        Self(rows)
    }

    /// The generation of a cache's entries. `None` if the cache is not covered under this mapping.
    pub fn generation(&self, mapping: MappingId) -> Option<Generation> {
        let at = self.0.binary_search_by_key(&mapping, |row| row.mapping).ok()?;
        self.0.get(at).map(|row| row.generation)
    }

    /// True if a covered cache has this generation.
    pub fn has_generation(&self, generation: Generation) -> bool {
        self.0.iter().any(|row| row.generation == generation)
    }

    /// True if the cache is covered under this mapping.
    pub fn covers(&self, mapping: MappingId) -> bool {
        self.generation(mapping).is_some()
    }

    /// The rows, ordered by mapping id.
    pub fn rows(&self) -> &[Covered] {
        &self.0
    }

    /// The covered mappings.
    pub fn mappings(&self) -> impl Iterator<Item = MappingId> {
        self.0.iter().map(|row| row.mapping)
    }

    /// True if nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows that `other` covers too, with this table's generations.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.iter().filter(|row| other.covers(row.mapping)).cloned().collect())
    }

    /// The table after [`StoreWriter::cover`](crate::store::StoreWriter::cover): a mapping that is here already keeps
    /// its generation, unless its row says that it is fresh.
    #[must_use]
    pub fn covering(&self, rows: &[Cover]) -> Self {
        Self::new(rows.iter().map(|row| {
            let kept = if row.fresh { None } else { self.generation(row.covered.mapping) };
            Covered { generation: kept.unwrap_or(row.covered.generation), ..row.covered.clone() }
        }))
    }

    /// Appends the rows, each a mapping id and a generation.
    pub fn encode_rows(&self, out: &mut Vec<u8>) {
        for row in &self.0 {
            out.extend_from_slice(&row.mapping.0.to_be_bytes());
            out.extend_from_slice(&row.generation.0.to_be_bytes());
        }
    }

    /// Appends the names, in the order of the rows, each after its length in one byte.
    pub fn encode_names(&self, out: &mut Vec<u8>) {
        for row in &self.0 {
            // A cache's name has 64 bytes at most.
            let name = row.cache.as_bytes().get(..row.cache.len().min(255)).unwrap_or_default();
            out.push(name.len() as u8);
            out.extend_from_slice(name);
        }
    }

    /// Reads what [`encode_rows`](Self::encode_rows) and [`encode_names`](Self::encode_names) wrote.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if rows and names do not fit each other.
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

/// A row that a coverage table is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover {
    /// The cache, and the generation it gets if it is not covered yet.
    pub covered: Covered,
    /// True if it gets that generation in any case: everything cached of it is void.
    pub fresh: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(mapping: u128, generation: u128) -> Covered {
        Covered { mapping: MappingId(mapping), generation: Generation(generation), cache: format!("c{mapping}").into() }
    }

    #[test]
    fn a_mapping_that_stays_keeps_its_generation_unless_it_is_to_be_fresh() {
        let table = Coverage::new([covered(3, 30), covered(1, 10), covered(2, 20)]);
        let cover = |mapping, fresh| Cover { covered: covered(mapping, 99), fresh };
        let next = table.covering(&[cover(1, false), cover(2, true), cover(4, false)]);
        assert_eq!(next.generation(MappingId(1)), Some(Generation(10)));
        assert_eq!(next.generation(MappingId(2)), Some(Generation(99)));
        assert_eq!(next.generation(MappingId(3)), None, "it is covered no more");
        assert_eq!(next.generation(MappingId(4)), Some(Generation(99)));
        assert_eq!(table.intersection(&next).mappings().collect::<Vec<_>>(), [MappingId(1), MappingId(2)]);
    }

    #[test]
    fn what_was_written_is_read_and_damage_is_an_error() {
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
