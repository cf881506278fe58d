//! What a run leaves on the terminal and in files.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use simulator_cli::CliError;

/// Lines are printed this often where no terminal shows a line that changes.
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
    /// To be asked before a run: it would be over before anybody saw that its outcome has no place.
    ///
    /// # Errors
    /// A line that says that standard output was asked for twice.
    pub fn check(&self, hgrm: Option<&Path>) -> Result<(), CliError> {
        let wanted = [self.json.as_deref(), self.html.as_deref(), hgrm];
        match wanted.into_iter().flatten().filter(|file| is_stdout(file)).count() {
            0 | 1 => Ok(()),
            _ => Err(CliError::new(
                "only one of --json, --html and --hgrm can be - at a time: name files for the others",
            )),
        }
    }

    /// Writes the files that were asked for, and prints `text` unless one of them goes to standard output. The page is
    /// made if it is asked for; `hgrm` is a distribution, with its place.
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
            // The types of results are plain structs: they always have a JSON form.
            write("--json", file, &format!("{}\n", serde_json::to_string(result).unwrap_or_default()))?;
        }
        if prints_text {
            print(text);
        }
        Ok(())
    }
}

fn is_stdout(file: &Path) -> bool {
    file == Path::new("-")
}

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
    // A closed pipe is no error of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// The progress on standard error: one line that changes on a terminal, now and then a line elsewhere.
#[derive(Debug, Default)]
pub struct Shown {
    /// The number of the last line where each is printed below the other.
    lines: u64,
    is_line_open: bool,
}

impl Shown {
    /// Shows a line of the moment `elapsed_ms`.
    pub fn show(&mut self, line: &str, elapsed_ms: u64) {
        let mut out = std::io::stderr().lock();
        // A closed terminal is no reason to stop.
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
