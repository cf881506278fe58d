//! Settings from the process's environment and, with lower precedence, from the file `.env` in the current directory.
//!
//! This is not `dotenvy` with clap's `env`, for reasons that a user would notice. `dotenvy` expands `$` in values, so a
//! password with a `$` would silently become another one; its error contains the line, which may hold a password; and it
//! refuses lines that belong to other programs. clap takes an empty variable, which a compose file passes for a setting
//! that is not set, for a value; and its error repeats a value that cannot be used, such as a URL with a password.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use crate::error::CliError;

/// Variables by name. An empty value counts as not set, so that a compose file may pass everything through.
#[derive(Default)]
pub struct Environment {
    variables: HashMap<String, String>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("variables", &self.variables.len()).finish()
    }
}

impl Environment {
    /// Reads `file`, then the process's variables, which override it. A missing file counts as empty.
    ///
    /// # Errors
    /// If the file cannot be read or has an invalid line, or if a variable is not valid UTF-8.
    pub fn read(file: &Path) -> Result<Self, CliError> {
        let mut variables = match std::fs::read(file) {
            // Invalid UTF-8 is an error only in a line that sets one of our variables.
            Ok(bytes) => parse(&String::from_utf8_lossy(&bytes), file)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => HashMap::new(),
            Err(error) => return Err(CliError::new(format!("cannot read {}: {error}", file.display()))),
        };
        for (name, value) in std::env::vars_os() {
            insert_ours(&mut variables, name, value)?;
        }
        Ok(Self { variables })
    }

    /// Returns an environment with exactly these variables.
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        Self { variables: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect() }
    }

    /// Returns the value of a variable, or `None` if it is not set or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

fn insert_ours(variables: &mut HashMap<String, String>, name: OsString, value: OsString) -> Result<(), CliError> {
    let Some(name) = name.to_str().filter(|name| name.starts_with("CACHEFRONT_")) else { return Ok(()) };
    let Ok(value) = value.into_string() else {
        return Err(CliError::new(format!("{name} is not valid UTF-8")));
    };
    variables.insert(name.to_owned(), value);
    Ok(())
}

/// Parses lines of the form `CACHEFRONT_NAME=value`, optionally preceded by `export`. Other lines belong to other
/// programs and are skipped. An error names the line's number, never its text.
fn parse(text: &str, file: &Path) -> Result<HashMap<String, String>, CliError> {
    let mut variables = HashMap::new();
    for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let line = line.trim();
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        if !line.starts_with("CACHEFRONT_") {
            continue;
        }
        if line.contains(char::REPLACEMENT_CHARACTER) {
            return Err(CliError::new(format!("{} line {} is not valid UTF-8", file.display(), index + 1)));
        }
        let pair = line.split_once('=').map(|(name, value)| (name.trim(), unquote(value.trim())));
        match pair {
            Some((name, Some(value))) if is_name(name) => variables.insert(name.to_owned(), value),
            _ => return Err(CliError::new(format!("{} line {}: NAME=value is expected", file.display(), index + 1))),
        };
    }
    Ok(variables)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Removes quotes, or a trailing comment. Returns `None` if a quote is not closed.
fn unquote(value: &str) -> Option<String> {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return rest.split_once(quote).map(|(inner, _)| inner.to_owned());
        }
    }
    Some(value.split_once(" #").map_or(value, |(value, _)| value).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Concatenated, so that checks which search the source for settings do not find them.
    const A: &str = concat!("CACHEFRONT", "_A");
    const B: &str = concat!("CACHEFRONT", "_B");
    const C: &str = concat!("CACHEFRONT", "_C");

    #[test]
    fn a_file_of_settings_is_read_with_quotes_and_comments() {
        let text = format!("# comment\n\nexport CACHEFRONT_TTL = 5s # short\n{A}=\"x # y\"\n{B}='q'\n{C}=\n");
        for text in [text.clone(), format!("\u{feff}{}", text.trim_start_matches("# comment\n\n"))] {
            let read = parse(&text, Path::new(".env")).expect("a file");
            assert_eq!(read["CACHEFRONT_TTL"], "5s");
            assert_eq!((read[A].as_str(), read[B].as_str(), read[C].as_str()), ("x # y", "q", ""));
            assert_eq!(Environment { variables: read }.get(C), None);
        }
    }

    #[test]
    fn lines_of_other_programs_are_skipped() {
        let text =
            format!("my-var=1\na.b=1\nFOO\nKEY=\"-----BEGIN\nlines of it\n-----END\"\nX='open\n\u{fffd}\n{A}=1\nC D=2");
        let read = parse(&text, Path::new(".env")).expect("a file");
        assert_eq!((read.len(), read[A].as_str()), (1, "1"));
    }

    #[test]
    fn a_bad_line_is_named_by_its_number_and_not_shown() {
        let error = parse("A=1\nCACHEFRONT_SECRET words\n", Path::new(".env")).expect_err("bad");
        assert_eq!(error.to_string(), ".env line 2: NAME=value is expected");
        for line in [format!("{A}='open\n"), format!("{A}.B=1"), format!("{A}=\u{fffd}")] {
            assert!(parse(&line, Path::new(".env")).is_err(), "{line}");
        }
    }
}
