//! The scripts, one file each, and how they are called: by their hash, loaded again where the server forgot them.

use std::sync::LazyLock;

use cachefront_core::Result;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, RedisWrite, Value};

use crate::error::{check, from_redis, is_no_script};

pub(crate) struct Script {
    source: &'static str,
    hash: LazyLock<String>,
}

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(crate) static $name: Script = Script {
            source: include_str!(concat!("scripts/", $file)),
            hash: LazyLock::new(|| redis::Script::new(include_str!(concat!("scripts/", $file))).get_hash().to_owned()),
        };)*

        static ALL: &[&Script] = &[$(&$name),*];
    };
}

scripts! {
    LEASE = "lease.lua";
    FILL = "fill.lua";
    RELEASE = "release.lua";
    INVALIDATE = "invalidate.lua";
    SUSPEND = "suspend.lua";
    RAISE_HI = "raise_hi.lua";
    TAKE_TERM = "take_term.lua";
    COMMIT = "commit.lua";
    PUBLISH = "publish.lua";
    HEAD = "head.lua";
}

impl Script {
    /// The start of a call; keys and then arguments are to be added.
    pub(crate) fn command(&self, keys: usize, args: usize, bytes: usize) -> Cmd {
        let mut command = Cmd::with_capacity(3 + keys + args, 64 + bytes);
        command.write_arg(b"EVALSHA");
        command.write_arg(self.hash.as_bytes());
        command.arg(keys);
        command
    }
}

/// Loads all scripts. A server forgets them when it restarts, so this only makes the fall-back rare.
pub(crate) async fn load_all(connection: &mut MultiplexedConnection) -> Result<()> {
    let mut pipeline = Pipeline::with_capacity(ALL.len());
    for script in ALL {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(script.source);
    }
    let replies = connection.send_packed_commands(&pipeline, 0, ALL.len()).await.map_err(from_redis)?;
    for reply in replies {
        check(reply)?;
    }
    Ok(())
}

/// Sends one call. The server that does not know the script has done nothing, so it is sent again.
pub(crate) async fn call(connection: &mut MultiplexedConnection, command: &Cmd) -> RedisResult<Value> {
    let reply = connection.send_packed_command(command).await?;
    if !is_no_script(&reply) {
        return Ok(reply);
    }
    reload(connection).await?;
    connection.send_packed_command(command).await
}

/// Sends many calls at once, and those again whose script the server does not know: one that is refused for that reason
/// has done nothing. They must not depend on each other's order.
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

async fn reload(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let mut pipeline = Pipeline::with_capacity(ALL.len());
    for script in ALL {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(script.source);
    }
    // A refusal shows again in the call that follows.
    connection.send_packed_commands(&pipeline, 0, ALL.len()).await.map(drop)
}
