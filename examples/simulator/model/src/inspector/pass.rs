//! One pass over users and their entries.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cachefront::{CacheKey, Hit, Position, StoreKey};
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::consistency::{StaleEntry, StaleKind};
use super::view::CacheView;
use crate::caches::{BY_EMAIL, Caches, EmailKey};
use crate::domain::{Database, DbError, Mode, Seen, User};
use crate::events::Event;
use crate::pipeline::Pipeline;

/// Number of users, the first by id, that every pass checks.
const USERS_MAX: u32 = 500;

/// Number of other users that a pass checks; the next pass continues after them.
const SAMPLE: u32 = 200;

/// Maximum number of entries that are remembered from one pass to the next.
const REMEMBERED_MAX: usize = 1_000;

/// Maximum number of handled changes that are remembered, to tell a wrong mapping from a lost change.
const CHANGES_MAX: usize = 1_024;

/// Maximum number of concurrent peeks, so that a slow store does not make a pass take the sum of its round trips.
const PEEKS_AT_ONCE: usize = 256;

/// In CDC mode an entry that differs may be about to be invalidated: it is compared again after this time.
const GRACE: Duration = Duration::from_millis(100);

/// Maximum number of single rows that are read at once, in addition to those of a list: the database has few
/// connections, and other work needs them.
const ROWS_AT_ONCE: usize = 32;

/// How often an entry that changes between two peeks is compared again, at most.
const LOOKS_MAX: usize = 32;

/// What one pass hands to the next.
#[derive(Debug)]
pub(super) struct Memory {
    /// Events of this process, among them the handled changes.
    events: Receiver<Event>,
    /// The keys that each change named, the newest last.
    changes: VecDeque<Vec<String>>,
    /// The last id of the sample; the next one continues after it.
    after: u64,
    /// Entries that existed at the last pass, in case their rows are deleted or get another address.
    cached: HashSet<Entry>,
    /// Stale entries of the last pass: the row, and a position that is certain to contain its commit.
    stale: HashMap<Entry, (Option<User>, Position)>,
}

/// What a pass found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) users: u64,
    pub(super) complete: bool,
    pub(super) compared: u64,
    pub(super) stale: Vec<StaleEntry>,
}

/// One of a user's two entries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Entry {
    Id(u64),
    Email(u64, String),
}

impl Entry {
    fn id(&self) -> u64 {
        match self {
            Self::Id(id) | Self::Email(id, _) => *id,
        }
    }

    /// The entry's key as change events name it.
    fn key(&self) -> String {
        match self {
            Self::Id(id) => key_text("users", id),
            Self::Email(_, email) => email_key_text(email),
        }
    }
}

fn email_key_text(email: &str) -> String {
    key_text(BY_EMAIL, &EmailKey::new(email))
}

/// Both kinds of keys always fit; the empty text would mean that one does not.
fn key_text(cache: &str, key: &impl CacheKey) -> String {
    StoreKey::encode(cache, key).map(|key| key.as_str().to_owned()).unwrap_or_default()
}

/// The part of a change event that is needed here.
#[derive(Deserialize)]
struct Named {
    keys: Vec<String>,
}

impl Memory {
    pub(super) fn new(events: Receiver<Event>) -> Self {
        Self { events, changes: VecDeque::new(), after: 0, cached: HashSet::new(), stale: HashMap::new() }
    }

    /// Collects the changes that were handled since the last pass. If it missed some, a wrong mapping is reported as
    /// `lost`.
    fn hear(&mut self) {
        loop {
            let event = match self.events.try_recv() {
                Ok(event) => event,
                Err(TryRecvError::Lagged(_)) => continue,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            };
            if let Some(named) =
                (event.name == "change").then(|| serde_json::from_str::<Named>(&event.data).ok()).flatten()
            {
                if self.changes.len() >= CHANGES_MAX {
                    self.changes.pop_front();
                }
                self.changes.push_back(named.keys);
            }
        }
    }

    /// True if the newest change of the entry's row named the row's other key and not the entry's.
    fn is_misnamed(&self, entry: &Entry, row: Option<&User>) -> bool {
        let Some(row) = row else { return false };
        let keys = [key_text("users", &row.id), email_key_text(&row.email)];
        let newest = self.changes.iter().rev().find(|named| keys.iter().any(|key| named.contains(key)));
        newest.is_some_and(|named| !named.contains(&entry.key()))
    }
}

/// An entry that differs from its row.
struct Differing {
    entry: Entry,
    hit: Hit<User>,
    row: Option<User>,
}

/// What a pass reads from.
pub(super) struct Comparer {
    pub(super) caches: Caches,
    /// Without the simulated delays: it holds the rows that entries are compared with.
    pub(super) database: Arc<dyn Database>,
    pipeline: Pipeline,
    /// Limits the reads of single rows to [`ROWS_AT_ONCE`].
    rows: Semaphore,
}

impl Comparer {
    pub(super) fn new(caches: Caches, database: Arc<dyn Database>, pipeline: Pipeline) -> Self {
        Self { caches, database, pipeline, rows: Semaphore::new(ROWS_AT_ONCE) }
    }

    /// # Errors
    /// The reason why the pass has no outcome.
    pub(super) async fn compare_all(&self, memory: &mut Memory, mode: Mode) -> Result<Found, String> {
        memory.hear();
        let (rows, complete) = self.rows(memory).await.map_err(|error| error.to_string())?;
        let users = rows.len() as u64;
        let mut looked: HashMap<Entry, Option<User>> = HashMap::with_capacity(rows.len() * 2);
        // Their rows may be outside of this pass: an entry that differs from `None` is compared with its own row later.
        looked.extend(memory.cached.iter().map(|entry| (entry.clone(), None)));
        for (id, user) in rows {
            looked.insert(Entry::Email(id, user.email.clone()), Some(user.clone()));
            looked.insert(Entry::Id(id), Some(user));
        }
        let mut looks = stream::iter(looked)
            .map(|(entry, row)| async move { (self.peek(&entry).await, entry, row) })
            .buffer_unordered(PEEKS_AT_ONCE);
        let (mut cached, mut differing) = (Vec::new(), Vec::new());
        while let Some((peeked, entry, row)) = looks.next().await {
            let Some(hit) = peeked? else { continue };
            if hit.value != row {
                differing.push(entry.clone());
            }
            cached.push(entry);
        }
        drop(looks);
        let compared = cached.len() as u64;
        // Read before the entries are confirmed: one that is still there afterwards was not removed by what is applied.
        let applied = match mode {
            Mode::Cdc if !differing.is_empty() => self.pipeline.applied().await,
            _ => None,
        };
        let stale = self.confirm_all(differing, mode).await?;
        // Stale ones first, so that every pass checks them again, whatever the sample is.
        memory.cached = stale.iter().map(|differing| differing.entry.clone()).take(REMEMBERED_MAX).collect();
        for entry in cached {
            if memory.cached.len() >= REMEMBERED_MAX {
                break;
            }
            memory.cached.insert(entry);
        }
        let stale = self.classify(memory, stale, mode, applied.as_ref()).await?;
        Ok(Found { users, complete, compared, stale })
    }

    /// Compares one user's entry with its row, again if the entry changed while the database was read.
    ///
    /// # Errors
    /// The database's.
    pub(super) async fn compare(&self, id: u64) -> Result<CacheView, DbError> {
        let mut before = self.caches.peek(id).await;
        let mut row = self.read(id).await?;
        for _ in 0..LOOKS_MAX {
            match before {
                None => return Ok(CacheView::absent(row)),
                Some(hit) if hit.value == row => return Ok(CacheView::of(hit, row)),
                Some(hit) => {
                    let after = self.caches.peek(id).await;
                    if after.as_ref().is_some_and(|after| after.value == hit.value) {
                        return Ok(CacheView::of(hit, row));
                    }
                    before = after;
                    row = self.read(id).await?;
                }
            }
        }
        // Replaced at every peek: no entry lived long enough to be called stale.
        Ok(CacheView::absent(row))
    }

    async fn read(&self, id: u64) -> Result<Option<User>, DbError> {
        let _turn = self.turn().await;
        Ok(self.database.get(id).await?.value)
    }

    /// Waits for a permit to read a row. `None` cannot happen: the semaphore is never closed.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.rows.acquire().await.ok()
    }

    pub(super) async fn cached(&self, id: u64) -> Option<Hit<User>> {
        self.caches.peek(id).await
    }

    /// Reads the first users and a sample of the others, by id. The flag is true if these are all users.
    async fn rows(&self, memory: &mut Memory) -> Result<(BTreeMap<u64, User>, bool), DbError> {
        let first = self.database.list(0, USERS_MAX).await?;
        let complete = first.len() < USERS_MAX as usize;
        let last = first.last().map_or(0, |user| user.id);
        let mut rows: BTreeMap<u64, User> = first.into_iter().map(|user| (user.id, user)).collect();
        if !complete {
            let sample = self.database.list(memory.after.max(last), SAMPLE).await?;
            // At the end of the table the sample starts over.
            memory.after = if sample.len() < SAMPLE as usize { 0 } else { sample.last().map_or(0, |user| user.id) };
            rows.extend(sample.into_iter().map(|user| (user.id, user)));
        }
        Ok((rows, complete))
    }

    async fn peek(&self, entry: &Entry) -> Result<Option<Hit<User>>, String> {
        let peeked = match entry {
            Entry::Id(id) => self.caches.users.peek(id).await,
            Entry::Email(_, email) => self.caches.by_email.peek(&EmailKey::new(email)).await,
        };
        peeked.map_err(|error| error.chain())
    }

    async fn row(&self, entry: &Entry) -> Result<Seen<Option<User>>, String> {
        let _turn = self.turn().await;
        let row = match entry {
            Entry::Id(id) => self.database.get(*id).await,
            Entry::Email(_, email) => self.database.get_by_email(email).await,
        };
        row.map_err(|error| error.to_string())
    }

    /// Returns the entries that still differ from a row that was read between two equal peeks; in CDC mode after the
    /// grace period too.
    async fn confirm_all(&self, entries: Vec<Entry>, mode: Mode) -> Result<Vec<Differing>, String> {
        let mut differing = self.confirm(entries).await?;
        if mode == Mode::Cdc && !differing.is_empty() {
            tokio::time::sleep(GRACE).await;
            differing = self.confirm(differing.into_iter().map(|differing| differing.entry).collect()).await?;
        }
        Ok(differing)
    }

    async fn confirm(&self, entries: Vec<Entry>) -> Result<Vec<Differing>, String> {
        let mut checks = stream::iter(entries).map(|entry| self.confirm_one(entry)).buffer_unordered(PEEKS_AT_ONCE);
        let mut confirmed = Vec::new();
        while let Some(checked) = checks.next().await {
            confirmed.extend(checked?);
        }
        Ok(confirmed)
    }

    async fn confirm_one(&self, entry: Entry) -> Result<Option<Differing>, String> {
        let mut before = self.peek(&entry).await?;
        for _ in 0..LOOKS_MAX {
            let Some(hit) = before else { return Ok(None) };
            let row = self.row(&entry).await?.value;
            if hit.value == row {
                return Ok(None);
            }
            let after = self.peek(&entry).await?;
            if after.as_ref().is_some_and(|after| after.value == hit.value) {
                return Ok(Some(Differing { entry, hit, row }));
            }
            before = after;
        }
        Ok(None)
    }

    /// Determines why each entry is stale, as far as that can be known.
    async fn classify(
        &self,
        memory: &mut Memory,
        stale: Vec<Differing>,
        mode: Mode,
        applied: Option<&Position>,
    ) -> Result<Vec<StaleEntry>, String> {
        let mut known = std::mem::take(&mut memory.stale);
        let mut entries = Vec::with_capacity(stale.len());
        for Differing { entry, hit, row } in stale {
            let kind = match mode {
                Mode::Ttl => StaleKind::Aging,
                Mode::Cdc => {
                    let committed = match known.remove(&entry).filter(|(before, _)| *before == row) {
                        Some((_, position)) => Some(position),
                        // Read after the row was seen, so the position contains the commit that made it so.
                        None => self.row(&entry).await?.position,
                    };
                    let is_covered = applied.zip(committed.as_ref()).is_some_and(|(applied, at)| applied.covers(at));
                    if let Some(position) = committed.filter(|_| memory.stale.len() < REMEMBERED_MAX) {
                        memory.stale.insert(entry.clone(), (row.clone(), position));
                    }
                    match is_covered {
                        true if memory.is_misnamed(&entry, row.as_ref()) => StaleKind::Mapping,
                        true => StaleKind::Lost,
                        false => StaleKind::Late,
                    }
                }
            };
            let ttl_ms = hit.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
            entries.push(StaleEntry {
                id: entry.id(),
                key: entry.key(),
                kind,
                cached: hit.value,
                database: row,
                ttl_ms,
            });
        }
        entries.sort_by(|one, other| (one.id, &one.key).cmp(&(other.id, &other.key)));
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::EventHub;

    #[test]
    fn a_change_that_named_other_keys_is_a_wrong_mapping_and_one_that_was_not_heard_of_is_lost() {
        let hub = EventHub::default();
        let mut memory = Memory::new(hub.subscribe());
        let row = User { id: 7, name: "Ada".into(), email: "a@b".into(), updated_at: String::new() };
        let entry = Entry::Id(7);
        memory.hear();
        assert!(!memory.is_misnamed(&entry, Some(&row)));
        let named = |keys: &[&str]| Event { name: "change", data: serde_json::json!({ "keys": keys }).to_string() };
        hub.publish(named(&["users_by_email:a@b"]));
        hub.publish(named(&["users:8", "users_by_email:c@d"]));
        memory.hear();
        assert!(memory.is_misnamed(&entry, Some(&row)) && !memory.is_misnamed(&entry, None));
        hub.publish(named(&["users:7", "users_by_email:a@b"]));
        memory.hear();
        assert!(!memory.is_misnamed(&entry, Some(&row)));
    }
}
