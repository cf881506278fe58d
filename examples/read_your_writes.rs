//! Read your writes over two processes: `cargo run --example read_your_writes`.
//!
//! This process writes a row and hands the token of its commit to a second one, which reads the row through its own cache: with the
//! token the write is there at once, whether or not its invalidation has arrived. `CACHEFRONT_MYSQL_URL` (with a database) and
//! `CACHEFRONT_REDIS_URL` name the servers.

#![expect(clippy::print_stdout, reason = "it shows what it does")]
#![expect(dead_code, reason = "it uses a part of what the examples share")]

#[path = "wiring/mod.rs"]
mod wiring;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use cachefront::binlog::{BinlogSource, own_commit_token};
use cachefront::{Cdc, Position};
use mysql_async::prelude::Queryable;
use mysql_async::{Pool, params};
use tokio::io::AsyncBufReadExt;
use wiring::{Outcome, cache, database_of, prepare, setting};

/// Number of writes, each read by the other process at once.
const WRITES: u64 = 50;

#[tokio::main]
async fn main() -> Outcome {
    let url = setting("CACHEFRONT_MYSQL_URL", "mysql://root@127.0.0.1/shop");
    let pool = Pool::from_url(&url)?;
    if std::env::args().nth(1).as_deref() == Some("reader") {
        return reader(&url, pool).await;
    }
    prepare(&pool).await?;
    let mut reader =
        Command::new(std::env::current_exe()?).arg("reader").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (input, output) = (reader.stdin.take(), reader.stdout.take());
    let (Some(mut tokens), Some(output)) = (input, output) else { return Err("the reader has no pipes".into()) };
    let mut names = BufReader::new(output).lines();
    println!("the reader says: {}", names.next().ok_or("the reader has ended")??);
    let mut conn = pool.get_conn().await?;
    for number in 1..=WRITES {
        let name = format!("Ada {number}");
        conn.exec_drop("UPDATE example_users SET name = :name WHERE id = 1", params! { "name" => &name }).await?;
        // About 50 bytes: in a service it travels in a header, a cookie or a message.
        let token = own_commit_token(&mut conn).await?;
        writeln!(tokens, "{token}")?;
        let read = names.next().ok_or("the reader has ended")??;
        if read != name {
            return Err(format!("wrote `{name}`, and the other process read `{read}`").into());
        }
    }
    println!("{WRITES} writes, each read by the other process with its token");
    drop(tokens);
    reader.wait()?;
    drop(conn);
    pool.disconnect().await?;
    Ok(())
}

/// The second process: reads with the tokens that it is given, one a line.
async fn reader(url: &str, pool: Pool) -> Outcome {
    let users = cache(&pool, &database_of(url)?).await?;
    let cdc = Cdc::new(BinlogSource::connect(url).await?).bind(&users).spawn()?;
    println!("ready, as {:?}", cdc.ready().await?);
    let mut tokens = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = tokens.next_line().await? {
        let token: Position = line.parse()?;
        println!("{}", users.get(&1).at_least(&token).await?.unwrap_or_default());
    }
    cdc.shutdown().await;
    pool.disconnect().await?;
    Ok(())
}
