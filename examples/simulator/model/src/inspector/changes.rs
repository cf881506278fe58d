//! The keys that the handled changes named, as this process heard of them: for processes that follow no log of their own.

use std::collections::VecDeque;

use cachefront::{CacheKey, StoreKey};
use serde::Deserialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use crate::caches::{BY_EMAIL, EmailKey};
use crate::domain::User;
use crate::events::Event;

/// Maximum number of handled changes that are remembered, to tell a wrong mapping from a lost change.
const CHANGES_MAX: usize = 1_024;

/// The handled changes, the newest last.
#[derive(Debug)]
pub(super) struct Changes {
    /// Events of this process, among them the handled changes.
    events: Receiver<Event>,
    /// The keys that each change named.
    named: VecDeque<Vec<String>>,
}

/// The part of a change event that is needed here.
#[derive(Deserialize)]
struct Named {
    keys: Vec<String>,
}

impl Changes {
    pub(super) fn new(events: Receiver<Event>) -> Self {
        Self { events, named: VecDeque::new() }
    }

    /// Collects the changes that were handled since the last pass. If it missed some, a wrong mapping is reported as
    /// `lost`.
    pub(super) fn hear(&mut self) {
        loop {
            let event = match self.events.try_recv() {
                Ok(event) => event,
                Err(TryRecvError::Lagged(_)) => continue,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            };
            if let Some(named) =
                (event.name == "change").then(|| serde_json::from_str::<Named>(&event.data).ok()).flatten()
            {
                if self.named.len() >= CHANGES_MAX {
                    self.named.pop_front();
                }
                self.named.push_back(named.keys);
            }
        }
    }

    /// True if the newest change of the entry's row named the row's other key and not the entry's.
    pub(super) fn misnamed(&self, key: &str, row: Option<&User>) -> bool {
        let Some(row) = row else { return false };
        let keys = [key_text("users", &row.id), key_text(BY_EMAIL, &EmailKey::new(&row.email))];
        let newest = self.named.iter().rev().find(|named| keys.iter().any(|key| named.contains(key)));
        newest.is_some_and(|named| !named.iter().any(|named| named == key))
    }
}

/// Both kinds of keys always fit; the empty text would mean that one does not.
fn key_text(cache: &str, key: &impl CacheKey) -> String {
    StoreKey::encode(cache, key).map(|key| key.as_str().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::EventHub;

    #[test]
    fn a_change_that_named_other_keys_is_a_wrong_mapping() {
        let hub = EventHub::default();
        let mut changes = Changes::new(hub.subscribe());
        let row =
            User { id: 7, name: "Ada".into(), email: "a@b".into(), updated_at: String::new(), status: "active".into() };
        changes.hear();
        assert!(!changes.misnamed("users:7", Some(&row)));
        let named = |keys: &[&str]| Event { name: "change", data: serde_json::json!({ "keys": keys }).to_string() };
        hub.publish(named(&["users_by_email:a@b"]));
        hub.publish(named(&["users:8", "users_by_email:c@d"]));
        changes.hear();
        assert!(changes.misnamed("users:7", Some(&row)) && !changes.misnamed("users:7", None));
        hub.publish(named(&["users:7", "users_by_email:a@b"]));
        changes.hear();
        assert!(!changes.misnamed("users:7", Some(&row)));
    }
}
