//! The identity of the server that an address leads to, shared by the log, the probe and the gate of one source.
//!
//! A virtual address, a load balancer, or a name that was moved leads different connections to different servers. Therefore
//! each connection reads the UUID of its server, and all of them share the newest one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cachefront_core::{Error, ErrorKind};

/// The server that the connections of one source lead to, as reported last by any of them.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    state: Mutex<State>,
}

/// The epoch is raised when the server changes, and when the stream ends.
#[derive(Debug, Default)]
struct State {
    uuid: Option<Arc<str>>,
    epoch: u64,
}

impl Origin {
    /// Records the server that a connection leads to. If another one was recorded before, a new epoch begins.
    pub(crate) fn note(&self, uuid: &str) {
        let mut state = self.lock();
        match &state.uuid {
            Some(known) if **known == *uuid => {}
            known => {
                state.epoch += u64::from(known.is_some());
                state.uuid = Some(uuid.into());
            }
        }
    }

    /// The server's UUID. `None` before the first report.
    pub(crate) fn uuid(&self) -> Option<Arc<str>> {
        self.lock().uuid.clone()
    }

    /// The current epoch. A connection of an earlier epoch may lead to another server than a new one.
    pub(crate) fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// Begins a new epoch, so that existing connections are replaced.
    pub(crate) fn renew(&self) {
        self.lock().epoch += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of a connection that leads to server `found` instead of `expected`.
pub(crate) fn wrong_server(what: &str, address: &str, found: &str, expected: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "{what} reached server {found} at {address}, but the log is that of server {expected}: the address leads to \
             several servers (a load balancer, a reader endpoint) or has moved; give the source an address that leads to \
             one server at a time"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_server_begins_an_epoch_and_the_same_one_does_not() {
        let origin = Origin::default();
        assert_eq!((origin.uuid(), origin.epoch()), (None, 0));
        origin.note("a");
        origin.note("a");
        assert_eq!((origin.uuid().as_deref(), origin.epoch()), (Some("a"), 0));
        origin.note("b");
        assert_eq!((origin.uuid().as_deref(), origin.epoch()), (Some("b"), 1));
        origin.renew();
        assert_eq!((origin.uuid().as_deref(), origin.epoch()), (Some("b"), 2));
    }

    #[test]
    fn the_error_names_both_servers_and_the_remedy() {
        let error = wrong_server("the gate", "db:3306", "b", "a");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.to_string();
        assert!(text.starts_with("the gate reached server b at db:3306, but the log is that of server a"), "{text}");
        assert!(text.contains("give the source an address that leads to one server"), "{text}");
    }
}
