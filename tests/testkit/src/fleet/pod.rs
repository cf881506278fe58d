//! One process of a service, as a child of the test: killed when the handle is dropped.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::ledger::now;
use super::report::{Report, Rest};
use super::service::Fleet;
use super::setup::Setup;
use crate::shop::PATIENCE;
use crate::{unique, wait};

/// The variable that holds a [`Setup`] in JSON.
const SETUP: &str = "POD_SETUP";

/// A running process.
#[derive(Debug)]
pub struct Pod {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Pod {
    /// Starts `program` (give `env!("CARGO_BIN_EXE_actor")`); returns it and what it says of its start: the state of its
    /// invalidator, or what it was refused for.
    ///
    /// # Panics
    /// If it says nothing in time.
    pub async fn start(program: &str, fleet: &Fleet, setup: &Setup) -> (Self, String) {
        let log = fleet.dir().join(unique::name("pod"));
        let errors = File::create(&log).expect("a log");
        let mut child = Command::new(program)
            .arg("pod")
            .env(SETUP, serde_json::to_string(setup).expect("JSON"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let input = child.stdin.take().expect("a pipe was asked for");
        let output = child.stdout.take().expect("a pipe was asked for");
        let mut pod = Self { child, input, lines: BufReader::new(output).lines(), log };
        let said = pod.line().await;
        (pod, said)
    }

    /// Starts it, and demands that its invalidator works or stands by.
    ///
    /// # Panics
    /// If it does not.
    pub async fn ready(program: &str, fleet: &Fleet, setup: &Setup) -> Self {
        let (pod, said) = Self::start(program, fleet, setup).await;
        assert!(["Running", "Standby"].contains(&&*said), "the process says {said}");
        pod
    }

    /// Its next line.
    ///
    /// # Panics
    /// If it ends, or prints no line within a minute.
    pub async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("the process says something in time").expect("its output can be read").expect("it still runs")
    }

    async fn ask<T: DeserializeOwned>(&mut self, question: &str) -> T {
        self.input.write_all(format!("{question}\n").as_bytes()).await.expect("the process still runs");
        serde_json::from_str(&self.line().await).expect("an answer")
    }

    /// What it has to say since it was asked last.
    ///
    /// # Panics
    /// If it ends.
    pub async fn report(&mut self) -> Report {
        self.ask("report").await
    }

    /// How its invalidator is; counts of reads are kept for [`Pod::report`].
    ///
    /// # Panics
    /// If it ends.
    pub async fn status(&mut self) -> Report {
        self.ask("status").await
    }

    /// What it would serve now. No write may be in progress.
    ///
    /// # Panics
    /// If it ends.
    pub async fn rest(&mut self) -> Rest {
        self.ask("rest").await
    }

    /// Waits until its invalidator is in this state; returns since when.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn is(&mut self, state: &str) -> u64 {
        wait::until_some(&format!("the invalidator is {state}"), PATIENCE, async || {
            let mut status = self.status().await;
            (status.state == state).then_some(std::mem::take(&mut status.since))
        })
        .await
    }

    /// Asks it to end (`SIGTERM`); returns when.
    ///
    /// # Panics
    /// If it has ended.
    pub fn tell_to_end(&self) -> u64 {
        self.signal(Signal::TERM)
    }

    /// Stops it where it is (`SIGSTOP`); returns when.
    ///
    /// # Panics
    /// If it has ended.
    pub fn freeze(&self) -> u64 {
        self.signal(Signal::STOP)
    }

    /// Lets it continue (`SIGCONT`); returns when.
    ///
    /// # Panics
    /// If it has ended.
    pub fn resume(&self) -> u64 {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> u64 {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("it still runs"), signal).expect("the signal is sent");
        now()
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn stop(mut self) {
        self.tell_to_end();
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        ended.expect("it ends in time").expect("it can be waited for");
    }

    /// Kills it at once (`kill -9`); returns when.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub async fn kill(mut self) -> u64 {
        self.child.kill().await.expect("the process is killed");
        now()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the last lines of a process:\n{}\n---", lines[lines.len().saturating_sub(25)..].join("\n"));
        }
    }
}
