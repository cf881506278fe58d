//! The program `actor` as a child process: killed when the handle is dropped.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::shop::Shop;

/// A running actor.
#[derive(Debug)]
pub struct Actor {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Actor {
    /// Starts `program` (give `env!("CARGO_BIN_EXE_actor")`) on `shop` and waits until it is ready.
    ///
    /// # Panics
    /// If it does not start; its own messages are on standard error.
    pub async fn start(program: &str, arguments: &[&str], shop: &Shop) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .envs(shop.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let input = child.stdin.take().expect("a pipe was asked for");
        let output = child.stdout.take().expect("a pipe was asked for");
        let mut actor = Self { child, input, lines: BufReader::new(output).lines() };
        let ready = actor.line().await;
        assert_eq!(ready, "ready", "the actor says something else");
        actor
    }

    /// Its next line.
    ///
    /// # Panics
    /// If it ends, or prints no line within a minute.
    pub async fn line(&mut self) -> String {
        let line = tokio::time::timeout(Duration::from_secs(60), self.lines.next_line()).await;
        line.expect("the actor says something in time").expect("its output can be read").expect("the actor still runs")
    }

    /// Gives it the signal to begin.
    ///
    /// # Panics
    /// If it has ended.
    pub async fn go(&mut self) {
        self.input.write_all(b"go\n").await.expect("the actor still runs");
    }

    /// Kills it at once (SIGKILL) and waits for its end.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the actor is killed");
    }
}
