//! Row images in place: how the writer calls the script that replaces values.
//!
//! A row image is the row after a change, as the log holds it. If a cache can build its value from
//! that row alone, the value is written over the stale one instead of removing it, and the next
//! read is a hit.
//!
//! # Arguments of the script
//! First the three values that are compared: generation (16 bytes), term and applied order (8 bytes
//! each, big-endian). Then five for each key:
//!
//! | argument | form |
//! |---|---|
//! | commits that changed the key | `origin:number`, joined by commas |
//! | what the value contains | text of a GTID set |
//! | mapping id | 16 bytes |
//! | codec and schema version | 1 byte, then 4 bytes |
//! | value | as the codec encoded it |
//!
//! An entry is replaced only if it exists, was made by the same mapping and generation, and is
//! older than the new value. So a race between a load and an image ends in the newer of the two, or
//! in none.
//!
//! # Reply
//! `[0, replaced, kept, removed, absent]`, or `[code]` with the difference that was found.

use cachefront_core::store::{Expected, RowImageCounts, RowImageValue};
use cachefront_core::{Result, StoreKey};
use redis::{RedisWrite, Value};

use crate::error::is_moving;
use crate::scripts::ROW_IMAGE;
use crate::writer::{RedisWriter, compared, conflict};

impl RedisWriter {
    /// Replaces values in place, shard by shard, in calls of at most `keys_per_command_max` keys.
    ///
    /// # Errors
    /// `Conflict` if a shard is not as expected: no value of that call was written. Calls to other
    /// shards may have been.
    pub(crate) async fn replace_values(&self, expected: &Expected, values: &[RowImageValue]) -> Result<RowImageCounts> {
        let keys: Vec<StoreKey> = values.iter().map(|value| value.key.clone()).collect();
        let held = compared(expected);
        let mut calls = Vec::new();
        for (shard, keys) in self.keys().by_shard(&keys).into_iter().filter(|(shard, _)| !self.parked.has(*shard)) {
            for chunk in keys.chunks(self.keys_per_command_max()) {
                let chosen: Vec<&RowImageValue> = chunk.iter().filter_map(|(index, _)| values.get(*index)).collect();
                let bytes: usize = chosen.iter().map(|value| value.payload.len() + 256).sum();
                let mut command = self.on_chunk(&ROW_IMAGE, shard, chunk, (3 + 5 * chosen.len(), bytes + 32));
                held.iter().for_each(|arg| command.write_arg(arg));
                for value in chosen {
                    let commits: Vec<String> = value.commits.iter().map(ToString::to_string).collect();
                    command.write_arg(commits.join(",").as_bytes());
                    command.write_arg(value.contains.to_string().as_bytes());
                    command.write_arg(&value.mapping.0.to_be_bytes());
                    let mut form = vec![value.codec];
                    form.extend_from_slice(&value.schema_version.to_be_bytes());
                    command.write_arg(&form);
                    command.write_arg(&value.payload);
                }
                calls.push((shard, command));
            }
        }
        let mut counts = RowImageCounts::default();
        let shards: Vec<usize> = calls.iter().map(|(shard, _)| *shard).collect();
        for (reply, shard) in self.wires.call_each(calls).await?.into_iter().zip(shards) {
            if !is_moving(&reply) {
                counts.add(self.counts_of(&reply)?);
            } else if !self.parked.has(shard) {
                self.park(shard, Some(expected)).await?;
            }
        }
        Ok(counts)
    }

    /// Parses the reply of one call.
    ///
    /// # Errors
    /// `Conflict` for a code, `Corrupt` for a reply of another shape.
    fn counts_of(&self, reply: &Value) -> Result<RowImageCounts> {
        let Value::Array(items) = reply else { return Err(self.address().unexpected_reply("a script on row images")) };
        let number = |item: &Value| match item {
            Value::Int(number) => Some(*number),
            _ => None,
        };
        let numbers: Option<Vec<i64>> = items.iter().map(number).collect();
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        match numbers.as_deref() {
            Some(&[0, replaced, kept, removed, absent]) => Ok(RowImageCounts {
                replaced: count(replaced),
                kept: count(kept),
                removed: count(removed),
                absent: count(absent),
            }),
            Some(&[code]) if code != 0 => Err(conflict(self.address(), code)),
            _ => Err(self.address().unexpected_reply("a script on row images")),
        }
    }
}
