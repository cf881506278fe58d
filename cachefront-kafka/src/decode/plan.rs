//! The tables of interest with their columns, and the GTID origins that records share.

use std::collections::HashMap;
use std::sync::Arc;

use cachefront_core::Gtid;
use cachefront_core::event::TableName;
use cachefront_core::source::{Columns, TableFilter};

use super::problem::Problem;
use super::row::Shape;
use super::settings::{ColumnType, DecoderSettings};

/// Maximum number of origins kept, which is more than any server's log has; beyond it all are interned again.
const ORIGINS_MAX: usize = 64;

/// How to decode the records of one table of interest.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) table: TableName,
    pub(super) row: Shape,
    /// The rows that keys hold: they have the key's columns only.
    pub(super) key: Shape,
    /// False as soon as a key lacks a column of interest; the row is then parsed, which is always right and slower.
    pub(super) key_suffices: bool,
}

/// All tables of interest.
#[derive(Debug)]
pub(super) struct Plans {
    plans: Vec<Plan>,
    /// By database, then by name: a lookup allocates no name.
    databases: HashMap<Box<str>, HashMap<Box<str>, usize>>,
    /// The table of the last lookup: records of one table come in runs.
    last: usize,
    /// Set if every table is of interest ([`DecoderSettings::inspect`]).
    inspect: Option<DecoderSettings>,
}

impl Plans {
    pub(super) fn new(settings: &DecoderSettings, filter: &TableFilter) -> Self {
        let inspect = settings.inspect.then(|| settings.clone());
        let mut plans = Self { plans: Vec::new(), databases: HashMap::new(), last: 0, inspect };
        for (table, columns) in filter.iter() {
            plans.add(settings, table, columns);
        }
        plans
    }

    /// Adds a table under each way to split its name into database and table.
    fn add(&mut self, settings: &DecoderSettings, table: &TableName, columns: &Columns) {
        // Database and table names may contain dots, so every dot is tried as the separator.
        for (at, _) in table.as_str().match_indices('.') {
            let (database, name) = table.as_str().split_at(at);
            let name = name.strip_prefix('.').unwrap_or(name);
            self.databases.entry(database.into()).or_default().insert(name.into(), self.plans.len());
        }
        let hints = Arc::new(hints(settings, table.as_str()));
        let row = Shape::new(columns, Arc::clone(&hints));
        let key = Shape::new(columns, hints);
        let key_suffices = settings.key_is_row && key.is_choice();
        self.plans.push(Plan { table: table.clone(), row, key, key_suffices });
    }

    /// Adds the table if every table is of interest.
    pub(super) fn inspect(&mut self, table: &TableName) {
        if let Some(settings) = self.inspect.take() {
            if self.tables().all(|known| known != table) {
                self.add(&settings, table, &Columns::All);
            }
            self.inspect = Some(settings);
        }
    }

    /// Returns the table of this name; `None` if it is not of interest.
    #[inline]
    pub(super) fn find(&mut self, database: &str, name: &str) -> Option<&mut Plan> {
        let is_last = self.plans.get(self.last).is_some_and(|plan| {
            plan.table.as_str().strip_prefix(database).and_then(|rest| rest.strip_prefix('.')) == Some(name)
        });
        if !is_last {
            if self.inspect.is_some() {
                self.inspect(&TableName::new(database, name));
            }
            self.last = *self.databases.get(database)?.get(name)?;
        }
        self.plans.get_mut(self.last)
    }

    /// Returns the table of this full name; `None` if it is not of interest.
    pub(super) fn find_full(&mut self, table: &str) -> Option<&mut Plan> {
        if self.inspect.is_some() {
            self.inspect(&TableName::from(table));
        }
        self.plans.iter_mut().find(|plan| plan.table.as_str() == table)
    }

    /// Returns a table's name, shared if the table is of interest.
    pub(super) fn name(&self, full: &str) -> TableName {
        let known = self.tables().find(|table| table.as_str() == full);
        known.cloned().unwrap_or_else(|| TableName::from(full))
    }

    /// Decodes from rows even if the key has all columns of interest.
    #[cfg(test)]
    pub(super) fn never_by_key(&mut self) {
        self.plans.iter_mut().for_each(|plan| plan.key_suffices = false);
    }

    /// Returns the names of all tables of interest.
    pub(super) fn tables(&self) -> impl Iterator<Item = &TableName> {
        self.plans.iter().map(|plan| &plan.table)
    }
}

/// The configured types of one table's columns.
fn hints(settings: &DecoderSettings, table: &str) -> HashMap<Box<str>, ColumnType> {
    let column = |name: &str| name.strip_prefix(table)?.strip_prefix('.').map(Box::from);
    settings.columns.iter().filter_map(|(name, kind)| Some((column(name)?, *kind))).collect()
}

/// The origins of transactions, interned.
#[derive(Debug, Default)]
pub(super) struct Origins {
    known: Vec<Arc<str>>,
    last: usize,
}

impl Origins {
    /// Parses a GTID, `uuid:number` or `uuid:tag:number`.
    #[inline]
    pub(super) fn gtid(&mut self, text: &str) -> Result<Gtid, Problem> {
        let (origin, number) = text.rsplit_once(':').ok_or(Problem::Gtid)?;
        if number.starts_with('+') {
            return Err(Problem::Gtid);
        }
        let number = number.parse().ok().filter(|&number: &u64| number > 0 && number < u64::MAX);
        let number = number.ok_or(Problem::Gtid)?;
        if let Some(known) = self.known.get(self.last)
            && **known == *origin
        {
            return Ok(Gtid { origin: Arc::clone(known), number });
        }
        Ok(Gtid { origin: self.intern(origin)?, number })
    }

    /// Almost every record has the origin of the one before: comparing it costs less than
    /// allocating it.
    fn intern(&mut self, origin: &str) -> Result<Arc<str>, Problem> {
        let origin = origin.to_ascii_lowercase();
        if let Some(index) = self.known.iter().position(|known| **known == *origin) {
            self.last = index;
        } else {
            check(&origin)?;
            if self.known.len() >= ORIGINS_MAX {
                self.known.clear();
            }
            self.last = self.known.len();
            self.known.push(origin.into());
        }
        self.known.get(self.last).map(Arc::clone).ok_or(Problem::Gtid)
    }
}

/// Checks that an origin is a server's UUID, optionally followed by a tag (see [GTID format]).
///
/// [GTID format]: https://dev.mysql.com/doc/refman/8.4/en/replication-gtids-concepts.html
fn check(origin: &str) -> Result<(), Problem> {
    let (server, tag) = origin.split_once(':').map_or((origin, None), |(server, tag)| (server, Some(tag)));
    let server_ok = !server.is_empty() && server.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let tag_ok = tag.is_none_or(|tag| {
        let letters = tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (1..=32).contains(&tag.len()) && letters && !tag.starts_with(|first: char| first.is_ascii_digit())
    });
    if server_ok && tag_ok { Ok(()) } else { Err(Problem::Gtid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn a_gtid_may_have_a_tag_and_shares_its_origin() {
        let mut origins = Origins::default();
        let plain = origins.gtid(&format!("{A}:7")).expect("a GTID");
        let tagged = origins.gtid(&format!("{A}:sale:8")).expect("a GTID");
        let upper = origins.gtid(&format!("{}:9", A.to_uppercase())).expect("a GTID");
        assert_eq!(tagged.to_string(), format!("{A}:sale:8"));
        assert!(Arc::ptr_eq(&plain.origin, &upper.origin));
        for text in ["", A, "a:", ":1", "a:0", "a:-1", "a:+1", "a:1-5", "a b:1", "a:1x:1", "a::1", "0-1-270"] {
            assert_eq!(origins.gtid(text), Err(Problem::Gtid), "{text}");
        }
    }

    #[test]
    fn origins_are_bounded() {
        let mut origins = Origins::default();
        for number in 0..1_000 {
            origins.gtid(&format!("s{number}:1")).expect("a GTID");
        }
        assert!(origins.known.len() <= ORIGINS_MAX);
    }
}
