//! Calls of the user's code where a panic must not end the work for others: a mapping, a codec, a policy, an observer.
//!
//! The panic hook of the process has reported the panic by then.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls the user's code. A panic becomes this error.
///
/// What the call has left half done is not used: its values are dropped, and its error is all that is known.
#[inline]
pub(crate) fn caught<T, E>(call: impl FnOnce() -> Result<T, E>, panicked: impl FnOnce() -> E) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(panicked()))
}
