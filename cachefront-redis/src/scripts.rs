//! The Lua scripts, and how they are called: by hash, and loaded again if the server does not know the hash. Some scripts
//! are concatenated from several files, which share functions.
//!
//! | script | called by | effect |
//! |---|---|---|
//! | `lease` | reader | takes the lease of a key |
//! | `fill` | reader | stores a loaded value if its lease is still valid |
//! | `release` | reader | releases a lease |
//! | `suspend` | reader | suspends a meta, when a cache leaves CDC mode |
//! | `flush_caches` | reader | gives cleared caches new generations |
//! | `invalidate_unseen` | invalidator | removes entries whose load has not seen a commit |
//! | `row_image` | invalidator | replaces values by those of changed rows, or removes them |
//! | `raise_high_watermark` | invalidator | raises the high watermark of issued batches |
//! | `take_term` | invalidator | becomes the holder |
//! | `cover` | invalidator | replaces the coverage table |
//! | `flush` | invalidator | replaces a meta, and with it the generation |
//! | `resign` | invalidator | marks a meta as vacant |
//! | `commit` | invalidator | advances the applied position |
//! | `settle` | invalidator | notes where a shard of a cluster is |
//! | `publish`, `head` | both | append to the bus; find its end |
//!
//! A server that is full refuses `lease` and `fill`, and `release` of a lease on a value. All others go on: see `full.lua`.
//!
//! Each script touches the keys of one shard, which share a hash tag.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, RedisWrite, Value};

use crate::error::is_no_script;

/// A script and the hash that the server knows it by.
pub(crate) struct Script {
    source: &'static str,
    hash: LazyLock<String>,
}

macro_rules! scripts {
    ($($name:ident = $($file:literal)+;)*) => {
        $(pub(crate) static $name: Script = {
            const SOURCE: &str = concat!($(include_str!(concat!("scripts/", $file)),)+);
            Script { source: SOURCE, hash: LazyLock::new(|| redis::Script::new(SOURCE).get_hash().to_owned()) }
        };)*

        static ALL: &[&Script] = &[$(&$name),*];
    };
}

scripts! {
    LEASE = "meta.lua" "lease.lua";
    FILL = "meta.lua" "fill.lua";
    RELEASE = "release.lua";
    INVALIDATE_UNSEEN = "meta.lua" "full.lua" "entry.lua" "position.lua" "invalidate_unseen.lua";
    ROW_IMAGE = "meta.lua" "full.lua" "entry.lua" "position.lua" "row_image.lua";
    SUSPEND = "meta.lua" "full.lua" "suspend.lua";
    FLUSH_CACHES = "meta.lua" "full.lua" "flush_caches.lua";
    RAISE_HIGH_WATERMARK = "meta.lua" "full.lua" "raise_high_watermark.lua";
    TAKE_TERM = "meta.lua" "full.lua" "take_term.lua";
    COVER = "meta.lua" "full.lua" "cover.lua";
    FLUSH = "meta.lua" "full.lua" "flush.lua";
    RESIGN = "meta.lua" "full.lua" "resign.lua";
    COMMIT = "meta.lua" "full.lua" "replication.lua" "commit.lua";
    PUBLISH = "replication.lua" "full.lua" "publish.lua";
    HEAD = "full.lua" "head.lua";
    SETTLE = "full.lua" "settle.lua";
}

impl Script {
    /// Starts a call; the caller appends the keys and then the arguments.
    pub(crate) fn command(&self, keys: usize, args: usize, bytes: usize) -> Cmd {
        let mut command = Cmd::with_capacity(3 + keys + args, 64 + bytes);
        command.write_arg(b"EVALSHA");
        command.write_arg(self.hash.as_bytes());
        command.arg(keys);
        command
    }
}

/// Appends the commands that load all scripts. A server drops its scripts when it restarts, so a call may still have to
/// load them again.
pub(crate) fn load_all(pipeline: &mut Pipeline) {
    for script in ALL {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(script.source);
    }
}

/// Sends one call, and repeats it after loading the scripts if the server did not know the script: such a call had no
/// effect.
pub(crate) async fn call(connection: &mut MultiplexedConnection, command: &Cmd) -> RedisResult<Value> {
    let reply = connection.send_packed_command(command).await?;
    if !is_no_script(&reply) {
        return Ok(reply);
    }
    reload(connection).await?;
    connection.send_packed_command(command).await
}

/// Sends calls in one pipeline, and repeats those whose script the server did not know: such a call had no effect. The
/// calls must not depend on each other's order.
pub(crate) async fn call_all(connection: &mut MultiplexedConnection, calls: &Pipeline) -> RedisResult<Vec<Value>> {
    let mut replies = connection.send_packed_commands(calls, 0, calls.len()).await?;
    if !replies.iter().any(is_no_script) {
        return Ok(replies);
    }
    reload(connection).await?;
    let mut again = Pipeline::new();
    for (command, _) in calls.cmd_iter().zip(&replies).filter(|(_, reply)| is_no_script(reply)) {
        again.add_command(command.clone());
    }
    let repeated = connection.send_packed_commands(&again, 0, again.len()).await?;
    for (reply, repeated) in replies.iter_mut().filter(|reply| is_no_script(reply)).zip(repeated) {
        *reply = repeated;
    }
    Ok(replies)
}

/// Loads all scripts again.
async fn reload(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let mut pipeline = Pipeline::with_capacity(ALL.len());
    load_all(&mut pipeline);
    // If the server refuses to load a script, the call that follows fails and reports it.
    connection.send_packed_commands(&pipeline, 0, pipeline.len()).await.map(drop)
}
