//! Positions: sets of transaction numbers for each origin, in the notation of MySQL's GTID sets.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};

/// Maximum length of a position that is parsed from a client's text, in bytes; see [`Position::parse_stored`] for others.
pub const POSITION_TEXT_BYTES_MAX: usize = 16 * 1024;

/// Maximum length of a position that is parsed from a database or store, in bytes: about 20,000 servers or 400,000 ranges.
pub const POSITION_STORED_BYTES_MAX: usize = 1024 * 1024;

/// One committed transaction: its number at its origin.
///
/// For MySQL the origin is the server's UUID, followed by a colon and the tag if there is one, and the number is that of
/// the GTID. The embedded database uses its file's UUID and the number of the log row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gtid {
    /// Where the transaction was committed first, in lower case.
    pub origin: Arc<str>,
    /// Its number there, from 1.
    pub number: u64,
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.origin, self.number)
    }
}

/// A set of transactions: what a database has executed, what was applied to a store, or what a session has written.
///
/// Positions are compared as sets, never by number across origins ("Positions are sets" in docs/protocol.md). The text form is that of
/// MySQL's `@@GLOBAL.gtid_executed`: `uuid[:tag]:1-5:7,uuid:1-3`; white space is ignored.
///
/// ```
/// use cachefront::Position;
///
/// let executed: Position = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-40:42".parse()?;
/// let token: Position = "3E11FA47-71CA-11E1-9E33-C80AA9429562:40".parse()?;
/// assert!(executed.covers(&token));
/// assert!(!executed.covers(&"3e11fa47-71ca-11e1-9e33-c80aa9429562:41".parse()?));
/// # Ok::<(), cachefront::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Position {
    origins: BTreeMap<Arc<str>, Intervals>,
}

/// Up to this number of ranges are inserted one by one; more are merged at once.
const INSERTED_MAX: usize = 8;

/// Sorted, disjoint, not adjacent, inclusive ranges.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Intervals(Vec<(u64, u64)>);

impl Intervals {
    /// Adds a range, and merges it with ranges that it overlaps or touches.
    fn insert(&mut self, start: u64, end: u64) {
        // Almost every insertion is the next number of the last range.
        if let Some(last) = self.0.last_mut()
            && start >= last.0
            && start <= last.1.saturating_add(1)
        {
            last.1 = last.1.max(end);
            return;
        }
        let first = self.0.partition_point(|range| range.1.saturating_add(1) < start);
        let mut merged = (start, end);
        let mut past = first;
        while let Some(range) = self.0.get(past)
            && range.0 <= end.saturating_add(1)
        {
            merged = (merged.0.min(range.0), merged.1.max(range.1));
            past += 1;
        }
        self.0.splice(first..past, [merged]);
    }

    /// Adds a range at the end. [`normalize`](Self::normalize) must follow.
    fn append(&mut self, start: u64, end: u64) {
        match self.0.last_mut() {
            Some(last) if start >= last.0 && start <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            _ => self.0.push((start, end)),
        }
    }

    /// Sorts ranges, and merges those that overlap or touch: once for many, where an insertion of each would move those behind it.
    fn normalize(&mut self) {
        let is_normal = self.0.windows(2).all(|pair| matches!(pair, [one, next] if one.1.saturating_add(1) < next.0));
        if !is_normal {
            let mut ranges = std::mem::take(&mut self.0);
            // Sorted runs are merged in linear time.
            ranges.sort();
            ranges.into_iter().for_each(|(start, end)| self.append(start, end));
        }
    }

    fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for &(start, end) in &self.0 {
            let first = other.0.partition_point(|range| range.1 < start);
            for range in other.0.iter().skip(first).take_while(|range| range.0 <= end) {
                both.0.push((start.max(range.0), end.min(range.1)));
            }
        }
        both
    }

    /// Returns true if one range contains all numbers from `start` to `end`.
    fn covers(&self, start: u64, end: u64) -> bool {
        let at = self.0.partition_point(|range| range.1 < start);
        self.0.get(at).is_some_and(|range| range.0 <= start && end <= range.1)
    }
}

impl Position {
    pub(crate) const EMPTY: Self = Self { origins: BTreeMap::new() };

    /// Creates an empty position, before every commit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns true if the set is empty.
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// Adds one transaction.
    pub fn insert(&mut self, gtid: &Gtid) {
        self.insert_range(&gtid.origin, gtid.number, gtid.number);
    }

    /// Adds all transactions of `origin` from `start` to `end`, both included. An empty range has no effect.
    pub fn insert_range(&mut self, origin: &Arc<str>, start: u64, end: u64) {
        if start == 0 || end < start {
            return;
        }
        match self.origins.get_mut(origin) {
            Some(intervals) => intervals.insert(start, end),
            None => {
                self.origins.insert(Arc::clone(origin), Intervals(vec![(start, end)]));
            }
        }
    }

    /// Adds every transaction of `other`.
    pub fn union(&mut self, other: &Self) {
        for (origin, intervals) in &other.origins {
            match self.origins.entry(Arc::clone(origin)) {
                MapEntry::Vacant(vacant) => {
                    vacant.insert(intervals.clone());
                }
                MapEntry::Occupied(mut occupied) if intervals.0.len() <= INSERTED_MAX => {
                    for &(start, end) in &intervals.0 {
                        occupied.get_mut().insert(start, end);
                    }
                }
                MapEntry::Occupied(mut occupied) => {
                    occupied.get_mut().0.extend_from_slice(&intervals.0);
                    occupied.get_mut().normalize();
                }
            }
        }
    }

    /// Returns the transactions that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let both = self.origins.iter().filter_map(|(origin, intervals)| {
            let both = intervals.intersection(other.origins.get(origin)?);
            (!both.0.is_empty()).then(|| (Arc::clone(origin), both))
        });
        Self { origins: both.collect() }
    }

    /// Returns true if every transaction of `other` is in this set. Every position covers the empty one.
    pub fn covers(&self, other: &Self) -> bool {
        other.origins.iter().all(|(origin, wanted)| {
            self.origins.get(origin).is_some_and(|mine| wanted.0.iter().all(|&(start, end)| mine.covers(start, end)))
        })
    }

    /// Returns true if the transaction is in this set.
    pub fn contains(&self, gtid: &Gtid) -> bool {
        self.origins.get(&gtid.origin).is_some_and(|mine| mine.covers(gtid.number, gtid.number))
    }

    /// Parses a position from a database or store, of up to [`POSITION_STORED_BYTES_MAX`] bytes; text from a client
    /// ([`FromStr`]) may have only [`POSITION_TEXT_BYTES_MAX`].
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], naming the part that is not a GTID set.
    pub fn parse_stored(text: &str) -> Result<Self, Error> {
        Self::parse(text, POSITION_STORED_BYTES_MAX)
    }

    fn parse(text: &str, bytes_max: usize) -> Result<Self, Error> {
        if text.len() > bytes_max {
            return Err(malformed(format!(
                "a position of {} bytes is too long: the maximum is {bytes_max}",
                text.len()
            )));
        }
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
        let mut position = Self::new();
        for part in compact.split(',').filter(|part| !part.is_empty()) {
            parse_origin(part, &mut position)?;
        }
        position.origins.values_mut().for_each(Intervals::normalize);
        Ok(position)
    }

    /// Removes ranges until each origin has at most `max`: those in the middle, so that the long first range and the newest
    /// ones stay. A position that claims less is still true.
    pub fn limit_ranges(&mut self, max: usize) {
        let max = max.max(2);
        for intervals in self.origins.values_mut() {
            let surplus = intervals.0.len().saturating_sub(max);
            if surplus > 0 {
                intervals.0.drain(1..=surplus);
            }
        }
    }

    /// Returns the origins and their ranges (both ends included), in order.
    pub fn ranges(&self) -> impl Iterator<Item = (&str, &[(u64, u64)])> {
        self.origins.iter().map(|(origin, intervals)| (&**origin, intervals.0.as_slice()))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (origin, intervals)) in self.origins.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(origin)?;
            for (start, end) in &intervals.0 {
                if start == end {
                    write!(f, ":{start}")?;
                } else {
                    write!(f, ":{start}-{end}")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({self})")
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text, POSITION_TEXT_BYTES_MAX)
    }
}

/// Parses one origin with its tags and ranges, which are not in order yet.
fn parse_origin(part: &str, position: &mut Position) -> Result<(), Error> {
    let mut fields = part.split(':');
    let server = fields.next().unwrap_or_default();
    if server.is_empty() || !server.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(malformed(format!("`{}` is not an origin: a server's UUID is expected", shorten(server))));
    }
    let mut origin: Arc<str> = Arc::from(server);
    let mut ranges = 0;
    for field in fields {
        if field.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            // A tag applies to the ranges that follow it.
            if field.len() > 32 || !field.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(malformed(format!("`{}` is not a tag", shorten(field))));
            }
            origin = Arc::from(format!("{server}:{field}"));
            continue;
        }
        let (start, end) = parse_range(field)?;
        match position.origins.get_mut(&origin) {
            Some(intervals) => intervals.append(start, end),
            None => {
                position.origins.insert(Arc::clone(&origin), Intervals(vec![(start, end)]));
            }
        }
        ranges += 1;
    }
    if ranges == 0 {
        return Err(malformed(format!("`{}` names no transaction: `origin:1-5` is expected", shorten(part))));
    }
    Ok(())
}

/// The highest transaction number of MySQL.
const NUMBER_MAX: u64 = i64::MAX as u64 - 1;

/// Parses `5` or `1-5`.
fn parse_range(field: &str) -> Result<(u64, u64), Error> {
    let bad = || malformed(format!("`{}` is not a range of transaction numbers from 1", shorten(field)));
    let (start, end) = field.split_once('-').unwrap_or((field, field));
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u64>().ok().filter(|number| (1..=NUMBER_MAX).contains(number)),
        false => None,
    };
    let start = number(start).ok_or_else(bad)?;
    let end = number(end).ok_or_else(bad)?;
    if end < start {
        return Err(bad());
    }
    Ok((start, end))
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

fn malformed(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn position(text: &str) -> Position {
        text.parse().expect("a position")
    }

    #[test]
    fn ranges_merge_and_print_in_canonical_form() {
        let mut set = position(&format!("{A}:5:1-3,\n {B}:7"));
        set.insert(&Gtid { origin: A.into(), number: 4 });
        set.insert(&Gtid { origin: A.into(), number: 6 });
        set.insert(&Gtid { origin: A.into(), number: 9 });
        assert_eq!(set.to_string(), format!("{A}:1-6:9,{B}:7"));
        assert_eq!(position(&set.to_string()), set);
    }

    #[test]
    fn a_tag_is_a_separate_origin() {
        let set = position(&format!("{A}:1-5:sale:1-2"));
        assert!(set.covers(&position(&format!("{A}:sale:2"))));
        assert!(!set.covers(&position(&format!("{A}:sale:3"))));
        assert!(!set.covers(&position(&format!("{A}:other:1"))));
        assert_eq!(position(&set.to_string()), set);
        assert_eq!(position(&format!("{A}:9223372036854775806")).to_string(), format!("{A}:9223372036854775806"));
    }

    #[test]
    fn a_higher_number_of_another_origin_proves_nothing() {
        assert!(!position(&format!("{A}:1-100")).covers(&position(&format!("{B}:5"))));
        assert!(!position(&format!("{A}:1-4:6-100")).covers(&position(&format!("{A}:5"))));
        assert!(!position(&format!("{A}:1-4:6-100")).covers(&position(&format!("{A}:3-7"))));
        assert!(Position::new().covers(&Position::new()));
    }

    /// A client's token may have its ranges in any order.
    #[test]
    fn descending_ranges_cost_no_more_than_ascending_ones() {
        let odd: Vec<String> = (1..100_000_u64).map(|number| (2 * number).to_string()).collect();
        let text = |numbers: &[String]| format!("a:{}", numbers.join(":"));
        let parsed = |text: &str| {
            let began = std::time::Instant::now();
            let position = Position::parse_stored(text).expect("a position");
            (position, began.elapsed())
        };
        let (ascending, quick) = parsed(&text(&odd));
        let mut reversed = odd;
        reversed.reverse();
        let (descending, took) = parsed(&text(&reversed));
        assert_eq!(ascending, descending);
        // An insertion of each takes a thousand times as long.
        assert!(took < quick * 20 + std::time::Duration::from_millis(20), "{took:?}, ascending {quick:?}");
    }

    #[test]
    fn ranges_in_any_order_are_those_of_their_set() {
        let mut set = position("a:9:7-8:1-3:2-5:20:3");
        assert_eq!(set.to_string(), "a:1-5:7-9:20");
        let many: String = (1..=19_u64).map(|number| format!(":{}", 40 - 2 * number)).collect();
        set.union(&position(&format!("a{many}")));
        assert_eq!(set, position("a:1-10:12:14:16:18:20:22:24:26:28:30:32:34:36:38"));
        assert_eq!(position("a:5,a:3,a:4"), position("a:3-5"));
    }

    #[test]
    fn malformed_positions_are_refused() {
        for text in [
            ":1-5",
            "uu/id:1",
            A,
            "a:0",
            "a:5-3",
            "a:1-",
            "a:+1",
            "a:9223372036854775807",
            "a:1-18446744073709551615",
            "a:tag",
            "a::1",
        ] {
            let error = text.parse::<Position>().expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{text}");
        }
        assert!("a:1,".repeat(10_000).parse::<Position>().is_err());
    }
}
