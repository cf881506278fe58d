//! Calls of a user's code where a panic of one key must not end the work for others: a batch runs in one task, and holds the leases of all
//! of its keys.
//!
//! The panic hook has reported the panic by then. The value is returned as if the code had returned an error: it is loaded and not
//! stored, or counts as a miss.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::BoxError;

/// Calls `what`. A panic becomes an error.
#[inline]
pub(super) fn caught<T>(what: &'static str, call: impl FnOnce() -> Result<T, BoxError>) -> Result<T, BoxError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(format!("{what} panicked").into()))
}
