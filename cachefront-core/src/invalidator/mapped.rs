//! The bound caches of an invalidator, each with its mapping.

use std::sync::Arc;

use crate::clock::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::keymap::KeyMap;
use crate::source::TableFilter;
use crate::store::coverage::COVERED_MAX;
use crate::store::{Cover, Coverage, Covered, Generation, MappingId};

/// One bound cache.
#[derive(Debug)]
pub(crate) struct Mapped {
    /// The cache's key map.
    pub(crate) map: Arc<dyn KeyMap>,
    /// The id of the map.
    pub(crate) mapping: MappingId,
    /// Why the source cannot deliver every change of its tables exactly: the cache is not covered. `None` if it can.
    pub(crate) unfit: Option<Error>,
}

impl Mapped {
    /// Returns the cache's name.
    pub(crate) fn cache(&self) -> &str {
        self.map.cache()
    }

    /// Returns true if the cache is covered while this invalidator holds the term.
    pub(crate) fn is_fit(&self) -> bool {
        self.unfit.is_none()
    }
}

/// All bound caches.
#[derive(Debug)]
pub(crate) struct Caches(Vec<Mapped>);

/// How the coverage of the store's meta compares with the bound caches of this invalidator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// The meta covers the same caches.
    Same,
    /// The meta covers less: this invalidator knows all covered caches, and more.
    Less,
    /// The meta covers a cache that this invalidator does not know.
    Other,
}

impl Caches {
    /// Collects the caches that depend on a table.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if no cache depends on a table, two caches of one name have different mappings, there are too
    /// many, or a cache loads from a replica that the source's own gate does not wait on.
    pub(crate) fn new(maps: Vec<Arc<dyn KeyMap>>, own_gate: bool) -> Result<Self> {
        if let Some(map) = maps.iter().find(|map| !map.loads_from().is_empty() && !map.is_fenced() && !own_gate) {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cache `{}` loads from {}, on which the source's own gate does not wait: give one that does with \
                     `Cdc::gate`, or make the cache `fenced`",
                    map.cache(),
                    map.loads_from().join(", ")
                ),
            ));
        }
        if maps.len() > COVERED_MAX {
            let message = format!("{} caches are bound: one namespace may have {COVERED_MAX}", maps.len());
            return Err(Error::new(ErrorKind::Config, message));
        }
        let mut caches: Vec<Mapped> = Vec::with_capacity(maps.len());
        for map in maps {
            let mapping = map.mapping();
            if let Some(other) = caches.iter().find(|other| other.cache() == map.cache() && other.mapping != mapping) {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!(
                        "two caches named `{}` are bound and depend on different tables, columns or mapping versions: \
                         give one of them another name",
                        other.cache()
                    ),
                ));
            }
            if !map.table_filter().is_empty() {
                caches.push(Mapped { map, mapping, unfit: None });
            }
        }
        if caches.is_empty() {
            let message = "no bound cache depends on a table: add `depends_on` to the cache";
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(Self(caches))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mapped> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Mapped> {
        self.0.get(index)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut Mapped> {
        self.0.get_mut(index)
    }

    /// Returns true if a cache without a fence loads from another server than the one whose log is read.
    pub(crate) fn load_from_replicas(&self) -> bool {
        self.0.iter().any(|cache| !cache.map.loads_from().is_empty() && !cache.map.is_fenced())
    }

    /// Returns true if a cache keeps only values whose position covers a fence.
    pub(crate) fn are_fenced(&self) -> bool {
        self.0.iter().any(|cache| cache.map.is_fenced())
    }

    /// Returns every table and column that the caches depend on.
    pub(crate) fn table_filter(&self) -> TableFilter {
        let mut filter = TableFilter::new();
        for cache in &self.0 {
            filter.merge(&cache.map.table_filter());
        }
        filter
    }

    /// Returns the mappings that are covered while this invalidator holds the term.
    pub(crate) fn covered(&self) -> Vec<MappingId> {
        let mut mappings: Vec<_> = self.0.iter().filter(|cache| cache.is_fit()).map(|cache| cache.mapping).collect();
        mappings.sort();
        mappings.dedup();
        mappings
    }

    /// Returns the names of the caches that are not covered.
    pub(crate) fn unfit(&self) -> Vec<String> {
        self.0.iter().filter(|cache| !cache.is_fit()).map(|cache| cache.cache().to_owned()).collect()
    }

    /// Returns why the first of them is not covered; `None` if all are.
    pub(crate) fn unfit_reason(&self) -> Option<Error> {
        self.0.iter().find_map(|cache| cache.unfit.clone())
    }

    /// Compares `coverage` with the bound caches, fit or not.
    pub(crate) fn relation(&self, coverage: &Coverage) -> Relation {
        if coverage.mappings().any(|mapping| !self.0.iter().any(|cache| cache.mapping == mapping)) {
            Relation::Other
        } else if self.0.iter().all(|cache| coverage.covers(cache.mapping) || !cache.is_fit()) {
            Relation::Same
        } else {
            Relation::Less
        }
    }

    /// Returns the names of the caches in `coverage` that this invalidator does not know.
    pub(crate) fn unknown(&self, coverage: &Coverage) -> String {
        let unknown = coverage.rows().iter().filter(|row| !self.0.iter().any(|cache| cache.mapping == row.mapping));
        unknown.map(|row| format!("`{}`", row.cache)).collect::<Vec<_>>().join(", ")
    }

    /// Returns the rows of the desired coverage table; the caches at the indices `fresh` get new generations.
    pub(crate) fn rows(&self, entropy: &dyn Entropy, fresh: &[usize]) -> Vec<Cover> {
        let fit = self.0.iter().enumerate().filter(|(_, cache)| cache.is_fit());
        fit.map(|(index, cache)| Cover { covered: covered(cache, entropy), fresh: fresh.contains(&index) }).collect()
    }

    /// Returns a coverage table in which every cache has a new generation.
    pub(crate) fn coverage(&self, entropy: &dyn Entropy) -> Coverage {
        Coverage::new(self.rows(entropy, &[]).into_iter().map(|row| row.covered))
    }
}

fn covered(cache: &Mapped, entropy: &dyn Entropy) -> Covered {
    Covered { mapping: cache.mapping, generation: Generation(entropy.random_u128()), cache: cache.cache().into() }
}
