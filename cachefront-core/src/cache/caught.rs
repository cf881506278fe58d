//! Calls of a user's code for one key, where a panic must not end the work for others: a batch runs in one task, and holds the leases of
//! all of its keys.
//!
//! The value is returned as if the code had returned an error: it is loaded and not stored, or counts as a miss.

use crate::error::BoxError;

/// Calls `what`. A panic becomes an error.
#[inline]
pub(super) fn caught<T>(what: &'static str, call: impl FnOnce() -> Result<T, BoxError>) -> Result<T, BoxError> {
    crate::caught::caught(call, || format!("{what} panicked").into())
}
