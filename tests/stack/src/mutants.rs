//! The list of mutants: changes of the code, one text each, that the tests must notice.
//!
//! A file of `tests/mutants` holds blocks of this form; a line of text begins with `| `, and an empty one is `|`:
//!
//! ```text
//! mutant the name, in words
//! file cachefront-core/src/…
//! run -p cachefront-core --lib
//! unseen why the simulated world does not notice it; only in the list `core`, and only where it is so
//! old
//! | the text as it is, once in the file
//! new
//! | the text in its place
//! ```

use std::path::Path;
use std::{fs, io};

/// One change, and the tests that must fail with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// The list it is in: the file's name without its ending.
    pub list: String,
    /// What it changes, in words.
    pub name: String,
    /// The changed file, from the workspace's root.
    pub file: String,
    /// The arguments of `cargo test`.
    pub run: Vec<String>,
    /// Why the simulated world does not notice it, where that is so.
    pub unseen: Option<String>,
    /// The text as it is.
    pub old: String,
    /// The text in its place.
    pub new: String,
}

impl Mutant {
    /// The file's text with the change.
    ///
    /// # Errors
    /// In words, if the old text is not in the file exactly once: then the list is out of date.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        match text.matches(&self.old).count() {
            1 => Ok(text.replacen(&self.old, &self.new, 1)),
            count => Err(format!("mutant `{}`: its old text is {count} times in {}, not once", self.name, self.file)),
        }
    }
}

/// All mutants of all lists, in order.
///
/// # Errors
/// If a list cannot be read, or a block is not of the form above.
pub fn read_all(root: &Path) -> io::Result<Vec<Mutant>> {
    let mut lists: Vec<_> = fs::read_dir(root.join("tests/mutants"))?.collect::<io::Result<_>>()?;
    lists.sort_by_key(fs::DirEntry::path);
    let mut mutants = Vec::new();
    for entry in lists {
        let path = entry.path();
        let list = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path)?;
        let parsed =
            parse(&list, &text).map_err(|message| io::Error::other(format!("{}: {message}", path.display())))?;
        mutants.extend(parsed);
    }
    Ok(mutants)
}

fn parse(list: &str, text: &str) -> Result<Vec<Mutant>, String> {
    let mut mutants = Vec::new();
    let mut lines = text.lines().filter(|line| !line.starts_with('#')).peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let name = line.strip_prefix("mutant ").ok_or_else(|| format!("`{line}` begins no mutant"))?;
        let mut field = |prefix: &str| {
            let line = lines.next().unwrap_or_default();
            line.strip_prefix(prefix)
                .map(str::to_owned)
                .ok_or_else(|| format!("`{name}` lacks `{}`", prefix.trim_end()))
        };
        let (file, run) = (field("file ")?, field("run ")?);
        let unseen = lines.next_if(|line| line.starts_with("unseen ")).map(|line| line["unseen ".len()..].to_owned());
        if lines.next() != Some("old") {
            return Err(format!("`{name}` lacks `old`"));
        }
        let old = block(&mut lines);
        let new_line = lines.next();
        if new_line != Some("new") {
            return Err(format!("`{name}` lacks `new`"));
        }
        let new = block(&mut lines);
        let run = run.split_whitespace().map(str::to_owned).collect();
        mutants.push(Mutant { list: list.to_owned(), name: name.to_owned(), file, run, unseen, old, new });
    }
    Ok(mutants)
}

fn block<'a>(lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> String {
    let mut text = Vec::new();
    while let Some(line) = lines.next_if(|line| line.starts_with('|')) {
        text.push(line.strip_prefix("| ").unwrap_or_default());
    }
    text.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_and_applied_once() {
        let text = "# a list\n\nmutant a name\nfile a.rs\nrun -p a --lib\nunseen no clock\nold\n| one\n|\n|   two\nnew\n| three\n";
        let mutants = parse("core", text).expect("a list");
        assert_eq!(mutants.len(), 1);
        assert_eq!((mutants[0].old.as_str(), mutants[0].new.as_str()), ("one\n\n  two", "three"));
        assert_eq!(mutants[0].run, ["-p", "a", "--lib"]);
        assert_eq!(mutants[0].unseen.as_deref(), Some("no clock"));
        assert_eq!(mutants[0].apply("x\none\n\n  two\ny").expect("applied"), "x\nthree\ny");
        assert!(mutants[0].apply("nothing of it").is_err());
        assert!(parse("core", "mutant x\nfile y\n").is_err());
    }
}
