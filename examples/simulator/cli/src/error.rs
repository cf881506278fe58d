//! The error of a command: one line for the terminal.

use std::error::Error;
use std::fmt;

/// Why the program cannot start or continue, in one line that says what to do. The exit code is 1.
#[derive(Debug)]
pub struct CliError(String);

impl CliError {
    /// Joins an error and all its causes, the outermost first.
    pub fn from_error(error: impl Error) -> Self {
        let mut line = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        Self::new(line)
    }

    /// Makes an error of `message`; line breaks become spaces.
    pub fn new(message: impl AsRef<str>) -> Self {
        Self(message.as_ref().split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for CliError {}

/// Returns the innermost cause of an error. Outer ones often repeat a URL, or the word "error".
pub fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
