//! Listing and emptying a namespace, for tools and tests.

use std::collections::HashSet;

use cachefront_core::store::ServerId;
use cachefront_core::{Result, StoreKey};
use futures_util::future::try_join_all;
use redis::{Cmd, Pipeline, Value};

use crate::keys::KeySpace;
use crate::link::Live;
use crate::shared::Shared;
use crate::store::RedisStore;

impl RedisStore {
    /// Returns keys that the namespace holds entries at, up to `limit`, in no particular order. For tools and tests: the
    /// cost grows with the number of keys in the whole server.
    ///
    /// It walks over the server's keys with `SCAN`, in at most [`scan_steps_max`](crate::RedisSettings::scan_steps_max)
    /// steps. The list is complete if the walk ends before that, and meanwhile nothing is written and no slot of a cluster is
    /// moved. An entry in it may be expired, hold only a lease, or have an earlier generation:
    /// [`peek`](cachefront_core::store::Store::peek) shows which.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout` if the server cannot be reached, `Config` if the user of the URL must not run `SCAN`.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn keys(&self, limit: usize) -> Result<Vec<StoreKey>> {
        // `SCAN` may return a key more than once.
        let mut found = HashSet::new();
        let mut scan = Scan::new(&self.shared);
        for _ in 0..self.shared.settings.scan_steps_max {
            if found.len() >= limit {
                break;
            }
            let Some(names) = scan.next().await? else { break };
            let entries = names.iter().filter_map(|name| entry_key(self.shared.keys(), name));
            found.extend(entries);
        }
        Ok(found.into_iter().take(limit).collect())
    }

    /// Removes the metas and all entries of the namespace, with their leases, and returns the number of keys removed. For
    /// tools and tests.
    ///
    /// It is not atomic: an entry that is written meanwhile may stay. The metas are removed first, so that in CDC mode
    /// nothing is served or stored until an invalidator begins a new generation. The bus keeps its messages, and the
    /// process-local tiers of caches are not notified: publish [`BusEvent::Flush`](cachefront_core::bus::BusEvent::Flush)
    /// afterwards.
    ///
    /// # Errors
    /// `Unavailable` if the server cannot be reached, or while the slot of a shard of a cluster is being moved; `Timeout` if it
    /// does not reply, or if the call takes longer than [`clear_timeout`](crate::RedisSettings::clear_timeout); `Config` if the
    /// user of the URL must not run `SCAN`.
    /// A part of the keys may be removed.
    ///
    /// # Cancel safety
    /// If the future is dropped, a part of the keys may be removed. It can be called again.
    pub async fn clear(&self) -> Result<u64> {
        match tokio::time::timeout(self.shared.settings.clear_timeout, clear(&self.shared)).await {
            Ok(removed) => removed,
            Err(elapsed) => Err(self.shared.address().timed_out("could not be cleared", elapsed)),
        }
    }

    /// Removes all entries of one cache, with their leases, by a walk over the keys of all nodes. A lease that was granted before
    /// is found: `SCAN` returns every key that exists from its start to its end, unless the key is moved to another node.
    ///
    /// # Errors
    /// `Unavailable` if a slot of a shard is moved meanwhile; others as [`clear`](Self::clear).
    pub(crate) async fn discard_entries_of(&self, cache: &str) -> Result<()> {
        let walk = async {
            let before = settled(&self.shared).await?;
            let mut scan = Scan::new(&self.shared);
            while let Some(names) = scan.next().await? {
                let is_of_cache = |name: &Vec<u8>| {
                    let text = self.shared.keys().parse(name).map(|(_, text)| text);
                    text.and_then(|text| text.split_once(':')).is_some_and(|(name, _)| name == cache)
                };
                let names: Vec<Vec<u8>> = names.into_iter().filter(is_of_cache).collect();
                unlink_names(&self.shared, &names).await?;
            }
            stayed(&self.shared, before).await
        };
        match tokio::time::timeout(self.shared.settings.clear_timeout, walk).await {
            Ok(done) => done,
            Err(elapsed) => Err(self.shared.address().timed_out("could not be cleared of one cache", elapsed)),
        }
    }
}

/// Checks that the keys of every shard are on one node. Returns the identity of the nodes.
///
/// # Errors
/// `Unavailable` if the slot of a shard is being moved, or has moved to a node that is not known yet: a walk over the known
/// nodes does not find all of its keys.
async fn settled(shared: &Shared) -> Result<ServerId> {
    let route = &shared.reads.route;
    if route.is_cluster() {
        let ask = |shard: usize| async move {
            let mut command = redis::cmd("GET");
            command.arg(shared.keys().absent(shard));
            shared.send_over(&mut route.live(shard)?, &command).await
        };
        try_join_all((0..shared.keys().metas().len()).map(ask)).await?;
    }
    Ok(route.server_now())
}

/// Checks after a walk that no slot of a shard was moved since [`settled`] returned `before`.
///
/// # Errors
/// `Unavailable` if one was, or if a node was replaced: keys may have gone where the walk did not lead.
async fn stayed(shared: &Shared, before: ServerId) -> Result<()> {
    let is_cluster = shared.reads.route.is_cluster();
    if settled(shared).await? != before && is_cluster {
        return Err(shared
            .address()
            .unavailable("has moved the slot of a shard meanwhile: not every key was found, call again"));
    }
    Ok(())
}

async fn clear(shared: &Shared) -> Result<u64> {
    let keys = shared.keys();
    let before = settled(shared).await?;
    let metas: Vec<Vec<u8>> = keys.metas().map(|meta| meta.as_bytes().to_vec()).collect();
    let mut removed = unlink_names(shared, &metas).await?;
    let mut scan = Scan::new(shared);
    while let Some(names) = scan.next().await? {
        // A meta that is there again is a new one, and its generation has no old entries.
        let is_old = |name: &Vec<u8>| keys.parse(name).is_some() && !metas.contains(name);
        let old: Vec<Vec<u8>> = names.into_iter().filter(is_old).collect();
        removed += unlink_names(shared, &old).await?;
    }
    stayed(shared, before).await?;
    Ok(removed)
}

/// The key of the entry that has this name. `None` if it is a meta, or a key of another namespace.
fn entry_key(keys: &KeySpace, name: &[u8]) -> Option<StoreKey> {
    let (_, text) = keys.parse(name)?;
    StoreKey::from_text(text).ok().filter(|_| !text.starts_with('#'))
}

/// A walk over the keys of all nodes that may belong to the namespace.
struct Scan<'a> {
    shared: &'a Shared,
    pattern: String,
    /// The nodes that are left, the current one last; `None` before the first step.
    nodes: Option<Vec<Live>>,
    /// Where the next step continues in the current node.
    cursor: u64,
}

impl<'a> Scan<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self { shared, pattern: shared.keys().pattern(), nodes: None, cursor: 0 }
    }

    /// The names that the next step finds, often none. Returns `None` after the last step.
    async fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>> {
        let nodes = match &mut self.nodes {
            Some(nodes) => nodes,
            None => self.nodes.insert(self.shared.reads.route.all().into_iter().collect::<Result<_>>()?),
        };
        let Some(node) = nodes.last_mut() else { return Ok(None) };
        let mut command = redis::cmd("SCAN");
        command.arg(self.cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(self.shared.settings.scan_step_keys);
        let reply = self.shared.send_over(node, &command).await?;
        let (next, names) = step(reply).ok_or_else(|| self.shared.address().unexpected_reply("SCAN"))?;
        self.cursor = next;
        if next == 0 {
            nodes.pop();
        }
        Ok(Some(names))
    }
}

/// Parses a reply to `SCAN`: the next cursor, which is 0 at the end, and names of keys.
fn step(reply: Value) -> Option<(u64, Vec<Vec<u8>>)> {
    let Value::Array(parts) = reply else { return None };
    let mut parts = parts.into_iter();
    let (Some(Value::BulkString(cursor)), Some(Value::Array(names))) = (parts.next(), parts.next()) else {
        return None;
    };
    let cursor = std::str::from_utf8(&cursor).ok()?.parse().ok()?;
    let name = |value| match value {
        Value::BulkString(name) => Some(name),
        _ => None,
    };
    Some((cursor, names.into_iter().map(name).collect::<Option<_>>()?))
}

/// Removes keys by their full names and returns how many there were. Each command has the keys of one shard, so that it
/// touches one slot.
async fn unlink_names(shared: &Shared, names: &[Vec<u8>]) -> Result<u64> {
    let mut by_shard: Vec<(u32, &Vec<u8>)> =
        names.iter().filter_map(|name| Some((shared.keys().parse(name)?.0, name))).collect();
    by_shard.sort_by_key(|(shard, _)| *shard);
    let mut removed = 0;
    for names in by_shard.chunk_by(|one, other| one.0 == other.0) {
        let Some(shard) = names.first().map(|(shard, _)| *shard) else { continue };
        let in_cluster = shared.reads.route.is_cluster();
        if in_cluster && shard >= shared.keys().shards() {
            // A store with more shards was another one, and this one does not know where they are.
            continue;
        }
        let mut pipeline = Pipeline::new();
        for chunk in names.chunks(shared.settings.keys_per_command_max) {
            let mut command = Cmd::new();
            command.arg("UNLINK");
            for (_, name) in chunk {
                command.arg(name.as_slice());
            }
            pipeline.add_command(command);
        }
        for reply in shared.call_all(shard as usize, &pipeline).await? {
            match reply {
                Value::Int(count) => removed += u64::try_from(count).unwrap_or_default(),
                _ => return Err(shared.address().unexpected_reply("UNLINK")),
            }
        }
    }
    Ok(removed)
}
