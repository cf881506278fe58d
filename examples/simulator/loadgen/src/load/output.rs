//! Output of a run: progress and summary on the terminal, results in files.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use simulator_cli::CliError;

/// Interval of progress lines if standard error is not a terminal.
const LINE_EVERY_MS: u64 = 5_000;

/// Where the result goes.
#[derive(Clone, Debug, Default, Args)]
pub struct OutputFlags {
    /// Write the complete result as JSON; - for standard output, and then nothing else is printed there.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report as one HTML file that needs no network; - for standard output, as above.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl OutputFlags {
    /// Checks the flags. Called before a run, so that a mistake is reported at the start and not at the end.
    ///
    /// # Errors
    /// A line that says that more than one output is to go to standard output.
    pub fn check(&self, hgrm: Option<&Path>) -> Result<(), CliError> {
        let wanted = [self.json.as_deref(), self.html.as_deref(), hgrm];
        match wanted.into_iter().flatten().filter(|file| is_stdout(file)).count() {
            0 | 1 => Ok(()),
            _ => Err(CliError::new(
                "only one of --json, --html and --hgrm can be - at a time: name files for the others",
            )),
        }
    }

    /// Writes the requested files, and prints `text` unless one of them goes to standard output. `page` is called only
    /// if an HTML report is requested; `hgrm` is the file for the distribution, and its text.
    ///
    /// # Errors
    /// A line that names the file that cannot be written.
    pub fn save(
        &self,
        result: &impl Serialize,
        text: &str,
        page: impl FnOnce() -> String,
        hgrm: Option<(&Path, String)>,
    ) -> Result<(), CliError> {
        let mut prints_text = true;
        let mut write = |flag: &str, file: &Path, text: &str| {
            prints_text &= !is_stdout(file);
            write_to(flag, file, text)
        };
        if let Some(file) = &self.html {
            write("--html", file, &page())?;
        }
        if let Some((file, text)) = hgrm {
            write("--hgrm", file, &text)?;
        }
        if let Some(file) = &self.json {
            prints_text &= !save_json(file, result)?;
        }
        if prints_text {
            print(text);
        }
        Ok(())
    }
}

/// Writes a result as JSON. Returns true if it went to standard output.
///
/// # Errors
/// A line that names the file that cannot be written.
pub fn save_json(file: &Path, result: &impl Serialize) -> Result<bool, CliError> {
    // Results are plain structs, which always serialize.
    write_to("--json", file, &format!("{}\n", serde_json::to_string(result).unwrap_or_default()))?;
    Ok(is_stdout(file))
}

fn is_stdout(file: &Path) -> bool {
    file == Path::new("-")
}

/// Writes `text` to `file`, or to standard output for `-`.
///
/// # Errors
/// A line that names the flag and the file.
fn write_to(flag: &str, file: &Path, text: &str) -> Result<(), CliError> {
    if is_stdout(file) {
        print(text);
        return Ok(());
    }
    std::fs::write(file, text)
        .map_err(|error| CliError::new(format!("{flag}: cannot write {}: {error}", file.display())))
}

pub fn print(text: &str) {
    // A closed pipe is not an error.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Shows progress on standard error: one line that is overwritten on a terminal, otherwise one line every 5 s.
#[derive(Debug, Default)]
pub struct Shown {
    /// Number of the last line that was printed, if standard error is not a terminal.
    lines: u64,
    is_line_open: bool,
}

impl Shown {
    /// Shows the progress at `elapsed_ms`.
    pub fn show(&mut self, line: &str, elapsed_ms: u64) {
        let mut out = std::io::stderr().lock();
        // The run continues even if standard error is closed.
        if out.is_terminal() {
            let _ = write!(out, "\r\x1b[2K{line}");
            let _ = out.flush();
            self.is_line_open = true;
        } else if elapsed_ms / LINE_EVERY_MS > self.lines {
            self.lines = elapsed_ms / LINE_EVERY_MS;
            let _ = writeln!(out, "{line}");
        }
    }

    pub fn end(&self) {
        if self.is_line_open {
            let _ = writeln!(std::io::stderr());
        }
    }
}
