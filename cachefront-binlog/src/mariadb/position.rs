//! Positions of MariaDB as the core's [`Position`].
//!
//! A [GTID of MariaDB](https://mariadb.com/kb/en/gtid/) is `domain-server-sequence`. With `gtid_strict_mode=ON` the sequence
//! rises within a domain, whichever server writes. Here the origin is `domain-server`, and a transaction stands for all before
//! it with that origin: `@@GLOBAL.gtid_binlog_state` `0-101-110,0-102-120` is the position `0-101:1-110,0-102:1-120`.

use std::collections::BTreeMap;
use std::sync::Arc;

use cachefront_core::{Error, ErrorKind, Gtid, Position, Result};

/// The origin of the transactions of a server in a domain.
pub(crate) fn origin(domain: u32, server: u32) -> Arc<str> {
    format!("{domain}-{server}").into()
}

/// Splits an origin into domain and server. `None` if it is one of another source.
fn split(origin: &str) -> Option<(u32, u32)> {
    let (domain, server) = origin.split_once('-')?;
    Some((domain.parse().ok()?, server.parse().ok()?))
}

/// Returns true if a transaction is of MariaDB. The UUID of a server of MySQL has 36 characters.
pub(crate) fn is_gtid(gtid: &Gtid) -> bool {
    gtid.origin.len() < 24 && split(&gtid.origin).is_some()
}

/// Returns true if all transactions of a position are of MariaDB.
pub(crate) fn is_of_mariadb(position: &Position) -> bool {
    position.ranges().all(|(origin, _)| split(origin).is_some())
}

/// Adds a transaction, and if it is one of MariaDB, all before it.
pub(crate) fn insert(position: &mut Position, gtid: &Gtid) {
    if is_gtid(gtid) {
        position.insert_range(&gtid.origin, 1, gtid.number);
    } else {
        position.insert(gtid);
    }
}

/// Parses a list of GTIDs, each with all before it.
///
/// # Errors
/// `Corrupt` if it is no such list.
pub(crate) fn parse(list: &str) -> Result<Position> {
    let mut position = Position::new();
    for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let (origin, number) = parse_gtid(text)?;
        position.insert_range(&origin, 1, number);
    }
    Ok(position)
}

/// Parses one GTID.
///
/// # Errors
/// `Corrupt` if it is none.
pub(crate) fn parse_gtid(text: &str) -> Result<(Arc<str>, u64)> {
    let parts = text.rsplit_once('-').and_then(|(origin, number)| Some((split(origin)?, number.parse().ok()?)));
    let Some(((domain, server), number)) = parts else {
        let text: String = text.chars().take(64).collect();
        return Err(Error::new(ErrorKind::Corrupt, format!("`{text}` is not a GTID of MariaDB")));
    };
    Ok((origin(domain, server), number))
}

/// The state that a replica connects with: the last GTID of each domain.
///
/// # Errors
/// `Gap` if the position is not one of MariaDB.
pub(crate) fn to_connect_state(position: &Position) -> Result<String> {
    let mut last: BTreeMap<u32, (u64, u32)> = BTreeMap::new();
    for (origin, ranges) in position.ranges() {
        let Some((domain, server)) = split(origin) else {
            let text =
                format!("the checkpoint names the origin `{origin}`, which is not a domain and server of MariaDB");
            return Err(Error::new(ErrorKind::Gap, text));
        };
        let number = ranges.last().map_or(0, |range| range.1);
        let newest = last.entry(domain).or_insert((number, server));
        *newest = (*newest).max((number, server));
    }
    let list: Vec<String> =
        last.iter().map(|(domain, (number, server))| format!("{domain}-{server}-{number}")).collect();
    Ok(list.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_several_domains_is_read_and_written() {
        let position = parse("0-101-110,1-5-7, 0-102-120").expect("a state");
        assert_eq!(position.to_string(), "0-101:1-110,0-102:1-120,1-5:1-7");
        assert_eq!(to_connect_state(&position).expect("a state"), "0-102-120,1-5-7");
        assert_eq!(position.to_string().parse::<Position>().expect("a position"), position);
        assert!(parse("").expect("empty").is_empty());
        for wrong in ["0-1", "x", "0-1-2-3-x", "0--1"] {
            assert_eq!(parse(wrong).expect_err(wrong).kind(), ErrorKind::Corrupt);
        }
        let mysql: Position = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".parse().expect("a position");
        assert_eq!(to_connect_state(&mysql).expect_err("another source").kind(), ErrorKind::Gap);
    }

    #[test]
    fn a_transaction_stands_for_all_before_it_on_mariadb_only() {
        let mut position = Position::new();
        insert(&mut position, &Gtid { origin: "0-101".into(), number: 7 });
        insert(&mut position, &Gtid { origin: "3e11fa47-71ca-11e1-9e33-c80aa9429562".into(), number: 7 });
        assert_eq!(position.to_string(), "0-101:1-7,3e11fa47-71ca-11e1-9e33-c80aa9429562:7");
    }
}
