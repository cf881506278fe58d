//! Which server an address leads to: known to the log, the probe, and the gate of one source.
//!
//! A virtual address, a load balancer, or a name that was moved leads different connections to different servers. Each
//! connection therefore names its server, and what one of them finds holds for all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cachefront_core::{Error, ErrorKind};

/// The server that the connections of one source lead to, by the newest report of any of them.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    uuid: Option<Arc<str>>,
    epoch: u64,
}

impl Origin {
    /// Notes the server that a connection leads to. If another one was known before, a new epoch begins.
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

    /// A connection of an earlier epoch may lead to another server than a new one.
    pub(crate) fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// Begins a new epoch: connections that were made before are replaced.
    pub(crate) fn renew(&self) {
        self.lock().epoch += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that leads to `found` where `expected` is needed.
pub(crate) fn elsewhere(what: &str, address: &str, found: &str, expected: &str) -> Error {
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
        let error = elsewhere("the gate", "db:3306", "b", "a");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.to_string();
        assert!(text.starts_with("the gate reached server b at db:3306, but the log is that of server a"), "{text}");
        assert!(text.contains("give the source an address that leads to one server"), "{text}");
    }
}
