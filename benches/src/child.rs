//! This program as a child of itself: another process of a service, which replies to each line of its input with one line.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child as Process, ChildStdin, ChildStdout, Command};

use crate::output::print;

/// A running child. It ends with this value, because its input is closed then.
pub(crate) struct Child {
    _process: Process,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts one with these arguments; returns when it is ready, which it says in its first line.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("the path of this program"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this program starts");
        let input = process.stdin.take().expect("an input");
        let output = BufReader::new(process.stdout.take().expect("an output")).lines();
        let mut child = Self { _process: process, input, output };
        assert_eq!(child.line().await, "ready");
        child
    }

    /// Sends a line.
    pub(crate) async fn send(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.expect("the child runs");
    }

    /// Waits for a line.
    pub(crate) async fn line(&mut self) -> String {
        self.output.next_line().await.expect("the child runs").expect("a line")
    }
}

/// Is a child: says that it is ready, and prints what `reply` returns for each line of the input.
pub(crate) async fn serve(mut reply: impl AsyncFnMut(&str) -> String) {
    print("ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        print(&reply(&line).await);
    }
}
