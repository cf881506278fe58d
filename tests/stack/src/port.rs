//! Ports for servers that tests start.
//!
//! They are taken from below the system's ephemeral range, so that no outgoing connection can sit on a server's port
//! while the server is down and about to come back on it.

use std::{collections::HashSet, env, net::TcpListener, ops::RangeInclusive, sync::Mutex};

/// Sets the range, as in `23000-23099`. Default: `20000-29999`.
pub const RANGE: &str = "CACHEFRONT_TEST_PORTS";

/// Ports that this process has handed out; never the same twice.
static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port of 127.0.0.1 on which nothing listens, and which this process has not handed out before.
///
/// # Panics
/// If the whole range is taken, or `CACHEFRONT_TEST_PORTS` is malformed.
pub fn free() -> u16 {
    let range = range();
    let first = *range.start();
    let count = u32::from(range.end() - first) + 1;
    let start = getrandom::u32().expect("the system has randomness") % count;
    let mut taken = TAKEN.lock().expect("no holder of this lock panics");
    let taken = taken.get_or_insert_with(HashSet::new);
    for step in 0..count {
        let offset = u16::try_from((start + step) % count).expect("an offset within a range of ports");
        let port = first + offset;
        if !taken.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.insert(port);
            return port;
        }
    }
    panic!("no free port in {range:?}: widen {RANGE}, or end the servers that listen there");
}

/// The first port of Linux's ephemeral range, by default.
const EPHEMERAL: u16 = 32_768;

/// Number of ports that [`free_with`] tries before it takes a second port within the ephemeral range.
const OUTSIDE_TRIES: usize = 64;

/// A port as [`free`] gives it, with the port `offset` above it free as well: a node of a Redis Cluster listens on both. The
/// second one is outside of the ephemeral range too, if the range of ports allows that: an outgoing connection that was
/// closed a moment ago still occupies its port.
///
/// # Panics
/// As [`free`].
pub fn free_with(offset: u16) -> u16 {
    let mut tries = 0;
    loop {
        let port = free();
        let second = port.checked_add(offset).expect("a port below 65,536");
        tries += 1;
        let outside = second < EPHEMERAL || tries > OUTSIDE_TRIES;
        if outside && TcpListener::bind(("127.0.0.1", second)).is_ok() {
            return port;
        }
    }
}

fn range() -> RangeInclusive<u16> {
    let Ok(text) = env::var(RANGE) else { return 20_000..=29_999 };
    let parsed =
        text.split_once('-').and_then(|(low, high)| Some(low.trim().parse().ok()?..=high.trim().parse().ok()?));
    match parsed {
        Some(range) if !range.is_empty() => range,
        _ => panic!("{RANGE} is {text:?}: give it as 20000-29999"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_out_each_port_once() {
        let ports: HashSet<u16> = (0..20).map(|_| free()).collect();
        assert_eq!(ports.len(), 20);
    }
}
