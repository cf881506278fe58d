//! Checks of fields that all settings share.

use std::time::Duration;

use crate::backoff::DURATION_MAX;
use crate::error::{Error, ErrorKind, Result};

/// Checks durations that are above zero, and not longer than [`DURATION_MAX`].
pub(super) fn above_zero(fields: &[(&str, Duration)]) -> Result<()> {
    match fields.iter().find(|(_, duration)| duration.is_zero()) {
        Some((name, _)) => Err(invalid(format!("`{name}` is zero: give a duration above zero"))),
        None => bounded(fields),
    }
}

/// Checks durations that are not longer than [`DURATION_MAX`].
pub(super) fn bounded(fields: &[(&str, Duration)]) -> Result<()> {
    match fields.iter().find(|(_, duration)| *duration > DURATION_MAX) {
        Some((name, duration)) => Err(invalid(format!("`{name}` is {duration:?}: give at most 365 days"))),
        None => Ok(()),
    }
}

pub(super) fn at_least_one(fields: &[(&str, usize)]) -> Result<()> {
    match fields.iter().find(|(_, number)| *number == 0) {
        Some((name, _)) => Err(invalid(format!("`{name}` is zero: give at least 1"))),
        None => Ok(()),
    }
}

pub(super) fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}
