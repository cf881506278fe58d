//! The identity of a cache's mapping.

use std::fmt;

use crate::filter::{Columns, TableFilter};

/// A hash of a cache's name, its tables, their columns, the servers that it loads from, and its mapping version.
///
/// It is the same in every process and release that maps the cache in the same way, and changes with a table, a column, a
/// server or the version.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MappingId(pub u128);

impl MappingId {
    /// Returns the id of the cache `cache` whose keys are made of these tables and columns.
    ///
    /// `servers` are those that the cache loads from in addition to the one whose log is followed: the gate has to wait on
    /// them, so an invalidator that does not know them must not cover the cache.
    ///
    /// The hash cannot include the code that makes keys of a row. `version` stands for that code: raise it when the same
    /// columns lead to other keys.
    pub fn new(cache: &str, filter: &TableFilter, servers: &[Box<str>], version: u32) -> Self {
        let mut hash = Fnv::new();
        hash.part(cache.as_bytes());
        hash.part(&version.to_be_bytes());
        for (table, columns) in filter.iter() {
            hash.part(table.as_str().as_bytes());
            // Such a text alone does not show where the database ends.
            if table.as_str().matches('.').nth(1).is_some() {
                hash.part(table.database().as_bytes());
            }
            match columns {
                Columns::All => hash.part(b"*"),
                Columns::Only(names) => {
                    let mut names: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
                    names.sort();
                    names.dedup();
                    for name in names {
                        hash.part(name.as_bytes());
                    }
                }
            }
            hash.part(b"");
        }
        let mut servers: Vec<&str> = servers.iter().map(|server| &**server).collect();
        servers.sort_unstable();
        for server in servers {
            hash.part(server.as_bytes());
        }
        Self(hash.0)
    }

    /// Returns the id of the same mapping for a cache whose values may have tags: a reader that does not know them must not
    /// serve its values.
    #[must_use]
    pub fn tagged(self) -> Self {
        let mut hash = Fnv(self.0);
        hash.part(b"tags");
        Self(hash.0)
    }
}

impl fmt::Debug for MappingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MappingId({:032x})", self.0)
    }
}

/// FNV-1a with 128 bits: short, and stable over platforms and releases. Its input comes from the program itself.
struct Fnv(u128);

impl Fnv {
    fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    /// Adds the length of a part and the part, so that different lists of parts have different input.
    fn part(&mut self, bytes: &[u8]) {
        for byte in (bytes.len() as u64).to_be_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TableName;

    #[test]
    fn another_cache_table_column_or_version_is_another_mapping() {
        let filter = |table: &str, columns: Columns| {
            let mut filter = TableFilter::new();
            filter.add(TableName::from(table), &columns);
            filter
        };
        let only = |names: &[&str]| Columns::Only(names.iter().map(|&name| name.into()).collect());
        let users = MappingId::new("users", &filter("shop.users", only(&["id", "mail"])), &[], 0);
        assert_eq!(users, MappingId::new("users", &filter("shop.users", only(&["Mail", "id"])), &[], 0));
        for other in [
            MappingId::new("user", &filter("shop.users", only(&["id", "mail"])), &[], 0),
            MappingId::new("users", &filter("shop.user", only(&["id", "mail"])), &[], 0),
            MappingId::new("users", &filter("shop.users", only(&["idmail"])), &[], 0),
            MappingId::new("users", &filter("shop.users", Columns::All), &[], 0),
            MappingId::new("users", &filter("shop.users", only(&["id", "mail"])), &[], 1),
            MappingId::new("users", &TableFilter::new(), &[], 0),
            MappingId::new("users", &filter("shop.users", only(&["id", "mail"])), &["replica".into()], 0),
        ] {
            assert_ne!(users, other);
        }
        let of = |table: TableName| {
            let mut filter = TableFilter::new();
            filter.add(table, &Columns::All);
            MappingId::new("users", &filter, &[], 0)
        };
        assert_ne!(of(("shop.example.org", "users").into()), of(("shop", "example.org.users").into()));
        assert_ne!(of(("shop.example.org", "users").into()), of("shop.example.org.users".into()));
        // Other processes and releases rely on this number.
        assert_eq!(
            MappingId::new("users", &filter("shop.users", only(&["id"])), &[], 7).0,
            MAPPING_OF_THE_FIRST_RELEASE
        );
    }

    const MAPPING_OF_THE_FIRST_RELEASE: u128 = 0x08315211d034a6f99386dc95acf54410;
}
