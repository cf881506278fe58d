//! The load generator: reads and writes at a rate that does not depend on the answers, and what came of them.
//!
//! Latency is measured from the moment a request was *due*, so a server that stalls cannot hide it by slowing us down.
//! Beside the load a probe writes rows and reads them until they are fresh.
//!
//! - [`plan`]: what a run does, made of [`stage`], [`keys`], [`threshold`], or ready-made in [`preset`];
//! - [`control`]: the handle that starts and stops runs; [`progress`] and [`outcome`]: what they tell;
//! - [`engine`]: a run from begin to end; [`drive`] sends the requests that [`mix`] draws, through [`client`];
//! - [`judge`]: whether a read was stale; [`probe`]; [`tally`]: what is counted.

mod client;
mod control;
mod drive;
mod engine;
mod field;
pub(crate) mod flags;
mod judge;
mod keys;
mod mix;
mod outcome;
mod plan;
mod preset;
mod probe;
mod progress;
mod stage;
mod summary;
mod tally;
mod threshold;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

pub(crate) use control::LoadControl;
pub(crate) use flags::LoadFlags;
use outcome::LoadResult;
pub(crate) use preset::PRESETS;
use progress::{LoadProgress, Phase};

use crate::config::Settings;
use crate::fatal::Fatal;
use crate::serve::told_to_end;

/// The exit code of a run that missed a goal.
const MISSED: u8 = 99;

/// Lines are printed this often where no terminal shows a line that changes.
const LINE_EVERY_MS: u64 = 5_000;

/// Runs the plan of the flags against the API, and writes what was asked for.
///
/// # Errors
/// A line that says which flag is wrong, or that the API does not answer.
pub(crate) async fn run(settings: &Settings, flags: &LoadFlags) -> Result<ExitCode, Fatal> {
    if flags::lists_presets(flags) {
        let lines = PRESETS.iter().map(|preset| {
            let (name, rate, length) = (preset.name, preset.rate, preset.length);
            format!("{name:<12} {rate:>5}/s {length:>4?}  {}\n", preset.description)
        });
        print(&lines.collect::<String>());
        return Ok(ExitCode::SUCCESS);
    }
    let plan = flags.plan.plan()?;
    let control = LoadControl::new(&settings.api_url, settings.api_tokens.first().cloned());
    control.start(plan).map_err(|error| Fatal::new(error.to_string()))?;
    let ended = follow(&control).await;
    let Some(result) = control.result() else {
        return Err(Fatal::new(ended.message.unwrap_or_else(|| "the run came to no result".to_owned())));
    };
    save(flags, &result)?;
    Ok(if result.missed() { ExitCode::from(MISSED) } else { ExitCode::SUCCESS })
}

/// Shows the progress until the end; told to end, it ends the run.
async fn follow(control: &LoadControl) -> LoadProgress {
    let (mut progress, mut shown) = (control.watch(), Shown::default());
    let told = told_to_end();
    tokio::pin!(told);
    let mut stopped = false;
    loop {
        let now = progress.borrow_and_update().clone();
        if !now.phase.is_active() {
            shown.end();
            return now;
        }
        shown.show(&now);
        tokio::select! {
            () = &mut told, if !stopped => {
                stopped = true;
                control.stop();
            }
            changed = progress.changed() => {
                if changed.is_err() {
                    return now;
                }
            }
        }
    }
}

/// What stands on the terminal.
#[derive(Debug, Default)]
struct Shown {
    /// The number of the last line where each is printed below the other.
    lines: u64,
    is_line_open: bool,
}

impl Shown {
    fn show(&mut self, progress: &LoadProgress) {
        let mut out = std::io::stderr().lock();
        // A closed terminal is no reason to stop.
        if out.is_terminal() {
            let _ = write!(out, "\r\x1b[2K{}", progress.line());
            let _ = out.flush();
            self.is_line_open = true;
        } else if progress.phase == Phase::Running && progress.elapsed_ms / LINE_EVERY_MS > self.lines {
            self.lines = progress.elapsed_ms / LINE_EVERY_MS;
            let _ = writeln!(out, "{}", progress.line());
        }
    }

    fn end(&self) {
        if self.is_line_open {
            let _ = writeln!(std::io::stderr());
        }
    }
}

fn save(flags: &LoadFlags, result: &LoadResult) -> Result<(), Fatal> {
    let json = || serde_json::to_string(result).unwrap_or_default();
    match flags.json.as_deref() {
        Some(file) if file == Path::new("-") => print(&format!("{}\n", json())),
        Some(file) => {
            write_file("--json", file, &json())?;
            print(&summary::text(result));
        }
        None => print(&summary::text(result)),
    }
    Ok(())
}

fn write_file(flag: &str, file: &Path, text: &str) -> Result<(), Fatal> {
    std::fs::write(file, text).map_err(|error| Fatal::new(format!("{flag}: cannot write {}: {error}", file.display())))
}

fn print(text: &str) {
    // A closed pipe is no error of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
