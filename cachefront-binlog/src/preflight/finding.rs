//! What a preflight finds, and which findings it tolerates.

use std::fmt;

use crate::config::Collations;

/// A deviation from what an exact reader needs, with the reason and the fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(super) refuse: bool,
    what: String,
    why: &'static str,
    pub(super) fix: String,
}

impl Finding {
    /// A finding that prevents the start, because the source could not be exact.
    pub(crate) fn refuse(what: impl Into<String>, why: &'static str, fix: impl Into<String>) -> Self {
        Self { refuse: true, what: what.into(), why, fix: fix.into() }
    }

    /// Returns true if it is about this variable.
    pub(super) fn is_of(&self, variable: &str) -> bool {
        self.what.strip_prefix(variable).is_some_and(|rest| rest.starts_with('='))
    }

    /// A finding that is reported as a warning.
    pub(crate) fn warn(what: impl Into<String>, why: &'static str, fix: impl Into<String>) -> Self {
        Self { refuse: false, what: what.into(), why, fix: fix.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. To fix it: {}", self.what, self.why, self.fix)
    }
}

/// The rules that the builder of the source sets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) collations: Collations,
    pub(crate) allow_missing_tables: bool,
}
