//! The one way this program gives up: a line that says what to do, and exit code 1.

use std::fmt;

use cachefront::Error;

/// Why the program cannot start or go on, in one line for the terminal.
#[derive(Debug)]
pub(crate) struct Fatal(String);

impl Fatal {
    /// Line breaks of a message that came from elsewhere become spaces.
    pub(crate) fn new(message: impl AsRef<str>) -> Self {
        Self(message.as_ref().split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fatal {}

impl From<Error> for Fatal {
    fn from(error: Error) -> Self {
        Self::new(error.chain())
    }
}

/// The innermost cause of an error: outer ones often repeat a URL, or the word "error".
pub(crate) fn why(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
