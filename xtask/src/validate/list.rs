//! What was done, what came of it, and how long it took.

use std::time::Instant;

use crate::{exec, failure::Result};

/// The list as it is filled in.
#[derive(Debug, Default)]
pub(super) struct List {
    lines: Vec<Line>,
}

/// One line of the list.
#[derive(Debug)]
struct Line {
    what: String,
    outcome: std::result::Result<String, String>,
    seconds: f64,
}

impl List {
    /// Does one thing and keeps what came of it. Returns `None` if it failed.
    pub(super) fn run<T>(&mut self, what: &str, step: impl FnOnce() -> Result<(T, String)>) -> Result<Option<T>> {
        exec::check_interrupted()?;
        eprintln!("validate: {what}");
        let started = Instant::now();
        let (value, outcome) = match step() {
            Ok((value, said)) => (Some(value), Ok(said)),
            Err(failure) => (None, Err(failure.to_string())),
        };
        exec::check_interrupted()?;
        self.lines.push(Line { what: what.to_owned(), outcome, seconds: started.elapsed().as_secs_f64() });
        Ok(value)
    }

    /// As [`List::run`], for what leaves nothing behind but words.
    pub(super) fn check(&mut self, what: &str, step: impl FnOnce() -> Result<String>) -> Result<()> {
        self.run(what, || step().map(|said| ((), said))).map(drop)
    }

    #[expect(clippy::print_stdout, reason = "the table is what the command was called for")]
    pub(super) fn print(&self) {
        println!();
        for line in &self.lines {
            let (word, said) = match &line.outcome {
                Ok(said) => ("ok", said),
                Err(said) => ("FAILED", said),
            };
            println!("{word:<7} {:<34} {:>6.1} s  {said}", line.what, line.seconds);
        }
        let failed = self.failed();
        let seconds: f64 = self.lines.iter().map(|line| line.seconds).sum();
        println!("\n{} passed, {failed} failed in {seconds:.0} s", self.lines.len() - failed);
    }

    pub(super) fn failed(&self) -> usize {
        self.lines.iter().filter(|line| line.outcome.is_err()).count()
    }
}
